"""CRN: published sizes, the same numbers as written out in NumPy, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import Tensor, nn, no_grad
from minidl.errors import ArgumentError, ShapeError
from minidl.models.crn import CHANNELS, CRN, label_pyramid, layout, refinement
from minidl.nn import init
from minidl.optim import Adam
from tests import strict_cupy


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


def some_labels(n: int = 2, h: int = 16, w: int = 32, classes: int = 5) -> np.ndarray:
    """Blocks of classes, and of none."""
    coarse = np.random.default_rng(0).integers(0, classes + 1, (n, h // 4, w // 4))
    return coarse.repeat(4, 1).repeat(4, 2)


@pytest.fixture
def undrawn(monkeypatch):
    """Weights stay the zeros they are made of, which take no memory until they are read."""
    monkeypatch.setattr(init, "uniform_", lambda x, *args, **kwargs: x)


def by_hand(height: int, k: int) -> int:
    """The table of the docstring, added up."""
    total, before = 0, 0
    for h, c in CHANNELS.items():
        if h <= height:
            total += 9 * c * (before + 20 + c) + 4 * c  # two convolutions, two scales and shifts
            before = c
    return total + (before + 1) * 3 * k


@pytest.mark.parametrize(
    ("height", "k", "millions", "exactly"),
    [(256, 9, 97.9, 97_875_483), (512, 1, 98.6, 98_622_851), (1024, 1, 98.7, 98_674_531)],
)
def test_networks_have_the_derived_number_of_parameters(undrawn, height, k, millions, exactly):
    model = CRN(height, k=k)
    assert count(model) == by_hand(height, k) == exactly
    assert round(exactly / 1e6, 1) == millions
    assert model.head.out_channels == 3 * k
    assert [m[0].out_channels for m in model.refine] == [
        c for h, c in CHANNELS.items() if h <= height
    ]
    assert all(m[0].bias is None for m in model.refine)


def test_there_is_a_module_for_every_height_from_4_to_1024_by_doubling(undrawn):
    assert list(CHANNELS) == [4 << i for i in range(9)]
    assert CRN(16, classes=1, k=1, width=0.01).heights == [4, 8, 16]


# --- what it computes ---


def conv(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return np.einsum("nchwkl,ockl->nohw", windows, weight)


def enlarged(x: np.ndarray, h: int, w: int) -> np.ndarray:
    """Bilinear, the centres of the corner pixels staying where they are."""
    for axis, size in ((2, h), (3, w)):
        at = np.linspace(0, x.shape[axis] - 1, size)
        x = np.apply_along_axis(lambda row, at=at: np.interp(at, np.arange(len(row)), row), axis, x)
    return x


def refined(x: np.ndarray, state: dict[str, np.ndarray], i: int) -> np.ndarray:
    for layer in (0, 3):
        x = conv(x, state[f"refine.{i}.{layer}.weight"])
        centred = x - x.mean((1, 2, 3), keepdims=True)
        x = centred / np.sqrt((centred**2).mean((1, 2, 3), keepdims=True) + 1e-12)
        scale, shift = (
            state[f"refine.{i}.{layer + 1}.{name}"][:, None, None] for name in ("weight", "bias")
        )
        x = x * scale + shift
        x = np.where(x < 0, 0.2 * x, x)
    return x


def test_forward_is_the_table_written_out():
    minidl.manual_seed(0)
    model = CRN(16, classes=6, k=2, channels=(5, 4, 3))
    for p in model.parameters():  # norms that start as 1 and 0 would hide what they do
        p.data[...] += 0.1 * np.random.default_rng(p.size).standard_normal(p.shape)
    state = {n: np.asarray(v, np.float64) for n, v in model.state_dict().items()}
    shares = layout(some_labels(), 5).numpy().astype(np.float64)
    half = shares.reshape(2, 6, 8, 2, 16, 2).mean((3, 5))
    quarter = half.reshape(2, 6, 4, 2, 8, 2).mean((3, 5))
    x = refined(quarter, state, 0)
    x = refined(np.concatenate([enlarged(x, 8, 16), half], 1), state, 1)
    x = refined(np.concatenate([enlarged(x, 16, 32), shares], 1), state, 2)
    y = np.einsum("nchw,oc->nohw", x, state["head.weight"][:, :, 0, 0])
    expected = (y + state["head.bias"][:, None, None] + 1) / 2 * 255
    with no_grad():
        found = model(shares.astype(np.float32)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_pictures_take_every_kth_channel():
    minidl.manual_seed(0)
    model, shares = CRN(8, classes=6, k=3, width=1 / 256), layout(some_labels(2, 8, 16), 5)
    with no_grad():
        y, pictures = model(shares).numpy(), model.pictures(shares).numpy()
    assert y.shape == (2, 9, 8, 16) and pictures.shape == (2, 3, 3, 8, 16)
    for u in range(3):
        np.testing.assert_allclose(pictures[:, u], np.clip(y[:, u::3] / 255, 0, 1), atol=1e-6)


def test_layer_norm_is_over_channels_and_pixels_jointly():
    minidl.manual_seed(0)
    norm = refinement(3, 8)[1]
    x = Tensor(np.random.default_rng(0).standard_normal((2, 8, 4, 6)) * 3 + 1)
    y = norm(x).detach().numpy()
    np.testing.assert_allclose(y.mean((1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(y.std((1, 2, 3)), 1, atol=1e-5)
    assert np.abs(y.mean((2, 3))).max() > 0.05  # not each channel by itself
    assert norm.weight.shape == norm.bias.shape == (8,)


def test_weights_start_uniform_as_glorot_has_it():
    minidl.manual_seed(0)
    weight = refinement(20, 64)[0].weight.detach().numpy()
    bound = np.sqrt(6 / (9 * (20 + 64)))
    assert 0.98 * bound < np.abs(weight).max() <= bound


def test_layout_has_void_last_and_sums_to_one_at_every_size():
    labels = np.array([[[0, 1, 4, 255], [-1, 5, 2, 3]]])
    shares = layout(labels, 5).numpy()
    assert shares.shape == (1, 6, 2, 4) and (shares.sum(1) == 1).all()
    assert shares[0, 5].tolist() == [[0, 0, 0, 1], [1, 1, 0, 0]]
    pyramid = label_pyramid(layout(some_labels(), 5), 3)
    assert [p.shape for p in pyramid] == [(2, 6, 4, 8), (2, 6, 8, 16), (2, 6, 16, 32)]
    for level in pyramid:
        np.testing.assert_allclose(level.numpy().sum(1), 1, atol=1e-6)
    assert label_pyramid(layout(labels, 5), 2)[0].numpy()[0, :, 0, 1].tolist() == [
        0, 0, 0.25, 0.25, 0.25, 0.25
    ]


# --- learning ---


def test_gradients_reach_every_parameter():
    minidl.manual_seed(0)
    model = CRN(16, classes=6, k=2, width=1 / 128)
    F.square(model(layout(some_labels(), 5)) - 100).mean().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and np.abs(p.grad.numpy()).max() > 0, name


def test_narrow_network_learns_a_layout_by_heart():
    minidl.manual_seed(0)
    model = CRN(32, classes=6, k=1, width=1 / 64)
    labels = some_labels(1, 32, 64)
    colours = np.random.default_rng(1).random((6, 3)) * 255
    target = Tensor(colours[labels].transpose(0, 3, 1, 2).astype(np.float32))
    optimizer, errors = Adam(model.parameters(), 1e-2), []
    for _ in range(40):
        loss = F.abs(model(layout(labels, 5)) - target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float(loss))
    assert errors[-1] < 0.2 * errors[0]


def test_larger_network_starts_from_a_smaller_one():
    minidl.manual_seed(0)
    small, large = (CRN(h, classes=6, k=k, width=1 / 128) for h, k in ((8, 9), (16, 1)))
    before = large.head.weight.detach().numpy().copy()
    large.start_from(small)
    for i in range(2):
        for a, b in zip(small.refine[i].parameters(), large.refine[i].parameters(), strict=True):
            np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    np.testing.assert_array_equal(large.head.weight.detach().numpy(), before)
    with pytest.raises(ArgumentError, match=r"refine\.0"):
        large.start_from(CRN(8, classes=6, width=1 / 64))
    with pytest.raises(ArgumentError, match=r"refine\.2"):
        small.start_from(large)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda: CRN(100), ArgumentError, "height is one of"),
        (lambda: CRN(k=0), ArgumentError, "k = 0"),
        (lambda: CRN(8, channels=(1, 2, 3)), ArgumentError, "as many numbers"),
        (lambda: CRN(8, 6, width=1 / 256)(np.zeros((1, 5, 8, 16))), ShapeError, r"\(1, 5, 8, 16\)"),
        (lambda: CRN(8, 6, width=1 / 256)(np.zeros((1, 6, 8, 15))), ShapeError, "multiples"),
        (lambda: layout(np.zeros((1, 2, 2))), ShapeError, "integers"),
        (lambda: label_pyramid(np.zeros((1, 2, 6, 8)), 3), ShapeError, "levels = 3"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, error, words):
    with pytest.raises(error, match=words):
        wrong()


def test_device_gives_the_same_numbers(monkeypatch):
    strict_cupy.install(monkeypatch)
    found = []
    with minidl.use_kernels("reference"):
        for device in ("cpu", "cuda"):
            minidl.manual_seed(0)
            model = CRN(8, classes=6, k=2, width=1 / 256).to(device)
            shares = layout(minidl.tensor(some_labels(1, 8, 16), device=device), 5)
            model.pictures(shares).mean().backward()
            found.append([p.grad.numpy() for p in model.parameters()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-5)
