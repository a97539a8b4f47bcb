"""Datasets: things that have a length and an i-th example."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from minidl.compute.arrays import is_array
from minidl.compute.counts import whole
from minidl.errors import ArgumentError, ShapeError, message
from minidl.tensor import Tensor

Example = Any
"""A tuple of arrays and numbers, a dict of them, or one of them alone."""
Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""A change of an array, (array, rng) -> array; what it draws comes from ``rng``."""
JointTransform = Callable[
    [np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]
]
"""A change of two arrays together: an image and its labels, or the views of a stereo pair."""


class Dataset:
    """Examples by number. Subclasses write ``__len__`` and ``example``.

    One that writes ``__getitem__`` instead works too, but draws its own random
    numbers: a loader cannot repeat them.

    Parameters
    ----------
    transform : callable, optional
        ``transform(array, rng)``, applied to the first part of every example, or to the
        whole of one that is no tuple.
    """

    transform: Transform | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def example(self, i: int) -> Example:
        """Example i before the transform: a tuple of arrays and numbers, a dict, or an array."""
        raise NotImplementedError(
            f"{type(self).__name__}: a Dataset needs a method example(i) that returns a tuple"
        )

    def draw(self, i: int, rng: np.random.Generator) -> Example:
        """Example i, transformed with random numbers from ``rng``."""
        own = type(self)
        if own.example is Dataset.example and own.__getitem__ is not Dataset.__getitem__:
            return self[i]
        example = self.example(i)
        if self.transform is None:
            return example
        if not isinstance(example, tuple | list):
            return self.transform(example, rng)
        parts = (self.transform(example[0], rng), *example[1:])
        return type(example)(*parts) if hasattr(example, "_fields") else parts

    def __getitem__(self, i: int) -> Example:
        """Example i, transformed with random numbers that depend on i alone."""
        i = whole(f"{type(self).__name__}: the number of an example", i, None)
        if not -len(self) <= i < len(self):
            raise IndexError(f"{type(self).__name__}: there is no example {i} of {len(self)}")
        i %= len(self)
        return self.draw(i, np.random.default_rng(i))


class ArrayDataset(Dataset):
    """Arrays of the same length; example i is row i of each.

    Parameters
    ----------
    *arrays : arrays, shape (N, ...)
    transform : callable, optional
        Applied to the row of the first array.

    Raises
    ------
    ShapeError
        If the lengths differ.
    """

    def __init__(self, *arrays: Any, transform: Transform | None = None):
        self.arrays = tuple(np.asarray(a) for a in arrays)
        self.transform = transform
        if not arrays or any(a.ndim == 0 for a in self.arrays):
            raise ShapeError("ArrayDataset: give one or more arrays of shape (N, ...)")
        if len({len(a) for a in self.arrays}) > 1:
            raise ShapeError(
                message(
                    "ArrayDataset: the arrays must have one length N",
                    f"received shapes {[a.shape for a in self.arrays]}",
                )
            )

    def __len__(self) -> int:
        return len(self.arrays[0])

    def example(self, i: int) -> Example:
        return tuple(a[i] for a in self.arrays)


TensorDataset = ArrayDataset
"""PyTorch's name of a dataset of arrays."""


class ConcatDataset(Dataset):
    """Datasets one after the other.

    Raises
    ------
    ArgumentError
        If there are none, or one is no dataset.
    """

    def __init__(self, datasets: Iterable[Any]):
        self.datasets = [as_dataset("ConcatDataset", dataset) for dataset in datasets]
        if not self.datasets:
            raise ArgumentError("ConcatDataset: give one or more datasets")
        self.cumulative_sizes = np.cumsum([len(d) for d in self.datasets]).tolist()

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def _place(self, i: int) -> tuple[Dataset, int]:
        """The dataset in which example i is, and its number there."""
        k = bisect_right(self.cumulative_sizes, i)
        return self.datasets[k], i - (self.cumulative_sizes[k - 1] if k else 0)

    def example(self, i: int) -> Example:
        dataset, i = self._place(i)
        return dataset.example(i)

    def draw(self, i: int, rng: np.random.Generator) -> Example:
        dataset, i = self._place(i)
        return dataset.draw(i, rng)


class _Indexed(Dataset):
    """A list of examples, or another library's dataset, which is asked by number."""

    def __init__(self, given: Any):
        self.given = given

    def __len__(self) -> int:
        return len(self.given)

    def example(self, i: int) -> Example:
        return self.given[i]


def as_dataset(who: str, given: Any) -> Dataset:
    """Take what has a length and examples by number for a dataset.

    Raises
    ------
    ArgumentError
        If it is none, saying what to make of it.
    """
    if hasattr(given, "draw") and hasattr(given, "__len__"):
        return given
    parts = given if isinstance(given, tuple) else ()
    if parts and all(isinstance(p, Tensor) or is_array(p) for p in parts):
        what, mend = "a tuple of arrays", "ArrayDataset(X, Y) pairs the rows of X and Y."
    elif isinstance(given, Mapping):
        what, mend = "a dict", "give a list of dicts, or a Dataset whose example(i) returns one."
    elif not (hasattr(given, "__len__") and hasattr(given, "__getitem__")):
        what, mend = type(given).__name__, "list(...) keeps the examples of an iterator."
    else:
        return _Indexed(given)
    raise ArgumentError(
        message(
            f"{who}: a dataset has a length and examples by number",
            f"received {what}",
            hint=mend,
        )
    )


def numbers_of_examples(who: str, numbers: Any, count: int) -> np.ndarray:
    """Read numbers of examples, (N,) int64, of which there are ``count``.

    Raises
    ------
    ArgumentError
        If one is no example, or no integer; ``who`` says what they are.
    """
    given = np.asarray(numbers)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ArgumentError(
            message(
                f"{who} must be a list of integers",
                f"received {given.dtype} of shape {given.shape}",
                hint="numpy.flatnonzero turns a mask into indices.",
            )
        )
    given = given.astype(np.int64)
    outside = given[(given < 0) | (given >= count)]
    if outside.size:
        raise ArgumentError(f"{who}: there is no example {outside[0]} in a dataset of {count}")
    return given


class Subset(Dataset):
    """Some examples of a dataset, by number.

    Raises
    ------
    ArgumentError
        If an index is no example of the dataset, or no integer.
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray):
        self.dataset = as_dataset("Subset", dataset)
        self.indices = numbers_of_examples("Subset: indices", indices, len(self.dataset))

    def __len__(self) -> int:
        return len(self.indices)

    def example(self, i: int) -> Example:
        return self.dataset.example(int(self.indices[i]))

    def draw(self, i: int, rng: np.random.Generator) -> Example:
        return self.dataset.draw(int(self.indices[i]), rng)


def random_split(dataset: Dataset, lengths: Sequence[float], seed: int = 0) -> list[Subset]:
    """Split a dataset into disjoint random subsets.

    Parameters
    ----------
    lengths : sequence of int, or of fractions that add up to 1
        What rounding of fractions leaves over goes to the first subsets.
    seed : int

    Raises
    ------
    ArgumentError
        If the lengths do not add up.
    """
    n = len(dataset)
    fractions = math.isclose(sum(lengths), 1) and not all(isinstance(x, Integral) for x in lengths)
    sizes = _shares(n, lengths) if fractions else [int(x) for x in lengths]
    exact = fractions or sizes == list(lengths)
    if not exact or sum(sizes) != n or min(sizes, default=0) < 0:
        raise ArgumentError(
            message(
                "random_split: the lengths, none below 0, must add up to the dataset's",
                f"received {list(lengths)} for {n} examples",
                hint="fractions add up to 1.",
            )
        )
    order = np.random.default_rng(seed).permutation(n)
    return [Subset(dataset, part) for part in np.split(order, np.cumsum(sizes)[:-1])]


def shuffled_rounds(dataset: Dataset, count: int, seed: int = 0) -> Subset:
    """``count`` examples in random order; each comes once before any comes again.

    One epoch of the result is a training of so many steps, however large the dataset.

    Parameters
    ----------
    count : int
        May be more than the dataset has, or fewer.
    seed : int

    Raises
    ------
    ArgumentError
        If there is nothing to draw from, or ``count`` is no integer, or negative.
    """
    n, count = len(dataset), whole("shuffled_rounds: count", count)
    if count > 0 and n == 0:
        raise ArgumentError(f"shuffled_rounds: an empty dataset has not {count} examples to draw")
    rng = np.random.default_rng(seed)
    order = [rng.permutation(n) for _ in range(-(-count // n) if n else 0)]
    return Subset(dataset, np.concatenate([np.arange(0), *order])[:count])


def _shares(n: int, fractions: Sequence[float]) -> list[int]:
    # Rounded before the floor, because 0.29 * 100 is 28.999999999999996.
    sizes = [math.floor(round(n * share, 6)) for share in fractions]
    for i in range(n - sum(sizes)):
        sizes[i % len(sizes)] += 1
    return sizes
