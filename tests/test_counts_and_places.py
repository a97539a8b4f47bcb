"""Sizes that are no counts and indices that are no places are refused, not cut off or wrapped."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn, optim
from minidl.compute.counts import whole
from minidl.data import ArrayDataset, DataLoader, random_split
from minidl.data.dataset import shuffled_rounds
from minidl.errors import ArgumentError, DtypeError, MinidlError, PlaceError
from tests import strict_cupy

X = np.arange(24.0).reshape(2, 3, 4)
T = minidl.tensor(X)
EXAMPLES = ArrayDataset(np.zeros(10))

COUNTS = {
    "split, all": lambda n: F.split(T, n, 2),
    "split, listed": lambda n: F.split(T, [4 - n if isinstance(n, int | float) else 4, n], 2),
    "chunk": lambda n: T.chunk(n, 2),
    "tile": lambda n: F.tile(T, (1, n)),
    "repeat": lambda n: T.repeat(1, 1, n),
    "expand": lambda n: T[:1].expand(n, 3, 4),
    "expand, in front": lambda n: T.expand(n, 2, 3, 4),
    "topk": lambda n: T.topk(n),
    "one_hot": lambda n: F.one_hot(np.array([0]), n),
    "avg_pool2d, padding": lambda n: F.avg_pool2d(T, 3, padding=n),
    "layer_norm": lambda n: F.layer_norm(T, (3, n)),
    "local_response_norm": lambda n: F.local_response_norm(T, n),
    "zeros": lambda n: minidl.zeros(2, n),
    "full": lambda n: minidl.full((2, n), 1.0),
    "randn": lambda n: minidl.randn(n),
    "randint, shape": lambda n: minidl.randint(0, 3, (n,)),
    "randperm": minidl.randperm,
    "eye": minidl.eye,
    "linspace": lambda n: minidl.linspace(0, 1, n),
    "manual_seed": minidl.manual_seed,
    "DataLoader, batch_size": lambda n: DataLoader(EXAMPLES, n),
    "DataLoader, workers": lambda n: DataLoader(EXAMPLES, 2, workers=n),
    "random_split": lambda n: random_split(EXAMPLES, [n, 10 - n]),
    "shuffled_rounds": lambda n: shuffled_rounds(EXAMPLES, n),
    "Conv2d": lambda n: nn.Conv2d(3, n, 1),
    "Embedding": lambda n: nn.Embedding(n, 2),
}
"""Calls of which no number but an integer, and no negative one, makes sense."""


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("n", [-2, 1.5])
def test_a_count_is_a_whole_number_that_is_not_negative(name, n):
    with pytest.raises(MinidlError):
        COUNTS[name](n)


@pytest.mark.parametrize("name", sorted({*COUNTS} - {"random_split", "avg_pool2d, padding"}))
def test_true_is_no_count(name):
    with pytest.raises(MinidlError, match="integer"):
        COUNTS[name](True)


NUMBERS = {
    "pad": lambda n: F.pad(T, (n, 1)),
    "diagonal": lambda n: T.diagonal(n),
    "embedding, padding_idx": lambda n: F.embedding(np.array([0]), X[0], n),
    "avg_pool2d, divisor": lambda n: F.avg_pool2d(T, 2, divisor_override=n),
    "randint": lambda n: minidl.randint(0, n, (2,)),
    "dataset": lambda n: EXAMPLES[n],
    **{name: lambda n, name=name: getattr(F, name)(T, n) for name in (
        "sum", "max", "argmax", "softmax", "cumsum", "sort", "squeeze", "unsqueeze", "flip",
        "flatten", "logsumexp")},
    "cat": lambda n: F.cat([T, T], n),
    "transpose": lambda n: T.transpose(0, n),
    "take": lambda n: F.take(T, [0], n),
    "gather": lambda n: T.gather(n, np.zeros((2, 3, 4), int)),
}
"""Calls with an integer that may be negative: a width, an axis, an index."""


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("n", [1.5, "1", True])
def test_an_axis_or_a_width_is_an_integer(name, n):
    with pytest.raises(MinidlError, match="integer"):
        NUMBERS[name](n)
    NUMBERS[name](np.int64(1))


def test_sizes_of_a_split_are_not_negative_and_say_so():
    with pytest.raises(ArgumentError, match=r"split: a size must be an integer, at least 0\n"
                                            r"    received -1"):
        F.split(T, [5, -1], 2)
    assert [p.shape[2] for p in F.split(T, [np.int64(1), 0, 3], 2)] == [1, 0, 3]
    assert [p.shape[2] for p in F.split(T, np.array([1, 3]), 2)] == [1, 3]
    with pytest.raises(ArgumentError, match=r"2\.0\n.*a // b"):
        whole("a size", 2.0)


def test_axes_are_named_once_and_exist():
    for call in (lambda: T.sum((0, -3)), lambda: F.flip(T, (1, -2)), lambda: T.squeeze((0, 0))):
        with pytest.raises(ArgumentError, match="named twice"):
            call()
    for call in (lambda: F.take(T, [0], 5), lambda: F.take_along_axis(T, X.astype(int), 3)):
        with pytest.raises(ArgumentError, match=r"axis . does not exist"):
            call()


def test_sizes_of_a_shape_are_not_negative_though_their_product_fits():
    with pytest.raises(ArgumentError, match="reshape: a size"):
        T.reshape(-2, -12)


def test_repeat_wants_a_number_for_each_axis_as_numpys_repeats_elements():
    with pytest.raises(ArgumentError, match=r"x.repeat\(1, 1, 2\)"):
        T.repeat(2)
    np.testing.assert_array_equal(T.repeat(2, 1, 1, 1).data, np.tile(X, (2, 1, 1, 1)))


def test_one_hot_without_an_index_knows_no_largest():
    with pytest.raises(ArgumentError, match="without indices"):
        F.one_hot(np.zeros(0, int))
    assert F.one_hot(np.zeros(0, int), 3).shape == (0, 3)


def test_what_is_added_to_a_variance_and_a_length_of_a_wave_are_positive():
    for training in (True, False):
        with pytest.raises(ArgumentError, match="eps"):
            F.batch_norm(T, np.zeros(3), np.ones(3), training=training, eps=-1e-5)
    step = optim.SGD([nn.Parameter(minidl.zeros(1))], 0.1)
    with pytest.raises(ArgumentError, match="T_max"):
        optim.lr_scheduler.CosineAnnealingLR(step, 0)
    with pytest.raises(ArgumentError, match="no integer to draw"):
        minidl.randint(3, 3, (2,))


# --- places ---


def reading(x, to):
    """Every function that takes indices, given x, (2, 3, 4), and what takes an index there."""
    return {
        "take": lambda i: F.take(x, to([0, i]), 1),
        "take, in a row": lambda i: F.take(x.reshape(3, 8)[:, 0], to([0, i])),
        "take_along_axis": lambda i: F.take_along_axis(x, to(np.full((2, 1, 4), i)), 1),
        "gather": lambda i: F.gather(x, 1, to(np.full((2, 1, 4), i))),
        "embedding": lambda i: F.embedding(to([[0, i]]), x[0]),
        "one_hot": lambda i: F.one_hot(to([0, i]), 3),
        "cross_entropy": lambda i: F.cross_entropy(x, to([[0, 1, 2, i], [0, 0, 0, 0]])),
        "nll_loss": lambda i: F.nll_loss(x, to([[0, 1, 2, i], [0, 0, 0, 0]])),
        "max_unpool2d": lambda i: F.max_unpool2d(x[:, :, :1, None], to(np.full((2, 3, 1, 1), i)),
                                                 (1, 3)),
        "x[i]": lambda i: x.transpose(0, 1)[to([0, i])],
        "x[..., i, :]": lambda i: x[..., to([0, i]), :],
        "x[None, mask, i]": lambda i: x[None, to([True, False]), to([i])],
        "x[i] = v": lambda i: x.transpose(0, 1).clone().__setitem__(to([0, i]), 0.0),
    }


FROM_THE_END = {"take", "take, in a row", "take_along_axis", "x[i]", "x[..., i, :]",
                "x[None, mask, i]", "x[i] = v"}
"""The calls to which -1 is the last place."""


@pytest.mark.parametrize("name", reading(T, np.asarray))
@pytest.mark.parametrize("held", ["cpu", "cuda", "cuda, indices on the host"])
def test_index_without_an_element_is_named_on_either_device(name, held, monkeypatch):
    strict_cupy.install(monkeypatch)
    device, _, here = held.partition(", ")
    x = minidl.tensor(X, device=device)

    def to(places):
        places = np.asarray(places)
        host = here and name.startswith("x[")
        return places if host else minidl.tensor(places, device=device)

    with minidl.use_kernels("reference"):
        call = reading(x, to)[name]
        call(2)
        strict_cupy.fetched.clear()
        for wrong in (3, -1 if name not in FROM_THE_END else -4):
            with pytest.raises(IndexError, match=rf"(no (index|class)|index) {wrong}\b"):
                call(wrong)
        if name in FROM_THE_END:
            call(-1)
        if device == "cuda" and not here:
            with pytest.raises(PlaceError, match=r"there are only -?[0-9]+ to 2"):
                call(3)
        if here and name.startswith("x[") and "mask" not in name:
            assert not strict_cupy.fetched  # nobody has waited


@pytest.mark.parametrize(("sampler", "told"), [
    ([0.7, 1.2], "must be a list of integers"), ([True, False], "flatnonzero"),
    ([0, -1], "no example -1"), ([0, 10], "no example 10 in a dataset of 10"),
])
def test_a_sampler_gives_numbers_of_examples(sampler, told):
    with pytest.raises(ArgumentError, match=told):
        list(DataLoader(EXAMPLES, 4, sampler=sampler))
    assert len(list(DataLoader(EXAMPLES, 4, sampler=minidl.randperm(10)))) == 3


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_indices_may_be_of_a_type_too_narrow_for_the_number_of_places(dtype):
    x = np.arange(70_000.0)
    assert F.take(x, np.array([100], dtype), 0).tolist() == [100]
    with pytest.raises(PlaceError, match="no index 100\\n"):
        F.take(x[:100], np.array([100], dtype), 0)


def test_there_is_no_index_of_nothing_and_half_an_index_is_none():
    with pytest.raises(PlaceError, match="none at all"):
        F.take(np.zeros((0, 2)), [0], 0)
    with pytest.raises(DtypeError, match="take: indices must be integers, received bool"):
        F.take(T, [True, False], 0)
    with pytest.raises(DtypeError, match="gather: indices must be integers"):
        T.gather(1, np.zeros((2, 3, 4)))
    assert F.take(T, np.zeros(0, int), 1).shape == (2, 0, 4)


def test_a_classes_error_says_what_does_not_count():
    with pytest.raises(PlaceError, match=r"no class 3\n.*only 0 to 2\n(.*\n)*.*ignore_index"):
        F.cross_entropy(np.zeros((1, 3)), np.array([3]))
    assert np.isfinite(F.cross_entropy(np.zeros((2, 3)), np.array([0, 7]), ignore_index=7).item())
