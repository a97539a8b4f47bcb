"""Schedules: the learning rate as a function of the number of steps taken.

Each schedule is one closed formula, so that it can start anywhere; only
ReduceLROnPlateau depends on what happened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from minidl.errors import ArgumentError, CheckpointError
from minidl.optim.optimizer import Optimizer


class Schedule:
    """A rule that sets each group's ``lr`` to its first one times ``factor(t)`` at step t.

    Attributes
    ----------
    last_epoch : int
        t, how often ``step`` was called (PyTorch's name; the unit is the caller's).
    base_lrs : list of float
        The learning rates that the groups started with.
    """

    def __init__(self, optimizer: Optimizer):
        self.optimizer = optimizer
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.last_epoch = 0
        self._set()

    def rate(self, base: float, t: int) -> float:
        """The learning rate after t steps."""
        return base * self.factor(t)

    def factor(self, t: int) -> float:
        """The factor of the first learning rate after t steps."""
        raise NotImplementedError

    def step(self) -> None:
        """Count a step, and set the learning rates."""
        self.last_epoch += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _set(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.rate(base, self.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps and the first learning rates."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a saved number of steps and its learning rates.

        Raises
        ------
        CheckpointError
            If it is the state of another number of groups.
        """
        if len(saved["base_lrs"]) != len(self.base_lrs):
            raise CheckpointError(f"{type(self).__name__}: saved for another number of groups")
        self.last_epoch, self.base_lrs = int(saved["last_epoch"]), list(saved["base_lrs"])
        self._set()


class LambdaLR(Schedule):
    """A learning rate multiplied by any function of t."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float]):
        self._function = lr_lambda
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self._function(t)


class StepLR(Schedule):
    """A learning rate multiplied by gamma every ``step_size`` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1):
        if step_size < 1:
            raise ArgumentError(f"StepLR: step_size must be at least 1, received {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """A learning rate multiplied by gamma at each milestone."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.gamma ** sum(m <= t for m in self.milestones)


class ExponentialLR(Schedule):
    """A learning rate multiplied by gamma at every step."""

    def __init__(self, optimizer: Optimizer, gamma: float):
        self.gamma = gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.gamma**t


class LinearLR(Schedule):
    """A factor that moves evenly from one to another in ``total_iters`` steps: a warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ):
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        done = min(t, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done


class PolynomialLR(Schedule):
    """A factor of (1 - t / total_iters) ** power, then of 0."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0):
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return (1 - min(t, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(Schedule):
    """Half a cosine wave from the first learning rate to ``eta_min`` in ``T_max`` steps.

    Source: Loshchilov & Hutter 2017, "SGDR", equation 5, without restarts.

    Raises
    ------
    ArgumentError
        If ``T_max`` is not positive.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):
        if not T_max > 0:
            raise ArgumentError(f"CosineAnnealingLR: T_max must be positive, received {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class ReduceLROnPlateau:
    """A learning rate reduced when a metric has not improved for over ``patience`` steps.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether smaller or larger metrics are better.
    factor : float
        Multiplier of the learning rate, below 1.
    patience : int
        Steps without improvement that are borne.
    threshold : float
        The smallest improvement, relative (``threshold_mode="rel"``) or absolute ("abs").
    cooldown : int
        Steps after a reduction in which nothing is counted.
    min_lr : float
    eps : float
        Smaller changes of the rate are not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ):
        if factor >= 1 or mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ArgumentError(
                "ReduceLROnPlateau: factor must be below 1, mode 'min' or 'max', threshold_mode "
                f"'rel' or 'abs'; received {factor}, {mode!r}, {threshold_mode!r}"
            )
        self.optimizer, self.mode, self.reduction, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.min_lr, self.eps = min_lr, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: float) -> None:
        """Count the newest metric, and reduce the learning rates when it is time."""
        value = float(metrics)
        self.last_epoch += 1
        if self._is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group in self.optimizer.param_groups:
                lr = max(group["lr"] * self.reduction, self.min_lr)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _is_better(self, value: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs" or not math.isfinite(self.best):
            return sign * value > sign * self.best + self.threshold
        return sign * value > sign * self.best * (1 + sign * self.threshold)

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the best metric, as a string, since JSON has no infinity, and the counters."""
        names = ("num_bad_epochs", "cooldown_counter", "last_epoch")
        return {"best": str(self.best), **{name: getattr(self, name) for name in names}}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a saved best metric and its counters."""
        self.best = float(saved["best"])
        self.num_bad_epochs = int(saved["num_bad_epochs"])
        self.cooldown_counter = int(saved["cooldown_counter"])
        self.last_epoch = int(saved["last_epoch"])
