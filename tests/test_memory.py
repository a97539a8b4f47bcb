"""Where weights and gradients lie in memory, and that neither is copied without need."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn, optim
from minidl.compute import fast, passes
from minidl.compute.fast import blocks

# --- the memory layout of a convolution's weights ---


def lies_taps_first(weight: np.ndarray) -> bool:
    return weight.transpose(2, 3, 1, 0).flags.c_contiguous


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
def test_weights_lie_taps_first_and_their_gradients_and_moments_with_them(layer):
    net = layer(3, 5, (2, 4))
    optimizer = optim.Adam(net.parameters())
    (net(minidl.randn(2, 3, 6, 6)) ** 2).sum().backward()
    optimizer.step()
    assert lies_taps_first(net.weight.data)
    assert net.weight.grad.data.strides == net.weight.data.strides
    memory = optimizer.state[id(net.weight)]
    assert memory["exp_avg"].strides == memory["exp_avg_sq"].strides == net.weight.data.strides


def test_a_grouped_convolution_keeps_the_order_of_its_axes():
    assert nn.Conv2d(4, 6, 3, groups=2).weight.data.flags.c_contiguous


def test_saved_weights_are_in_c_order_and_loading_keeps_the_layout():
    net, other = nn.Conv2d(3, 5, 2), nn.Conv2d(3, 5, 2)
    state = net.state_dict()
    assert state["weight"].flags.c_contiguous
    other.load_state_dict(state)
    assert lies_taps_first(other.weight.data)
    np.testing.assert_array_equal(other.weight.data, net.weight.data)
    other.double()
    assert lies_taps_first(other.weight.data)


def test_a_seed_gives_the_weights_that_it_gives_in_c_order():
    minidl.manual_seed(3)
    weight = nn.Conv2d(3, 5, 2).weight
    minidl.manual_seed(3)
    plain = nn.Parameter(np.zeros((5, 3, 2, 2), np.float32))
    nn.init.fan_in_uniform_(plain, None)
    np.testing.assert_array_equal(weight.data, plain.data)


def test_an_optimiser_lays_out_a_loaded_state_as_its_parameters():
    net, other = nn.Conv2d(3, 5, 2, bias=False), nn.Conv2d(3, 5, 2, bias=False)
    optimizer, fresh = (optim.SGD(n.parameters(), momentum=0.9) for n in (net, other))
    net(minidl.ones((1, 3, 4, 4))).sum().backward()
    optimizer.step()
    fresh.load_state_dict(optimizer.state_dict())
    memory = fresh.state[id(other.weight)]["momentum_buffer"]
    assert memory.strides == other.weight.data.strides
    np.testing.assert_array_equal(memory, net.weight.grad.data)


# --- gradients that need no copy ---


def test_the_gradient_of_a_weight_is_deposited_without_a_copy(monkeypatch):
    made = []

    def corner_w(form, x, y):
        made.append(fast.conv2d_w(x, y, form.windows))
        return made[-1]

    monkeypatch.setattr(F.conv.Conv2d, "corner_w", corner_w)
    layer = nn.Conv2d(3, 4, 3)
    layer(minidl.randn(2, 3, 5, 5)).sum().backward()
    assert layer.weight.grad.data is made[0]


def test_a_gradient_that_a_hook_saw_is_copied():
    layer, seen = nn.Conv2d(3, 4, 3), []
    layer.weight.register_hook(seen.append)
    layer(minidl.randn(2, 3, 5, 5)).sum().backward()
    assert not np.shares_memory(layer.weight.grad.data, seen[0].data)


def test_gradients_do_not_share_memory_with_each_other_or_with_what_was_given():
    a, b = (minidl.randn(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    upstream = minidl.ones((2, 3, 4, 4))
    (a + b).backward(upstream)
    assert not np.shares_memory(a.grad.data, b.grad.data)
    assert not np.shares_memory(a.grad.data, upstream.data)


def test_a_weight_used_twice_receives_the_sum():
    layer = nn.Conv2d(3, 3, 1, bias=False)
    x = minidl.randn(2, 3, 4, 4)
    (layer(x) + layer(2 * x)).sum().backward()
    once = minidl.grad(layer(x).sum(), layer.weight)[0]
    np.testing.assert_allclose(layer.weight.grad.data, 3 * once.data, rtol=1e-5)


# --- optimisers in blocks ---

METHODS = {
    "SGD": lambda p: optim.SGD(p, 0.1, weight_decay=0.01),
    "SGD, momentum": lambda p: optim.SGD(p, 0.1, 0.9, 0.2, weight_decay=0.01),
    "SGD, Nesterov": lambda p: optim.SGD(p, 0.1, 0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, 0.1, weight_decay=0.01),
    "Adam, largest": lambda p: optim.Adam(p, 0.1, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, 0.1),
    "RMSprop": lambda p: optim.RMSprop(p, 0.1, weight_decay=0.01),
    "RMSprop, centred": lambda p: optim.RMSprop(p, 0.1, momentum=0.5, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, 0.1, lr_decay=0.1, weight_decay=0.01),
}


@pytest.mark.parametrize("name", METHODS)
def test_an_update_in_blocks_gives_the_bits_of_one_of_the_whole(name, monkeypatch):
    def trained(block: int) -> np.ndarray:
        monkeypatch.setattr(blocks, "BLOCK", block)
        monkeypatch.setattr(passes, "LARGE", 1)
        rng = np.random.default_rng(0)
        memory = rng.standard_normal((3, 2, 7, 5)).astype(np.float32).transpose(3, 2, 0, 1)
        p = nn.Parameter(memory)
        optimizer = METHODS[name]([p])
        for _ in range(3):
            p.grad = minidl.Tensor(np.empty_like(p.data))
            p.grad.data[...] = rng.standard_normal(p.shape)
            with minidl.use_kernels("numpy"):
                optimizer.step()
        return p.data

    assert trained(64).tobytes() == trained(2**20).tobytes()


def test_small_arrays_stay_whole():
    a, b = np.ones((3, 4)), np.ones((3, 4))
    ((whole, beside),) = blocks.in_blocks(a, b)
    assert whole is a and beside is b


def test_blocks_are_views_of_the_same_places(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 40)
    a = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)
    b = a.copy("K")
    cut = blocks.in_blocks(a, b)
    assert len(cut) == 5
    for one, other in cut:
        assert np.shares_memory(one, a)
        np.testing.assert_array_equal(one, other)
    assert sorted(np.concatenate([one for one, _ in cut])) == sorted(a.ravel())


def test_arrays_that_lie_differently_are_not_cut(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 40)
    a = np.zeros((3, 4))
    assert len(blocks.in_blocks(a, a.T.copy().T)) == 1
