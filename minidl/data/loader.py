"""DataLoader: examples in batches, shuffled by a seed of its own, from a known position.

The order of an epoch depends on the seed and the epoch's number alone, and what
a transform draws on these and the example's number. So the batches are the same
however many threads prepare them, and after a resume.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from minidl.compute.arrays import to_device
from minidl.compute.counts import whole
from minidl.data.dataset import (
    ArrayDataset,
    Dataset,
    Example,
    Subset,
    as_dataset,
    numbers_of_examples,
)
from minidl.errors import ArgumentError, CheckpointError, DtypeError, ShapeError, message
from minidl.tensor import Tensor, as_tensor, default_dtype

Batch = Any
"""What examples are, with Tensors (N, ...) in place of their arrays and numbers."""

TORCHS_NAMES = {"collate_fn": "collate", "num_workers": "workers", "prefetch_factor": "prefetch"}
"""PyTorch's names of some parameters, and the names here."""

WITHOUT_EFFECT = ("pin_memory", "persistent_workers")
"""Parameters of PyTorch's that are accepted, and change nothing here."""


class DataLoader:
    """An iterable over an epoch's batches, tuples of Tensors (N, ...).

    A batch is built as its examples are: a dict of Tensors where they are dicts, one Tensor
    where each is a single array.

    Parameters
    ----------
    dataset : Dataset, list of examples, or whatever else has a length and examples by number
    batch_size : int
    shuffle : bool
        A new order in every epoch.
    drop_last : bool
        Leave out a last batch that is smaller.
    workers : int
        Threads that prepare batches ahead; 0: none.
    prefetch : int
        Batches that each worker may be ahead of the one handed out.
    seed : int
        Seed of the order and of the transforms; independent of ``manual_seed``.
    collate : callable, optional
        Makes a batch of a list of examples; default: each part stacked.
    device : {"cpu", "cuda"}
        Where the batches' Tensors are wanted. They are made on the CPU and moved when they are
        handed out.
    sampler : iterable of int, optional
        The numbers of an epoch's examples in their order, asked anew for every epoch; in place
        of ``shuffle``. A run that is resumed asks again: the same numbers must come. What is no
        number of an example is refused when an epoch begins.
    **others
        ``collate_fn``, ``num_workers``, ``prefetch_factor``: PyTorch's names of collate, workers
        (which are threads here), and prefetch; ``pin_memory`` and ``persistent_workers`` have
        no effect.

    Attributes
    ----------
    epoch : int
        Number of epochs gone through.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        workers: int = 0,
        prefetch: int = 2,
        seed: int = 0,
        collate: Callable[[list[Example]], Any] | None = None,
        device: str = "cpu",
        sampler: Iterable[int] | None = None,
        **others: Any,
    ):
        if others:
            ours = _renamed(others)
            workers, collate = ours.get("workers", workers), ours.get("collate", collate)
            prefetch = ours.get("prefetch") or prefetch
        if shuffle and sampler is not None:
            raise ArgumentError("DataLoader: a sampler has an order of its own: leave out shuffle")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("workers", workers, 0),
            ("prefetch", prefetch, 1),
            ("seed", seed, 0),
        ):
            whole(f"DataLoader: {name}", value, least)
        self.dataset: Dataset = as_dataset("DataLoader", dataset)
        self.batch_size, self.sampler = batch_size, sampler
        self.shuffle, self.drop_last = shuffle, drop_last
        self.workers, self.prefetch, self.collate = workers, prefetch, collate
        self.device = device
        self.seed = int(seed)  # which JSON can hold, as it cannot NumPy's integers
        self.epoch = 0
        self._position = 0  # batches of this epoch that have been handed out
        self._loaded = False  # whether the next loop goes on from there

    def __len__(self) -> int:
        n = self._count()
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """The batches from the present position to the epoch's end; then the next epoch begins.

        Leaving the loop early leaves the epoch: the next loop starts a new pass over
        the same epoch, unless a position has been loaded.
        """
        first, self._loaded = (self._position if self._loaded else 0), False
        self._position = first
        epoch, seed = self.epoch, self.seed
        order = self._order()
        starts = range(first * self.batch_size, len(self) * self.batch_size, self.batch_size)
        wanted = [order[s : s + self.batch_size] for s in starts]

        def prepare(indices: np.ndarray) -> Any:
            return self._batch(indices, seed, epoch)

        for batch in self._ahead(prepare, wanted) if self.workers else map(prepare, wanted):
            self._position += 1
            yield _moved(batch, self.device)
        self.epoch, self._position = epoch + 1, 0

    def _count(self) -> int:
        """Number of examples in an epoch."""
        return len(self.dataset if self.sampler is None else self.sampler)  # type: ignore[arg-type]

    def _order(self) -> np.ndarray:
        n = len(self.dataset)
        if self.sampler is not None:
            return numbers_of_examples("DataLoader: a sampler's numbers", list(self.sampler), n)
        if not self.shuffle:
            return np.arange(n)
        return np.random.default_rng([self.seed, self.epoch]).permutation(n)

    def _batch(self, indices: np.ndarray, seed: int, epoch: int) -> Any:
        dataset, rows = self.dataset, indices
        while type(dataset) is Subset:
            rows, dataset = dataset.indices[rows], dataset.dataset
        # Not of subclasses, which may have an `example` of their own.
        if self.collate is None and type(dataset) is ArrayDataset and dataset.transform is None:
            return tuple(Tensor(a[rows]) for a in dataset.arrays)
        examples = [
            self.dataset.draw(i, np.random.default_rng([seed, epoch, i])) for i in indices.tolist()
        ]
        return (self.collate or stacked)(examples)

    def _ahead(
        self, prepare: Callable[[np.ndarray], Any], wanted: list[np.ndarray]
    ) -> Iterator[Batch]:
        """The batches in order, prepared by threads; an error in one is raised here."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="minidl-data")
        waiting: deque[Future[Any]] = deque()
        try:
            for indices in wanted:
                waiting.append(pool.submit(prepare, indices))
                if len(waiting) > self.workers * self.prefetch:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # also when the loop is left early
            pool.shutdown(wait=True, cancel_futures=True)

    def state_dict(self) -> dict[str, int]:
        """The position: epochs gone through, batches handed out in this one, and the seed."""
        return {"epoch": self.epoch, "position": self._position, "seed": self.seed}

    def load_state_dict(self, saved: dict[str, int]) -> None:
        """Go on from a position: the next loop gives the rest of that epoch.

        Raises
        ------
        CheckpointError
            If it is none of this loader's positions.
        """
        try:
            epoch, position, seed = (int(saved[k]) for k in ("epoch", "position", "seed"))
        except (KeyError, TypeError, ValueError) as cause:
            raise CheckpointError(f"DataLoader: not a position: {cause!r}") from None
        if seed < 0:
            raise CheckpointError(f"DataLoader: not a position: its seed is {seed}")
        if epoch < 0 or not 0 <= position <= len(self):
            raise CheckpointError(
                message(
                    f"DataLoader: there is no batch {position} of epoch {epoch}",
                    f"an epoch has {len(self)} batches",
                    hint="the dataset or the batch size has changed since.",
                )
            )
        if 0 < position == len(self):  # the epoch's end, before it was noticed
            epoch, position = epoch + 1, 0
        self.epoch, self._position, self.seed, self._loaded = epoch, position, seed, True


def _moved(batch: Any, device: str) -> Any:
    """The batch with its Tensors on a device, whatever ``collate`` has made of it."""
    if isinstance(batch, Tensor):
        return batch.to(device) if batch.device != device else batch
    if isinstance(batch, dict):
        return {key: _moved(part, device) for key, part in batch.items()}
    return _like(batch, [_moved(p, device) for p in batch]) if _in_a_row(batch) else batch


def _in_a_row(value: Any) -> bool:
    """Whether a value is a tuple (a named one, too) or a list, whose parts are batched apart."""
    return type(value) in (tuple, list) or (isinstance(value, tuple) and hasattr(value, "_fields"))


def _like(value: Any, parts: list[Any]) -> Any:
    """Build a tuple or list of the same kind from other parts."""
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def _renamed(others: Mapping[str, Any]) -> dict[str, Any]:
    """Translate parameters of PyTorch's names."""
    known = {*TORCHS_NAMES, *WITHOUT_EFFECT}
    unknown = [name for name in others if name not in known]
    if unknown:
        raise ArgumentError(
            message(
                f"DataLoader: there is no parameter {unknown[0]!r}",
                hint=f"of PyTorch's, {', '.join(sorted(known))} are taken, too.",
            )
        )
    return {TORCHS_NAMES[name]: value for name, value in others.items() if name in TORCHS_NAMES}


def stacked(examples: list[Example]) -> Batch:
    """Stack the arrays and numbers of examples along a new first axis, part by part.

    Tuples, lists and dicts are gone through; strings stay a list. Python floats become
    float32, as in ``minidl.tensor``.

    Raises
    ------
    ShapeError
        If the examples do not have the same shapes, or the same parts.
    DtypeError
        If a part is neither array nor number; the message names it.
    """
    return _stacked("", examples)


def _stacked(place: str, parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Mapping) or _in_a_row(first):
        keys: list[Any] = [list(p) if isinstance(p, Mapping) else range(len(p)) for p in parts]
        if any(set(k) != set(keys[0]) for k in keys):
            unlike = next(k for k in keys if set(k) != set(keys[0]))
            raise ShapeError(
                message(
                    "DataLoader: the examples of a batch have different numbers of parts"
                    if _in_a_row(first) else "DataLoader: the examples of a batch have other keys",
                    f"received {list(keys[0])} and {list(unlike)}{_within(place)}",
                )
            )
        found = {k: _stacked(f"{place}[{k!r}]", [p[k] for p in parts]) for k in keys[0]}
        return _like(first, [*found.values()]) if _in_a_row(first) else found
    if isinstance(first, str | bytes):
        return parts
    arrays = [_array(place, p) for p in parts]
    if len({a.shape for a in arrays}) > 1:
        raise ShapeError(
            message(
                f"DataLoader: {_named(place)} has different shapes in one batch",
                f"received {sorted({a.shape for a in arrays})}",
                hint="crop or resize them alike in the dataset's transform, or pass collate.",
            )
        )
    return as_tensor(np.stack(arrays))


def _array(place: str, part: Any) -> np.ndarray:
    """One part of one example, as an array that can be stacked."""
    if isinstance(part, Tensor):
        return to_device(part.data, "cpu")
    array = np.asarray(part, default_dtype if type(part) is float else None)
    if array.dtype.kind not in "biufc":
        raise DtypeError(
            message(
                f"DataLoader: {_named(place)} is neither an array nor a number",
                f"received {part if part is None else type(part).__name__}",
                hint="leave it out of the example, or pass collate, which makes a batch of a "
                "list of examples.",
            )
        )
    return array


def _named(place: str) -> str:
    """A part of the examples in words, from its keys, such as "[0]"."""
    only = place[1:-1]
    if not place:
        return "an example"
    return f"part {only} of the examples" if only.isdecimal() else f"the examples' part {place}"


def _within(place: str) -> str:
    return f", in {_named(place)}" if place else ""
