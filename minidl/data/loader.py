"""DataLoader: examples in batches, shuffled by a seed of its own, from a known position.

The order of an epoch depends on the seed and the epoch's number alone, and what
a transform draws on these and the example's number. So the batches are the same
however many threads prepare them, and after a resume.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from numbers import Integral
from typing import Any

import numpy as np

from minidl.data.dataset import ArrayDataset, Dataset, Example, Subset
from minidl.errors import ArgumentError, CheckpointError, ShapeError, message
from minidl.tensor import Tensor, as_tensor, default_dtype

Batch = tuple[Any, ...]


class DataLoader:
    """An iterable over an epoch's batches, tuples of Tensors (N, ...).

    Parameters
    ----------
    dataset : Dataset
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

    Attributes
    ----------
    epoch : int
        Number of epochs gone through.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        workers: int = 0,
        prefetch: int = 2,
        seed: int = 0,
        collate: Callable[[list[Example]], Any] | None = None,
        device: str = "cpu",
    ):
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("workers", workers, 0),
            ("prefetch", prefetch, 1),
            ("seed", seed, 0),
        ):
            if not isinstance(value, Integral) or value < least:
                raise ArgumentError(
                    f"DataLoader: {name} must be an integer, at least {least}, not {value!r}"
                )
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.drop_last = shuffle, drop_last
        self.workers, self.prefetch, self.collate = workers, prefetch, collate
        self.device = device
        self.seed = int(seed)  # which JSON can hold, as it cannot NumPy's integers
        self.epoch = 0
        self._position = 0  # batches of this epoch that have been handed out
        self._loaded = False  # whether the next loop goes on from there

    def __len__(self) -> int:
        n = len(self.dataset)
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

    def _order(self) -> np.ndarray:
        n = len(self.dataset)
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
    if type(batch) in (tuple, list):
        return type(batch)(_moved(part, device) for part in batch)
    return batch


def stacked(examples: list[Example]) -> Batch:
    """Each part of the examples stacked along a new first axis.

    Python floats become float32, as in ``minidl.tensor``.

    Raises
    ------
    ShapeError
        If the examples do not have the same shapes.
    """
    if len({len(example) for example in examples}) > 1:
        raise ShapeError("DataLoader: the examples of a batch have different numbers of parts")
    return tuple(_stack(k, parts) for k, parts in enumerate(zip(*examples, strict=True)))


def _stack(k: int, parts: tuple[Any, ...]) -> Tensor:
    arrays = [np.asarray(p, default_dtype if type(p) is float else None) for p in parts]
    if len({a.shape for a in arrays}) > 1:
        raise ShapeError(
            message(
                f"DataLoader: part {k} of the examples has different shapes in one batch",
                f"received {sorted({a.shape for a in arrays})}",
                hint="crop or resize them alike in the dataset's transform, or pass collate.",
            )
        )
    return as_tensor(np.stack(arrays))
