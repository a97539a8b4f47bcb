"""L-BFGS: Newton's method from the last few changes of the gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minidl.autograd import enable_grad
from minidl.compute.arrays import Array, is_array, xp_of
from minidl.compute.changes import changed
from minidl.errors import ArgumentError, CheckpointError
from minidl.optim.line_search import Point, strong_wolfe
from minidl.optim.optimizer import Closure, Optimizer

LONGEST_SEARCH = 25
"""Evaluations after the first that one line search may spend: along some lines there is no end."""


class LBFGS(Optimizer):
    """Limited-memory BFGS over all parameters together.

    Parameters
    ----------
    params : iterable of Tensors
        One group.
    lr : float
        Length of a step without line search, and of the first try with one.
    max_iter : int
        Iterations per ``step``.
    max_eval : int, optional
        Evaluations of the closure per ``step``; default: 1.25 ``max_iter``.
    tolerance_grad, tolerance_change : float
        Stop when the largest element of the gradient, or of a step, is smaller.
    history_size : int
        Changes remembered.
    line_search_fn : {None, "strong_wolfe"}

    Notes
    -----
    ``step`` needs a closure that zeroes the gradients, computes the loss, walks
    back, and returns the loss. It is evaluated at PyTorch's points, to rounding (which
    decides where to go if the loss is made of straight pieces). Source: Nocedal & Wright
    2006, "Numerical optimization", algorithms 7.4 and 7.5.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        if line_search_fn not in (None, "strong_wolfe"):
            raise ArgumentError(
                f"LBFGS: line_search_fn is None or 'strong_wolfe', received {line_search_fn!r}"
            )
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) > 1:
            raise ArgumentError("LBFGS: all parameters form one group")

    def step(self, closure: Closure | None = None) -> Any:
        """Take up to ``max_iter`` iterations, each evaluating ``closure`` as often as it needs.

        Returns
        -------
        The loss that the first evaluation returned.
        """
        if closure is None:
            raise ArgumentError("LBFGS: step needs a closure that computes the loss again")
        group = self.param_groups[0]
        memory = self.state.setdefault(id(group["params"][0]), {})
        run = _Iterations(self, group, memory, closure)
        return run.all()

    def _check_memory(self, number: int, p: Any, arrays: dict[str, Any]) -> None:
        size = sum(p.size for p in self.param_groups[0]["params"])
        flat = [v for v in arrays.values() if is_array(v) and v.ndim]
        flat += [v for name in ("steps", "changes") for v in arrays.get(name, [])]
        if any(v.shape != (size,) for v in flat):
            raise CheckpointError(f"LBFGS: saved for another number of weights than {size}")


class _Iterations:
    """The iterations of one call of ``LBFGS.step``."""

    def __init__(
        self, optimizer: LBFGS, group: dict[str, Any], memory: dict[str, Any], closure: Closure
    ):
        self.params = group["params"]
        self.group, self.memory, self.closure = group, memory, closure
        self.spent = 0

    def all(self) -> Any:
        group, memory = self.group, self.memory
        first = self._loss()
        value, gradient = float(first), self._gradient()
        if not gradient.size or abs(gradient).max() <= group["tolerance_grad"]:
            return first
        done = 0
        while done < group["max_iter"]:
            done += 1
            direction = self._direction(gradient)
            slope = float(gradient @ direction)
            t = self._first_try(gradient)
            memory["previous"] = gradient.copy()
            memory["direction"] = direction
            if slope > -group["tolerance_change"]:
                memory["length"] = t
                break
            before = value
            if group["line_search_fn"]:
                value, gradient, t = self._searched(Point(0.0, value, gradient, slope), t)
            else:
                self._move(direction, t)
                if done < group["max_iter"]:
                    value, gradient = float(self._loss()), self._gradient()
            memory["length"] = t
            if (
                self.spent >= group["max_eval"]
                or abs(gradient).max() <= group["tolerance_grad"]
                or abs(direction * t).max() <= group["tolerance_change"]
                or abs(value - before) < group["tolerance_change"]
            ):
                break
        return first

    def _first_try(self, gradient: Array) -> float:
        """The step to try first: a full Newton step, or a short one while the scale is unknown."""
        lr = self.group["lr"]
        if self.memory["iterations"] == 1:
            return min(1.0, 1.0 / float(abs(gradient).sum())) * lr
        return lr

    def _direction(self, gradient: Array) -> Array:
        """Minus the gradient times the inverse Hessian that the remembered changes suggest."""
        memory = self.memory
        memory["iterations"] = memory.get("iterations", 0) + 1
        if "previous" not in memory:
            memory.update(steps=[], changes=[], curvature=1.0)
            return -gradient
        steps, changes = memory["steps"], memory["changes"]
        change = gradient - memory["previous"]
        step = memory["direction"] * memory["length"]
        product = float(change @ step)
        if product > 1e-10:
            if len(steps) == self.group["history_size"]:
                del steps[0], changes[0]
            steps.append(step)
            changes.append(change)
            memory["curvature"] = product / float(change @ change)
        inverse = [1.0 / float(c @ s) for c, s in zip(changes, steps, strict=True)]
        direction, shares = -gradient, []
        for s, c, rho in zip(reversed(steps), reversed(changes), reversed(inverse), strict=True):
            shares.append(float(s @ direction) * rho)
            direction = direction - shares[-1] * c
        direction = direction * memory["curvature"]
        for s, c, rho, share in zip(steps, changes, inverse, reversed(shares), strict=True):
            direction = direction + s * (share - float(c @ direction) * rho)
        return direction

    def _searched(self, start: Point, t: float) -> tuple[float, Array, float]:
        direction = self.memory["direction"]
        origin = [p.data.copy() for p in self.params]

        def evaluate(t: float) -> Point:
            self._restore(origin)
            self._move(direction, t)
            value, gradient = float(self._loss()), self._gradient()
            return Point(t, value, gradient, float(gradient @ direction))

        scale = float(abs(direction).max())
        tolerance = self.group["tolerance_change"]
        limit = min(self.group["max_eval"] - self.spent, LONGEST_SEARCH)
        point, _ = strong_wolfe(evaluate, start, t, scale, tolerance=tolerance, limit=limit)
        self._restore(origin)
        self._move(direction, point.t)
        return point.value, point.gradient, point.t

    def _loss(self) -> Any:
        self.spent += 1
        with enable_grad():
            return self.closure()

    def _gradient(self) -> Array:
        xp = xp_of(self.params[0].data)
        return xp.concatenate(
            [
                (xp.zeros_like(p.data) if p.grad is None else p.grad.data).reshape(-1)
                for p in self.params
            ]
        )

    def _move(self, direction: Array, t: float) -> None:
        start = 0
        for p in self.params:
            p.data += t * direction[start : start + p.size].reshape(p.shape)
            start += p.size
            changed(p.data, "LBFGS.step")

    def _restore(self, origin: list[Array]) -> None:
        for p, values in zip(self.params, origin, strict=True):
            p.data[...] = values
            changed(p.data, "LBFGS.step")
