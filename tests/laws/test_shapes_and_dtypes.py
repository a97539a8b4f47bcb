"""Laws of arrays: dtypes stay, inputs are left alone, memory layout and odd sizes do not matter."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import Tensor
from minidl.autograd import Op
from minidl.samples import Sample, all_samples

SAMPLES = all_samples()
IDS = [s.name for s in SAMPLES]


def value_and_gradients(sample: Sample, arrays: list[np.ndarray]) -> list[np.ndarray]:
    inputs = [Tensor(a).requires_grad_() for a in arrays]
    value = sample.call(F, *inputs)
    weights = np.random.default_rng(0).standard_normal(value.shape).astype(value.dtype)
    found = minidl.grad(value, inputs, weights, allow_unused=True)
    return [value.data, *(np.zeros(1) if g is None else g.data for g in found)]


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_float32_stays_float32(sample: Sample):
    inputs = [minidl.tensor(a.astype(np.float32), requires_grad=True) for a in sample.inputs()]
    value = sample.call(F, *inputs)
    assert value.dtype == np.float32
    for x, g in zip(inputs, minidl.grad(value.sum(), inputs, allow_unused=True), strict=True):
        assert g is None or (g.dtype == np.float32 and g.shape == x.shape)


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_no_step_on_the_way_leaves_float32(sample: Sample, monkeypatch):
    """Forward, backward, and backward through backward; Node.vjp would hide it by rounding."""
    dtypes = []
    original = Op.__call__

    def call(self, *inputs):
        result = original(self, *inputs)
        dtypes.append(result.dtype)
        return result

    monkeypatch.setattr(Op, "__call__", call)
    inputs = [minidl.tensor(a.astype(np.float32), requires_grad=True) for a in sample.inputs()]
    value = sample.call(F, *inputs)
    found = minidl.grad(value, inputs, np.ones(value.shape, np.float32), create_graph=True,
                        allow_unused=True)
    ends = [(g * g).sum() for g in found if g is not None and g.requires_grad]
    if ends:
        minidl.grad(ends, inputs, allow_unused=True)
    assert np.float32 in dtypes and np.float64 not in dtypes


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_inputs_are_left_as_they_were(sample: Sample):
    arrays = sample.inputs()
    before = [a.tobytes() for a in arrays]
    value_and_gradients(sample, arrays)
    assert [a.tobytes() for a in arrays] == before


def reversed_memory(a: np.ndarray) -> np.ndarray:
    """The same values with the axes in the opposite order in memory."""
    return np.asfortranarray(a)


def channels_last(a: np.ndarray) -> np.ndarray:
    """Images with their channels side by side; anything else as it is."""
    if a.ndim != 4:
        return a
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def every_second(a: np.ndarray) -> np.ndarray:
    """The same values with gaps between them."""
    wide = np.full((*a.shape, 2), np.nan)
    wide[..., 0] = a
    return wide[..., 0]


@pytest.mark.parametrize("layout", [reversed_memory, channels_last, every_second])
@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_memory_layout_does_not_matter(sample: Sample, layout):
    arrays = sample.inputs()
    plain = value_and_gradients(sample, arrays)
    other = value_and_gradients(sample, [layout(a) for a in arrays])
    for a, b in zip(plain, other, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-11)


EMPTY_BATCHES = {
    "conv2d": lambda x: F.conv2d(x, np.ones((2, 3, 3, 3))),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, np.ones((3, 2, 3, 3)), stride=2),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "max_unpool2d": lambda x: F.max_unpool2d(x, np.zeros(x.shape, np.int64), 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 2),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "grid_sample": lambda x: F.grid_sample(x, np.zeros((0, 2, 2, 2))),
    "fixed_unpool2d": lambda x: F.fixed_unpool2d(x, 2),
    "instance_norm": lambda x: F.instance_norm(x),
    "layer_norm": lambda x: F.layer_norm(x, (4, 4)),
    "group_norm": lambda x: F.group_norm(x, 3),
    "relu": F.relu,
    "softmax": lambda x: F.softmax(x, 1),
    "linear": lambda x: F.linear(x.flatten(1), np.ones((5, 48))),
    "gram_matrix": F.gram_matrix,
    "total_variation": F.total_variation,
    "batch_norm": lambda x: F.batch_norm(x, minidl.zeros(3), minidl.ones(3)),
    "dropout": lambda x: F.dropout(x, 0.5),
    "pixel_shuffle": lambda x: F.pixel_shuffle(F.cat([x] * 4, 1), 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
}


@pytest.mark.parametrize("op", EMPTY_BATCHES)
def test_an_empty_batch_gives_an_empty_answer_and_gradient(op: str):
    x = minidl.zeros((0, 3, 4, 4), np.float64, requires_grad=True)
    y = EMPTY_BATCHES[op](x)
    assert y.shape[0] == 0
    (g,) = minidl.grad(y.sum(), x)
    assert g.shape == x.shape


ONE_PIXEL = {
    "conv2d": lambda x: F.conv2d(x, np.full((1, 1, 1, 1), 3.0)),
    "conv2d, padded": lambda x: F.conv2d(x, np.ones((1, 1, 3, 3)), padding=1),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, np.ones((1, 1, 2, 2))),
    "max_pool2d": lambda x: F.max_pool2d(x, 1),
    "interpolate": lambda x: F.interpolate(x, size=(1, 1), mode="bicubic", align_corners=True),
    "grid_sample": lambda x: F.grid_sample(x, np.zeros((1, 1, 1, 2)), padding_mode="reflection",
                                           align_corners=True),
    "softmax": lambda x: F.softmax(x, 1),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 1),
    "layer_norm": lambda x: F.layer_norm(x, 1),
}


@pytest.mark.parametrize("op", ONE_PIXEL)
def test_a_single_pixel_is_an_image(op: str):
    x = minidl.tensor(np.full((1, 1, 1, 1), 2.0), requires_grad=True)
    y = ONE_PIXEL[op](x)
    (g,) = minidl.grad(y.sum(), x)
    assert np.isfinite(y.data).all() and np.isfinite(g.data).all()
