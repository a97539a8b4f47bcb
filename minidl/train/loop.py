"""The training loop: steps, epochs, and checkpoints from which it goes on bit for bit."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

from minidl.autograd import no_grad
from minidl.compute.arrays import xp_of
from minidl.errors import ArgumentError, DataError, MinidlError, message
from minidl.files.whole import Pathlike
from minidl.tensor import Tensor
from minidl.train.folder import RunFolder
from minidl.train.history import TIME_COLUMN, History
from minidl.train.interrupt import Interrupt, held_interrupt
from minidl.train.progress import Progress

Row = dict[str, Any]
"""One measurement: ``event``, ``epoch``, ``step``, ``loss`` and the metrics."""


class DivergenceError(MinidlError, FloatingPointError):
    """A loss or weights that have become infinite or NaN."""


def fit(
    model: Any,
    loader: Iterable[Any],
    optimizer: Any,
    loss: Callable[[Any, Any], Tensor],
    *,
    epochs: int,
    out: Pathlike | None = None,
    validate: Callable[[Any], Mapping[str, float]] | None = None,
    every: int | None = None,
    checkpoint_every: int | None = None,
    schedule: Any = None,
    clip: Callable[[list[Tensor]], Any] | None = None,
    resume: bool = False,
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
    callbacks: Iterable[Callable[[Row], Any]] = (),
) -> History:
    """Train a model, and leave behind what is needed to go on after any kind of stop.

    A step is: zero the gradients, compute the loss, walk back, ``clip``, step the
    optimiser, step the schedule. A run that is killed and resumed ends with the same
    weights and the same ``metrics.jsonl``, bit for bit but for its ``seconds``, as one
    that is not; that takes a ``loss`` and a ``validate`` which draw random numbers from
    ``minidl.random`` only. Ctrl-C finishes the step and saves a checkpoint before it
    raises KeyboardInterrupt; a second one stops at once.

    Parameters
    ----------
    model : minidl.nn.Module
        The model; it is left in training mode.
    loader : minidl.data.DataLoader, or another iterable
        An epoch's batches each time it is iterated over. Without a ``state_dict``, it
        has to give the same ones every time.
    optimizer : minidl.optim.Optimizer
    loss : callable
        ``loss(model, batch)``, a Tensor of one element.
    epochs : int
        The number of epochs in the end, those before a resume included.
    out : str or path, optional
        Folder for ``last.safetensors`` (the checkpoint), ``last.json`` and
        ``metrics.jsonl``. What an earlier run left there is renamed to ``previous``.
    validate : callable, optional
        ``validate(model)``, a dict of numbers; called after each epoch, in evaluation
        mode and without recording a graph.
    every : int, optional
        Also write the loss of every so many steps to ``metrics.jsonl``.
    checkpoint_every : int, optional
        Steps between checkpoints. Default: one after each epoch. There is always one
        at the end; one that falls due with an epoch's last step is saved when the
        epoch has been validated.
    schedule : optional
        An object with ``step()``, called after every step.
    clip : callable, optional
        ``clip(parameters)``, which changes gradients in place.
    resume : bool
        Go on from the checkpoint in ``out``, if there is one. The optimiser's settings are
        then the checkpoint's, its learning rate too; a warning names those that were given
        otherwise.
    config : dict, optional
        Settings to keep with the checkpoint.
    progress : bool
        Whether to say on standard error how far it is: by a bar on a terminal, elsewhere by a
        line at the end and, until then, about every ten seconds.
    callbacks : iterable of callables
        Each is called with every row: those of epochs, and with ``every`` of steps.

    Returns
    -------
    History
        One row an epoch: ``epoch``, ``step``, ``loss`` (the mean over its steps), what
        ``validate`` returned, and ``seconds``, those of its batches, steps and validation.

    Raises
    ------
    DivergenceError
        If the loss or a weight is no longer finite. The last checkpoint stays.
    ArgumentError
        If a setting makes no sense, a file cannot hold the config, or another run is at work
        in ``out``.
    DataError
        If the loader has no batches.
    CheckpointError
        If the checkpoint to resume from cannot be used, the disk does not take one, or ``out``
        is deleted during the run.
    """
    for name, count in (("epochs", epochs), ("every", every),
                        ("checkpoint_every", checkpoint_every)):
        if count is not None and not (count >= 1 and count % 1 == 0):
            raise ArgumentError(f"fit: {name} must be at least 1, and whole, received {count}")
    if out is None and (resume or checkpoint_every is not None):
        raise ArgumentError(
            message("fit: checkpoints need a folder", hint='give one, out="runs/first".')
        )
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    parts["loader"] = loader if hasattr(loader, "state_dict") else None
    callbacks = tuple(callbacks)  # before the folder is locked: it may not be iterable
    folder = RunFolder(out, config or {}, **parts) if out is not None else None
    run = _Run(
        model, loader, optimizer, loss, validate, schedule, clip, callbacks, every,
        checkpoint_every, folder, Progress(epochs, progress),
    )
    with (
        closing(folder) if folder else nullcontext(),
        held_interrupt() as interrupt,
        closing(run.progress),
    ):
        run.begin(resume)
        while run.at.epoch < epochs:
            run.train_epoch(interrupt)
            run.end_epoch(interrupt, last=run.at.epoch + 1 == epochs)
    return run.history


@dataclass
class _Place:
    """The place of a run in its training, kept in its checkpoints."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps taken."""
    steps_in_epoch: int = 0
    """Steps taken in this epoch."""
    loss_sum: float = 0.0
    """Sum of the losses of this epoch's steps, so that a resumed mean is the same."""
    seconds: float = 0.0
    """Time spent on this epoch."""


@dataclass
class _Run:
    model: Any
    loader: Any
    optimizer: Any
    loss: Callable[[Any, Any], Tensor]
    validate: Callable[[Any], Mapping[str, float]] | None
    schedule: Any
    clip: Callable[[list[Tensor]], Any] | None
    callbacks: tuple[Callable[[Row], Any], ...]
    every: int | None
    checkpoint_every: int | None
    folder: RunFolder | None
    progress: Progress
    at: _Place = field(default_factory=_Place)
    history: History = field(default_factory=History)

    def begin(self, resume: bool) -> None:
        if self.folder is None:
            return
        if not (resume and self.folder.checkpoint.exists()):
            self.folder.start()
            return
        last = self.folder.resume()
        within = {key: last.progress[key] for key in ("steps_in_epoch", "loss_sum", "seconds")}
        self.at = _Place(last.epoch, last.step, **within)
        self.history = last.history
        self.progress.tell(
            f"resuming from {self.folder.checkpoint}: {last.epoch} epochs, {last.step} steps done"
        )

    def train_epoch(self, interrupt: Interrupt) -> None:
        """Take the steps of an epoch that are left, and save when it is time."""
        self.model.train()
        length = len(self.loader) if hasattr(self.loader, "__len__") else None
        self.progress.begin_epoch(self.at.epoch + 1, self.at.steps_in_epoch, length)
        then = time.perf_counter()
        for batch in self._batches():  # the time it takes to get one counts
            value = self.step(batch)
            self.at.step += 1
            self.at.steps_in_epoch += 1
            self.at.loss_sum += value
            now = time.perf_counter()
            self.at.seconds += now - then
            then = now
            self.progress.step(self.at.steps_in_epoch, value)
            if self.folder is not None:
                self.folder.check()
            if self.every and self.at.step % self.every == 0:
                self._report(self._row("step", value))
            # An epoch's last step is left to end_epoch: between the two there is
            # no telling where the loader stands.
            if self.at.steps_in_epoch != length:
                if interrupt or self._due():
                    self.save()
                if interrupt:
                    raise KeyboardInterrupt
        self.progress.close()

    def step(self, batch: Any) -> float:
        """Take a step of the optimiser, and return the loss before it."""
        self.optimizer.zero_grad()
        loss = self.loss(self.model, batch)
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = f"shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ArgumentError(
                message(
                    "fit: the loss must be a Tensor of one element",
                    f"loss(model, batch) returned {got}",
                    hint="reduce it with .mean() or .sum().",
                )
            )
        # A GPU computes the loss while the walk back is being queued: it is waited for after that.
        value = self._finite(loss) if loss.device == "cpu" else None
        loss.backward()
        if value is None:
            value = self._finite(loss)
        if self.clip is not None:
            self.clip(list(self.model.parameters()))
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        return value

    def _finite(self, loss: Tensor) -> float:
        value = float(loss.item())
        if not math.isfinite(value):
            raise self._divergence(f"the loss is {value} at step {self.at.step + 1}")
        return value

    def end_epoch(self, interrupt: Interrupt, last: bool) -> None:
        """Validate, write the epoch's row, and save when it is time."""
        if self.at.steps_in_epoch == 0:
            raise DataError("fit: the loader gave no batch in a whole epoch")
        start = time.perf_counter()
        metrics = self._validated()
        self.at.seconds += time.perf_counter() - start
        due = self._due()
        self.at.epoch += 1
        row = self._row("epoch", self.at.loss_sum / self.at.steps_in_epoch, metrics)
        self.history.append({key: value for key, value in row.items() if key != "event"})
        self._report(row)
        self.progress.end_epoch(row, last)
        self.at.steps_in_epoch, self.at.loss_sum, self.at.seconds = 0, 0.0, 0.0
        if due or last or interrupt or self.checkpoint_every is None:
            self.save()
        if interrupt:
            raise KeyboardInterrupt

    def save(self) -> None:
        """Replace the checkpoint, but by no weights that are not finite."""
        if self.folder is None:
            return
        for parameter in self.model.parameters():
            if not xp_of(parameter.data).isfinite(parameter.data).all():
                what = f"a weight of shape {parameter.shape}"
                raise self._divergence(f"{what} is not finite after step {self.at.step}")
        at = self.at
        self.folder.save(
            step=at.step,
            epoch=at.epoch,
            history=self.history,
            progress={
                "steps_in_epoch": at.steps_in_epoch,
                "loss_sum": at.loss_sum,
                "seconds": at.seconds,
            },
        )

    def _batches(self) -> Iterator[Any]:
        if hasattr(self.loader, "state_dict"):
            return iter(self.loader)
        return itertools.islice(self.loader, self.at.steps_in_epoch, None)

    def _due(self) -> bool:
        return self.checkpoint_every is not None and self.at.step % self.checkpoint_every == 0

    def _validated(self) -> dict[str, float]:
        if self.validate is None:
            return {}
        self.model.eval()
        try:
            with no_grad():
                metrics = {name: float(value) for name, value in self.validate(self.model).items()}
        finally:
            self.model.train()
        taken = metrics.keys() & {"event", "epoch", "step", "loss", TIME_COLUMN}
        if taken:
            raise ArgumentError(
                message(
                    f"fit: validate returned {min(taken)!r}, which is a column of fit's own",
                    hint=f"call it {'val_' + min(taken)!r}.",
                )
            )
        return metrics

    def _row(self, event: str, loss: float, metrics: Mapping[str, float] | None = None) -> Row:
        epoch = self.at.epoch + (event == "step")  # epochs are counted from 1
        row = {"event": event, "epoch": epoch, "step": self.at.step, "loss": loss}
        return {**row, **(metrics or {}), TIME_COLUMN: round(self.at.seconds, 3)}

    def _report(self, row: Row) -> None:
        if self.folder is not None:
            self.folder.write(row)
        for callback in self.callbacks:
            callback(dict(row))

    def _divergence(self, what: str) -> DivergenceError:
        kept = self.folder.checkpoint if self.folder is not None else None
        return DivergenceError(
            message(
                f"fit: {what}",
                f"the last checkpoint is untouched: {kept}"
                if kept is not None and kept.exists()
                else "there is no checkpoint yet",
                hint="lower the learning rate, clip the gradients, or look for a log or a "
                "division of zero in the loss.",
            )
        )
