"""Law: derivatives that the CUDA source computes equal finite differences that NumPy computes.

The function is evaluated by the readable NumPy when the differences are made, and by the kernels,
on the emulator, when it is differentiated.
"""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn, optim
from minidl.check import compare_sample, measure_sample
from minidl.cuda import emulator, launch
from minidl.samples import Sample, all_samples

KERNEL_OPS = {
    "conv2d", "conv_transpose2d", "max_pool2d", "max_unpool2d", "avg_pool2d", "adaptive_avg_pool2d",
    "interpolate", "grid_sample", "batch_norm", "instance_norm", "layer_norm", "group_norm",
    "gram_matrix",
}
"""The functions that are computed by kernels."""

SAMPLES = [s for s in all_samples() if s.op in KERNEL_OPS]
CASES = [(s, order) for s in SAMPLES for order in range(1, s.orders + 1)]


@pytest.fixture
def launched():
    """The names of the kernels that were launched."""
    names: list[str] = []

    def run(ready: launch.Launch) -> None:
        names.append(ready.kernel.name)
        emulator.run(ready)

    with launch.executing(run):
        yield names


def test_every_op_with_kernels_has_samples():
    assert {s.op for s in SAMPLES} == KERNEL_OPS


@pytest.mark.parametrize(
    ("sample", "order"), CASES, ids=[f"{s.name}, order {order}" for s, order in CASES]
)
def test_derivative_by_the_cuda_source_equals_the_finite_difference(
    sample: Sample, order: int, launched
):
    with minidl.use_kernels("reference"):
        measured = measure_sample(sample, order)
    before = len(launched)
    with minidl.use_kernels("emulated"):
        for dtype in ("float64", "float32"):
            assert compare_sample(measured, dtype).elements > 0
    # With running statistics a batch norm is a multiplication and an addition.
    assert len(launched) > before or sample.setting == "running statistics"


class TinyUNet(nn.Module):
    """Down, up by indices and by transposed convolution, across; every norm and both pools."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.bottom = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.GroupNorm(4, 16))
        self.up = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
        self.head = nn.Conv2d(24, 2, 3, padding=1)

    def forward(self, x):
        high = self.first(x)
        low, places = F.max_pool2d(high, 2, return_indices=True)
        back = F.max_unpool2d(low, places, 2)
        deep = F.interpolate(F.instance_norm(self.up(F.relu(self.bottom(low)))), scale_factor=2,
                             mode="bilinear")
        return self.head(F.cat([high, back, deep], 1))


def trained(code: str, steps: int = 3) -> tuple[list[float], list[np.ndarray]]:
    """Losses and weights after a few steps."""
    minidl.manual_seed(0)
    model = TinyUNet()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    rng = np.random.default_rng(1)
    x = minidl.tensor(rng.standard_normal((1, 1, 32, 32)).astype(np.float32))
    labels = rng.integers(0, 2, (1, 32, 32))
    losses = []
    with minidl.use_kernels(code):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, [p.data.copy() for p in model.parameters()]


def test_a_models_training_steps_run_on_the_kernels(launched):
    losses, weights = trained("emulated")
    families = {name.split("_v")[0] for name in launched}
    assert {
        "conv2d_y", "conv2d_x", "conv2d_w", "max_pool2d", "put_windows",
        "resample", "normalize", "normalize_adjoint",
    } <= families
    expected, expected_weights = trained("reference")
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for mine, theirs in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_the_kernels_give_the_same_bits_each_time(launched):
    first, second = trained("emulated", 2), trained("emulated", 2)
    assert first[0] == second[0]
    for mine, again in zip(first[1], second[1], strict=True):
        assert mine.tobytes() == again.tobytes()
