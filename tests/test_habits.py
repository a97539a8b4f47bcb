"""What users of PyTorch and NumPy write by habit works, and means the same."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn
from minidl.errors import ArgumentError, DtypeError, GradientError, MinidlError, ShapeError

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
    "size": (lambda: minidl.tensor([T.size, *T.size(), T.size(1)]),
             lambda: np.array([12, 3, 4, 4])),
    "argmax": (lambda: T.argmax(dim=1, keepdim=True), lambda: X.argmax(1)[:, None]),
    "all, dim": (lambda: (T > -1).all(dim=0), lambda: (X > -1).all(0)),
    "amax": (lambda: T.amax(1, keepdim=True), lambda: X.max(1, keepdims=True)),
    "prod": (lambda: T.prod(dim=1), lambda: X.prod(1)),
    "cumsum": (lambda: T.cumsum(dim=0), lambda: X.cumsum(0)),
    "norm": (lambda: T.norm(dim=1), lambda: np.linalg.norm(X, axis=1)),
    "norm of all": (lambda: T.norm(), lambda: np.linalg.norm(X)),
    "normalize": (lambda: F.normalize(T, dim=1).norm(dim=1), lambda: np.ones(3, np.float32)),
    "sort": (lambda: T.sort(dim=0)[0], lambda: np.sort(X, 0)),
    "argsort": (lambda: T.argsort(1, descending=True), lambda: np.argsort(-X, 1)),
    "topk": (lambda: T.topk(2).values, lambda: -np.sort(-X, 1)[:, :2]),
    "gather": (lambda: T.gather(1, T.argsort(1)), lambda: np.sort(X, 1)),
    "bmm": (lambda: minidl.bmm(T[None], T.t()[None])[0], lambda: X @ X.T),
    "einsum": (lambda: minidl.einsum("ij,kj->ki", T, T), lambda: np.einsum("ij,kj->ki", X, X)),
    "repeat": (lambda: T.repeat(2, 1, 3), lambda: np.tile(X, (2, 1, 3))),
    "flip": (lambda: T.flip(0, 1), lambda: X[::-1, ::-1]),
    "chunk": (lambda: T.chunk(2, dim=1)[1], lambda: X[:, 2:]),
    "log1p": (lambda: T.square().log1p(), lambda: np.log1p(X * X)),
    "masked_fill": (lambda: T.masked_fill(T > 0, -1), lambda: np.where(X > 0, -1, X)),
    "to, both": (lambda: T.to("cpu", dtype=minidl.float64), lambda: X.astype(np.float64)),
    "to, another's": (lambda: T.to(minidl.zeros(1, dtype=minidl.float64)),
                      lambda: X.astype(np.float64)),
    "softmax of a dtype": (lambda: T.softmax(1, dtype=minidl.float64).sum(1), lambda: np.ones(3)),
    "array on the left": (lambda: X * T - X / (T + 9) + X @ T.t() @ X, lambda: X * X - X / (X + 9)
                          + X @ X.T @ X),
    "compared to an array": (lambda: (np.zeros(4) < T) | (np.ones(4) == T), lambda: X > 0),
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


# --- order, products, sums of products ---

TIES = np.array([[3, 1, 2, 1, 3], [0, np.nan, -1, np.nan, 7]], np.float32)


def test_equal_elements_stay_in_order_and_nan_is_the_largest():
    assert F.sort(TIES).indices.tolist() == [[1, 3, 2, 0, 4], [2, 0, 4, 1, 3]]
    assert F.sort(TIES, descending=True).indices.tolist() == [[0, 4, 2, 1, 3], [1, 3, 4, 0, 2]]
    assert F.topk(TIES, 2).indices.tolist() == [[0, 4], [1, 3]]
    assert F.topk(TIES[:1], 2, largest=False).values.tolist() == [[1, 1]]


@pytest.mark.parametrize("factors, slopes", [
    ([1.0, 2.0, -3.0], [-6, -3, 2]), ([0.0, 2.0, 3.0], [6, 0, 0]), ([0.0, 0.0, 3.0], [0, 0, 0]),
])
def test_slopes_of_a_product_are_those_of_the_other_factors_even_with_zeros(factors, slopes):
    x = minidl.tensor(factors, requires_grad=True)
    x.prod().backward()
    assert x.grad.tolist() == slopes


def test_products_and_sums_of_integers_are_int64():
    x = minidl.tensor(np.array([200, 3], np.uint8))
    assert (x.prod().item(), x.prod().dtype, x.cumsum(0).tolist()) == (600, np.int64, [200, 203])
    ones = minidl.tensor(np.ones(4096, np.float16))
    assert ones.cumsum(0).dtype == np.float16 and ones.cumsum(0)[-1].item() == 4096


@pytest.mark.parametrize("p", [2, 1, 3, 0.5, 0])
def test_slope_of_a_norm_of_zeros_is_0(p):
    x = minidl.zeros(2, 3, requires_grad=True)
    (slope,) = minidl.grad(F.norm(x, p, 1).sum() + 0 * x.sum(), x, create_graph=True)
    assert slope.tolist() == [[0, 0, 0], [0, 0, 0]]
    (bend,) = minidl.grad(slope.sum() + 0 * x.sum(), x)
    assert np.isfinite(bend.data).all()


def test_norms_neither_overflow_nor_vanish():
    assert F.norm(np.full(2, 1e30, np.float32)).item() == pytest.approx(2**0.5 * 1e30)
    assert F.norm(np.full(2, 1e-30, np.float32)).item() == pytest.approx(2**0.5 * 1e-30)
    assert F.norm(np.ones(70_000, np.float16)).item() == pytest.approx(70_000**0.5, rel=1e-3)
    assert F.norm([3, 4]).item() == 5 and F.norm([3.0, -4.0], float("inf")).item() == 4
    assert F.norm([1.0, float("inf")]).item() == float("inf")


def test_masked_bools_stay_bools_and_limits_leave_the_dtype_as_it_is():
    mask = minidl.tensor([True, False])
    for value, filled in ((10, True), (0, False), (True, True)):
        found = minidl.tensor([False, True]).masked_fill(mask, value)
        assert found.dtype == bool and found.tolist() == [filled, True]
    x = minidl.tensor([0.2, 0.7])
    assert F.clip(x, np.float64(0.5)).dtype == F.clip(x, 0, np.float64(1)).dtype == np.float32
    whole = minidl.arange(-2, 8)
    assert whole.clip(-0.5, 0.5).dtype == np.float32  # as of integers and a float elsewhere
    assert F.relu6(whole).dtype == F.hardtanh(whole).dtype == np.int64
    assert F.relu6(whole).tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 6]
    with pytest.raises(DtypeError, match="a limit is a fraction"):
        F.hardtanh(whole, -0.5, 0.5)


@pytest.mark.parametrize("p", ["fro", 2, None])
def test_norm_of_a_matrix_is_frobeniuss(p):
    given = () if p is None else (p,)
    for length in (minidl.norm(T, *given), T.norm(*given), T.norm(*given, dim=(0, 1))):
        assert length.item() == pytest.approx(np.linalg.norm(X, "fro"))


LETTERS = ["ab,bc->ac", "ab,ab->", "abc,abd->acd", "a,b->ba", "abc->ca", "ab,b", "ba",
           "abc,cd,bd->ad", "...a,...b->...ab", "a...->...", "ab,ac->a", "aa->a", "aa", "aab->b",
           "aba->ba", "aaa->a", "aa,bb->ab", "...aa->a...", "aab,ca->bc"]


@pytest.mark.parametrize("equation", LETTERS)
def test_einsum_is_numpys(equation):
    sizes, rng = dict(a=2, b=3, c=4, d=5), np.random.default_rng(0)
    terms = equation.split("->")[0].split(",")
    arrays = [rng.standard_normal([2 if c == "." else sizes[c] for c in t.replace("...", "..")])
              for t in terms]
    np.testing.assert_allclose(F.einsum(equation, *arrays).numpy(), np.einsum(equation, *arrays),
                               atol=1e-12)


def test_kl_div_reduces_as_its_names_say():
    rng = np.random.default_rng(0)
    x, t = (rng.dirichlet(np.ones(4), 3) for _ in range(2))
    t[0, :2] = 0, t[0, 0] + t[0, 1]
    each = np.where(t > 0, t * (np.log(np.where(t > 0, t, 1)) - np.log(x)), 0)
    for reduction, value in {"none": each, "sum": each.sum(), "mean": each.mean(),
                             "batchmean": each.sum() / 3}.items():
        np.testing.assert_allclose(F.kl_div(np.log(x), t, reduction=reduction).numpy(), value)
    loss = minidl.nn.KLDivLoss("batchmean", log_target=True)
    assert loss(np.log(x), np.log(t[1:2].repeat(3, 0))).item() > 0


def test_unfold_reads_what_conv2d_multiplies():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 7, 6)), rng.standard_normal((4, 3, 3, 2))
    columns = F.unfold(x, (3, 2), dilation=(1, 2), padding=(2, 1), stride=(2, 3))
    y = F.conv2d(x, w, stride=(2, 3), padding=(2, 1), dilation=(1, 2))
    np.testing.assert_allclose((w.reshape(4, -1) @ columns).numpy(), y.numpy().reshape(2, 4, -1))
    windows = minidl.nn.Unfold(2)(F.unfold(x, 1).reshape(2, 3, 7, 6))
    counted = minidl.nn.Fold((7, 6), 2)(minidl.ones_like(windows))
    assert counted[0, 0, 0].tolist() == [1, 2, 2, 2, 2, 1] and counted[0, 0, 3, 3].item() == 4


EMPTY = {
    "sort": (lambda x: x.sort(1)[0], (2, 0)), "topk": (lambda x: x.topk(0)[0], (2, 0)),
    "cumsum": (lambda x: x.cumsum(0), (2, 0)), "norm": (lambda x: x.norm(dim=1), (2,)),
    "prod": (lambda x: x.prod(1) - 1, (2,)), "gather": (lambda x: x.gather(1, x.long()), (2, 0)),
    "einsum": (lambda x: F.einsum("ab,cb->ac", x, x), (2, 2)),
    "bmm": (lambda x: F.bmm(x[None], x.T[None]), (1, 2, 2)),
    "unfold": (lambda x: F.unfold(x.reshape(0, 3, 4, 4), 2), (0, 12, 9)),
    "conv1d": (lambda x: F.conv1d(x.reshape(0, 2, 5), np.ones((3, 2, 2), np.float32)), (0, 3, 4)),
    "kl_div": (lambda x: F.kl_div(x, x, "sum"), ()), "flip": (lambda x: x.flip(1), (2, 0)),
    "repeat": (lambda x: x.repeat(2, 3), (4, 0)), "normalize": (lambda x: F.normalize(x), (2, 0)),
}


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_in_gives_nothing_or_the_value_of_nothing(name):
    call, shape = EMPTY[name]
    x = minidl.zeros(2, 0, requires_grad=True)
    y = call(x)
    assert y.shape == shape and not y.data.any()
    assert minidl.grad(y.sum(), x, allow_unused=True)[0].shape == (2, 0)


def test_a_number_is_in_order_and_its_own_product_and_sum():
    x = minidl.tensor(-3.0, requires_grad=True)
    found = [x.sort(0)[0], x.topk(1, 0)[0], x.prod(), x.cumsum(0), x.gather(0, 0), x.norm()]
    assert [y.item() for y in found] == [-3, -3, -3, -3, -3, 3]
    assert [y.shape for y in found] == [()] * 6
    assert minidl.grad(found, x)[0].item() == 4


REFUSED = {
    "sort: axis 2 does not exist": lambda: T.sort(2),
    "cumsum: an axis must be an integer": lambda: T.cumsum(None),
    "topk: k must be from 0 to 4": lambda: T.topk(5),
    "gather: index may be longer": lambda: T.gather(1, np.zeros((4, 1), int)),
    "gather: there is no index 4": lambda: T.gather(1, np.array([[4]])),
    "gather: index must have as many axes": lambda: T.gather(1, np.array([0])),
    "bmm: x and w must have the axes": lambda: F.bmm(T, T),
    "einsum: letters behind the arrow stand there once": lambda: F.einsum("ij->ii", T),
    "einsum: 'i' is a diagonal, of axes that differ": lambda: F.einsum("ii->i", T),
    "diagonal: an axis is named twice": lambda: T.diagonal(0, 1, -1),
    "einsum: axes of one letter differ": lambda: F.einsum("ij,ji->i", T, T),
    "einsum: it names 2 operands": lambda: F.einsum("ij,jk", T),
    "einsum: 'ijk' does not name the axes": lambda: F.einsum("ijk", T),
    "norm: the nuclear norm is not here": lambda: T.norm("nuc"),
    "norm: unknown p 'max'": lambda: T.norm("max"),
    "kl_div: unknown reduction": lambda: F.kl_div(T, T, "total"),
    "kl_div: x and target must have": lambda: F.kl_div(T, T[0]),
    "unfold: x needs the axes": lambda: F.unfold(T, 2),
    "unfold: the window is larger": lambda: F.unfold(T.reshape(1, 1, 3, 4), 5),
    "fold: x must have the axes": lambda: F.fold(T, (3, 3), 2),
    "conv1d: x needs the axes": lambda: F.conv1d(T[0], T[None]),
    "conv1d is computed on images": lambda: F.conv1d(T[None], np.ones((1, 2, 1))),
    "max_pool1d: kernel_size must be one integer": lambda: F.max_pool1d(T, (2, 2)),
    "size: axis 2 does not exist": lambda: T.size(2),
    "chunk: chunks must be an integer, at least 1": lambda: T.chunk(0),
    "tile: a number of repetitions must be an integer, at least 0": lambda: T.repeat(-1, 2),
    "there is no device 'cuda:first'": lambda: T.to("cuda:first"),
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_cannot_be_is_refused_by_name(told):
    with pytest.raises(MinidlError, match=re.escape(told)):
        REFUSED[told]()


# --- rows ---


def test_layers_of_rows_are_those_of_images_one_pixel_high():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 9)).astype(np.float32)
    layer = nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2)
    assert layer.weight.shape == (6, 2, 3) and "stride=2" in repr(layer)
    w, b = (p.detach().numpy() for p in (layer.weight, layer.bias))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    for o, j in np.ndindex(6, 4):
        seen = padded[:, o // 3 * 2 : o // 3 * 2 + 2, 2 * j : 2 * j + 5 : 2]
        np.testing.assert_allclose(layer(x).data[:, o, j], (seen * w[o]).sum((1, 2)) + b[o],
                                   rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(nn.MaxPool1d(3)(x).numpy(), x.reshape(2, 4, 3, 3).max(3))
    np.testing.assert_allclose(nn.AvgPool1d(3)(x).numpy(), x.reshape(2, 4, 3, 3).mean(3), atol=1e-6)
    np.testing.assert_allclose(nn.AdaptiveAvgPool1d(3)(x).numpy(), nn.AvgPool1d(3)(x).numpy(),
                               atol=1e-6)
    y = nn.InstanceNorm1d(4)(x).numpy()
    np.testing.assert_allclose(y.mean(2), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(2), 1, atol=1e-3)
    assert nn.ConvTranspose1d(6, 4, 3, 2, 1, 1)(layer(x)).shape == (2, 4, 8)
    assert nn.Conv1d(4, 2, 4, padding="same", padding_mode="circular")(x).shape == (2, 2, 9)


def test_circular_padding_sees_the_other_end():
    layer = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    nn.init.ones_(layer.weight)
    assert layer(np.array([[1, 2, 4, 8]], np.float32)).tolist() == [[11, 7, 14, 13]]


# --- in place ---


def test_elements_are_written_in_place_outside_the_graph():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = minidl.from_numpy(array)
    x[x > 3] = -1
    x[0] = minidl.tensor([7, 8, 9])
    x[0, 0] += 1
    assert array.tolist() == [[8, 8, 9], [3, -1, -1]]
    assert x.zero_() is x and not array.any()
    assert x.fill_(2).sum().item() == 12


def test_writing_elements_is_seen_by_a_graph_that_kept_them():
    x, w = minidl.ones(3), minidl.ones(3, requires_grad=True)
    y = (x * w).sum()
    x[0] = 5
    with pytest.raises(GradientError, match=r"changed in place by x\[\.\.\.\] = v"):
        y.backward()


def test_writing_elements_in_the_graph_is_refused_with_what_to_write():
    w = minidl.ones(3, requires_grad=True)
    with pytest.raises(GradientError, match="no_grad"):
        w[0] = 2
    with pytest.raises(GradientError, match=r"result of Multiply.*\n.*minidl\.where"):
        (w * 2)[0] = 2
    with pytest.raises(GradientError, match=r"v\.detach"):
        minidl.ones(3)[0] = w[0]
    with minidl.no_grad():
        w[0] = 2
    assert w.tolist() == [2, 1, 1]


def test_values_that_do_not_fit_are_not_written():
    x = minidl.tensor([1, 2, 3])
    with pytest.raises(DtypeError, match="float32 would be cut off"):
        x[0] = 1.5
    with pytest.raises(ShapeError, match=r"the value \(2,\)"):
        x[:] = [1, 2]
    with pytest.raises(ShapeError, match="clone"):
        minidl.zeros(1, 3).expand((2, 3))[0] = 1
    with pytest.raises(IndexError, match=r"shape \(3,\)"):
        x[3] = 1
    assert x.tolist() == [1, 2, 3]


def test_inplace_is_accepted_and_leaves_the_input():
    x = minidl.tensor([-1.0, 2.0])
    for function in (F.relu, F.leaky_relu, F.elu, F.dropout):
        function(x, inplace=True)
    assert x.tolist() == [-1, 2]


# --- NumPy's functions ---


@pytest.mark.parametrize("call, name", [
    (lambda x: np.exp(x), "minidl.functional.exp"), (lambda x: np.mean(x), "functional.mean"),
    (lambda x: np.amax(x), "functional.max"), (lambda x: np.abs(x), "functional.abs"),
    (lambda x: np.any(x), r"x\.any\(\)"), (lambda x: np.isnan(x), r"x\.isnan\(\)"),
    (lambda x: np.linalg.norm(x.requires_grad_()), "functional.norm"),
    (lambda x: np.sort(x.requires_grad_(), axis=0), "functional.sort"),
    (lambda x: np.concatenate([x.requires_grad_(), x]), "functional.cat"),
    (lambda x: np.arctan(x), r"numpy\.arctan\(x\.detach"),
])
def test_numpys_functions_are_refused_with_the_name_to_use(call, name):
    with pytest.raises(DtypeError, match=name):
        call(minidl.ones(2, 3))


def test_numpys_functions_that_want_an_array_get_it_outside_the_graph():
    x = minidl.ones(2, 3)
    assert type(np.stack([x, x])) is np.ndarray and np.allclose(x, 1) and np.argmax(x) == 0
    assert np.asarray(x) is x.data or np.shares_memory(np.asarray(x), x.data)
    assert np.shape(x.requires_grad_()) == (2, 3)
    with pytest.raises(GradientError):
        np.asarray(x)


def test_an_array_times_a_tensor_is_in_the_graph():
    x = minidl.tensor([1.0, 2.0], requires_grad=True)
    ((np.array([3.0, 4.0], np.float32) - x) * np.float32(2)).sum().backward()
    (np.float32(3) * x).sum().backward()
    assert x.grad.tolist() == [1, 1]
    whole = minidl.tensor([1, 2])
    assert (np.float64(1.5) * whole).dtype == (whole * 1.5).dtype == np.float32
    assert (np.array([1, 3]) <= whole).tolist() == [True, False]
    assert (np.int64(2) > whole).tolist() == np.greater(whole, [0, 2]).tolist() == [True, False]
    array = np.ones(2, np.float32)
    with pytest.raises(DtypeError, match=r"a = a \+ x"):
        array += x


# --- files ---


def test_what_is_saved_is_loaded(tmp_path):
    model = nn.Linear(2, 3)
    saved = {"model": model.state_dict(), "loss": 0.5, "x": [minidl.ones(2), None]}
    minidl.save(saved, tmp_path / "run.safetensors")
    loaded = minidl.load(tmp_path / "run.safetensors", map_location="cpu")
    assert loaded["loss"] == 0.5 and (loaded["x"][0] * 2).tolist() == [2, 2]
    other = nn.Linear(2, 3)
    other.load_state_dict(loaded["model"])
    assert other.weight.tolist() == model.weight.tolist()
    with pytest.raises(ArgumentError, match=r"save its \.state_dict"):
        minidl.save(model, tmp_path / "model.pth")
