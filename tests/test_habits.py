"""What users of PyTorch and NumPy write by habit works, and means the same."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.errors import ArgumentError, GradientError

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
T = minidl.tensor(X)

SAME = {
    "sum": (lambda: T.sum(dim=1, keepdim=True), lambda: X.sum(1, keepdims=True)),
    "mean": (lambda: F.mean(T, dim=(0, 1)), lambda: X.mean()),
    "var": (lambda: T.var(dim=0), lambda: X.var(0, ddof=1)),
    "std": (lambda: T.std(0, unbiased=False), lambda: X.std(0)),
    "cat": (lambda: minidl.cat([T, T], dim=1), lambda: np.concatenate([X, X], 1)),
    "stack": (lambda: minidl.stack([T, T], dim=2), lambda: np.stack([X, X], 2)),
    "squeeze": (lambda: T.unsqueeze(dim=1).squeeze(dim=1), lambda: X),
    "softmax": (lambda: T.softmax(dim=1).sum(1), lambda: np.ones(3)),
    "relu": (lambda: T.relu(), lambda: np.maximum(X, 0)),
    "tanh": (lambda: T.tanh(), lambda: np.tanh(X)),
    "square": (lambda: T.square(), lambda: X * X),
    "clamp": (lambda: T.clamp(min=0, max=1), lambda: X.clip(0, 1)),
    "view": (lambda: T.view(2, 6), lambda: X.reshape(2, 6)),
    "t": (lambda: T.t(), lambda: X.T),
    "double": (lambda: T.double(), lambda: X.astype(np.float64)),
    "long": (lambda: (T * 9).long(), lambda: (X * 9).astype(np.int64)),
    "argmin": (lambda: T.argmin(1), lambda: X.argmin(1)),
    "all": (lambda: (T > -9).all(), lambda: np.array(True)),
    "any": (lambda: T.isnan().any(), lambda: np.array(False)),
    "invert": (lambda: ~(T > 0) & (T < 1) | (T > 2), lambda: ~(X > 0) & (X < 1) | (X > 2)),
    "modulo": (lambda: T.long() % 3 + T.long() // 2, lambda: X.astype(int) % 3
               + X.astype(int) // 2),
    "eye": (lambda: minidl.eye(3), lambda: np.eye(3)),
    "full_like": (lambda: minidl.full_like(T, 2), lambda: np.full_like(X, 2)),
    "from_numpy": (lambda: minidl.from_numpy(X), lambda: X),
}


@pytest.mark.parametrize("name", SAME)
def test_habit_means_the_same(name):
    ours, numpys = (call() for call in SAME[name])
    np.testing.assert_allclose(ours.numpy(), numpys, rtol=1e-6)
    assert ours.dtype == np.asarray(numpys).dtype or name in ("softmax", "eye")


def test_numbers_format_and_round():
    loss = minidl.tensor(1.23456)
    assert (f"{loss:.3f}", round(loss, 2)) == ("1.235", 1.23)
    assert f"{minidl.tensor([1.0])}" == "tensor([1.])"
    assert (T.numel(), T.dim(), +T is T, T.contiguous() is T) == (12, 2, True, True)


def test_dtypes_and_devices_have_names():
    assert minidl.zeros(2, dtype=minidl.float64).dtype == minidl.float64
    assert T.cpu().device == "cpu" and T.half().dtype == minidl.float16


def test_random_numbers_in_all_the_usual_ways():
    assert minidl.randn_like(T).shape == minidl.rand_like(T).shape == minidl.empty(3, 4).shape
    drawn = minidl.randint(2, 5, (100,)).numpy()
    assert (drawn.min(), drawn.max()) == (2, 4)
    assert sorted(minidl.randperm(5).tolist()) == [0, 1, 2, 3, 4]


def test_one_argument_has_one_name_at_a_time():
    with pytest.raises(ArgumentError, match="one argument"):
        T.sum(axis=0, dim=0)


def test_dlpack_shares_memory_both_ways():
    x = np.arange(3.0)
    shared = minidl.from_dlpack(x)
    x[0] = 7
    assert shared.tolist() == [7, 1, 2]
    back = np.from_dlpack(shared)
    assert np.shares_memory(back, x)
    with pytest.raises(GradientError, match="detach"):
        np.from_dlpack(minidl.tensor([1.0], requires_grad=True))
