"""Masci's stacked convolutional autoencoder."""

from __future__ import annotations

import numpy as np
import pytest

from minidl import Tensor, no_grad, random
from minidl.errors import ArgumentError
from minidl.models.masci import ConvAutoencoderLayer, StackedConvAutoencoder, scaled_tanh
from minidl.optim import Adam

RNG = np.random.default_rng(0)


def images(*shape):
    return Tensor(RNG.random(shape, np.float32))


def test_network_for_mnist_has_the_shapes_of_its_docstring():
    net = StackedConvAutoencoder()
    x = images(2, 1, 28, 28)
    with no_grad():
        seen = [net.below(x, depth).shape for depth in range(4)]
        assert net(x).shape == (2, 10)
    assert seen == [(2, 1, 28, 28), (2, 100, 12, 12), (2, 150, 4, 4), (2, 200, 2, 2)]
    assert net.hidden.weight.shape == (300, 800)


def test_scaled_tanh_is_1_at_1():
    assert scaled_tanh(Tensor(np.ones(1, np.float32))).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("pool", [False, True])
def test_layer_gives_back_the_size_and_uses_the_turned_filters(pool):
    random.manual_seed(0)
    layer = ConvAutoencoderLayer(2, 3, 3, pool)
    x = images(1, 2, 8, 10)
    with no_grad():
        y, h = layer.reconstruct(x).numpy(), layer.maps(x).numpy()[0]
    assert y.shape == x.shape
    if pool:  # the largest of each cell stays where it is, the others are 0
        cells = h.reshape(3, 3, 2, 4, 2)
        h = np.where(cells == cells.max((2, 4), keepdims=True), cells, 0).reshape(h.shape)
    turned = layer.weight.data[:, :, ::-1, ::-1]
    padded = np.pad(h, ((0, 0), (2, 2), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    full = np.einsum("ohwkl,ockl->chw", windows, turned)
    np.testing.assert_allclose(y[0], 1.7159 * np.tanh(full * 2 / 3), rtol=1e-4, atol=1e-5)


def test_layer_learns_to_reconstruct():
    random.manual_seed(0)
    layer = ConvAutoencoderLayer(1, 8, 5, True)
    ramp = np.add.outer(np.arange(12), np.arange(12)).astype(np.float32)
    phases = np.arange(16)[:, None, None]
    x = Tensor((0.5 + 0.5 * np.sin(ramp / 2 + phases))[:, None].astype(np.float32))
    optimizer = Adam(layer.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = layer.loss(x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    mean = x.numpy().mean()
    assert losses[-1] < 0.5 * ((x.numpy() - mean) ** 2).sum() / (2 * 16) < losses[0]


def test_pool_that_would_drop_a_row_is_refused():
    with pytest.raises(ArgumentError, match="even"):
        StackedConvAutoencoder((1, 27, 28))
