"""Schedules made of phases: one cycle up and down, and schedules one after the other."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from minidl.errors import ArgumentError, CheckpointError, message
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedule import Schedule


class ConstantLR(Schedule):
    """A learning rate multiplied by ``factor`` for ``total_iters`` steps, then the first one."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5):
        self.share, self.total_iters = factor, total_iters
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.share if t < self.total_iters else 1.0


class OneCycleLR(Schedule):
    """A learning rate that rises to ``max_lr``, then falls far below where it began.

    Momentum, where the optimiser has it, moves the other way.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float, or sequence of one for each group
    total_steps : int, optional
        Steps of the whole cycle; or else
    epochs, steps_per_epoch : int, optional
        their number is the product of these.
    pct_start : float
        Share of the steps in which the rate rises.
    anneal_strategy : {"cos", "linear"}
        Along half a cosine wave, or evenly.
    cycle_momentum : bool
        Whether to move momentum, of Adam the first beta.
    base_momentum, max_momentum : float
        Its least and its largest value.
    div_factor : float
        The first rate is ``max_lr / div_factor``,
    final_div_factor : float
        the last one that, divided by ``final_div_factor``.
    three_phase : bool
        Fall to the first rate as fast as it rose, and below it in what is left.

    Raises
    ------
    ArgumentError
        If the number of steps is not told, a setting makes no sense, or more steps are taken.

    Notes
    -----
    Source: Smith & Topin 2019, "Super-convergence: very fast training of neural networks using
    large learning rates", section 3.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ):
        steps = total_steps if total_steps is not None else (epochs or 0) * (steps_per_epoch or 0)
        groups = optimizer.param_groups
        highest = [max_lr] * len(groups) if isinstance(max_lr, int | float) else list(max_lr)
        wrong = {
            "give total_steps, or epochs and steps_per_epoch": steps < 1,
            "pct_start is a share, from 0 to 1": not 0 <= pct_start <= 1,
            "anneal_strategy is 'cos' or 'linear'": anneal_strategy not in ("cos", "linear"),
            "max_lr is a number, or one for each group": len(highest) != len(groups),
            "cycle_momentum=True needs an optimiser with momentum or betas":
                cycle_momentum and not {"momentum", "betas"} & groups[0].keys(),
        }
        for words, is_so in wrong.items():
            if is_so:
                raise ArgumentError(f"OneCycleLR: {words}")
        self.total_steps, self.linear = steps, anneal_strategy == "linear"
        self.momenta = (base_momentum, max_momentum) if cycle_momentum else None
        first, last = 1 / div_factor, 1 / div_factor / final_div_factor
        ends = [0.0, pct_start * steps - 1, *([2 * pct_start * steps - 2] if three_phase else []),
                steps - 1.0]
        factors = [first, 1.0, *([first] if three_phase else []), last]
        self.corners = list(zip(ends, factors, strict=True))
        for group, rate in zip(groups, highest, strict=True):
            group["lr"] = rate
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self._between(t, [factor for _, factor in self.corners])

    def _between(self, t: int, values: list[float]) -> float:
        """What lies at step t on the way through these values at the corners."""
        if t > self.total_steps:
            raise ArgumentError(
                message(f"OneCycleLR: step {t} of a cycle of {self.total_steps}",
                        hint="total_steps counts every call of step: batches, or epochs.")
            )
        ends = [end for end, _ in self.corners]
        k = next((k for k in range(1, len(ends)) if t <= ends[k]), len(ends) - 1)
        share = (t - ends[k - 1]) / (ends[k] - ends[k - 1]) if ends[k] != ends[k - 1] else 1.0
        begin, end = values[k - 1], values[k]
        if self.linear:
            return begin + (end - begin) * share
        return end + (begin - end) / 2 * (1 + math.cos(math.pi * share))

    def _set(self) -> None:
        super()._set()
        if self.momenta is None:
            return
        low, high = self.momenta
        # Low where the rate is high; in the third phase nothing moves.
        values = [high, low] + [high] * (len(self.corners) - 2)
        momentum = self._between(self.last_epoch, values)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum


class SequentialLR(Schedule):
    """Schedules one after the other, each counting from its own beginning.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : sequence of Schedule
        All start from the first one's learning rates.
    milestones : sequence of int
        The steps at which the second begins, the third, and so on.

    Raises
    ------
    ArgumentError
        If there is not one milestone less than schedules, or one of these is no Schedule.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Schedule], milestones: Sequence[int]
    ):
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        if not self.schedulers or len(self.milestones) != len(self.schedulers) - 1:
            raise ArgumentError(
                message(
                    "SequentialLR: every schedule but the first needs a milestone",
                    f"received {len(self.schedulers)} schedules and milestones {self.milestones}",
                )
            )
        for schedule in self.schedulers:
            if not isinstance(schedule, Schedule):
                raise ArgumentError(
                    f"SequentialLR: {type(schedule).__name__} is no function of the step alone"
                )
        # Those made later have found rates that the first had already changed.
        plain = [s for s in self.schedulers if not isinstance(s, OneCycleLR)]
        for schedule in plain:
            schedule.base_lrs = list(plain[0].base_lrs)
        super().__init__(optimizer)

    def _set(self) -> None:
        k = bisect_right(self.milestones, self.last_epoch)
        schedule = self.schedulers[k]
        schedule.last_epoch = self.last_epoch - (self.milestones[k - 1] if k else 0)
        schedule._set()

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps, and the states of the schedules."""
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a saved number of steps.

        Raises
        ------
        CheckpointError
            If it is the state of another number of schedules.
        """
        states = saved.get("schedulers", ())
        if len(states) != len(self.schedulers):
            raise CheckpointError("SequentialLR: saved for another number of schedules")
        for schedule, state in zip(self.schedulers, states, strict=True):
            schedule.load_state_dict(state)
        super().load_state_dict(saved)
