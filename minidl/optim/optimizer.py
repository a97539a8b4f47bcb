"""What every optimiser does: groups of parameters, their settings, their state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minidl.autograd import enable_grad
from minidl.compute.arrays import Array, is_array, to_device, xp_of
from minidl.compute.changes import changed
from minidl.errors import ArgumentError, CheckpointError, message
from minidl.nn.parameter import Parameter, forget
from minidl.tensor import Tensor

Closure = Callable[[], Any]
"""A function that computes the loss again, walks back, and returns the loss."""


class Optimizer:
    """A method that changes parameters in place by their gradients.

    A subclass gives its settings to ``__init__`` and writes ``update``, which
    changes one parameter. Its memory of a parameter is a dict of arrays and
    numbers.

    Parameters
    ----------
    params : iterable of Tensors, or of dicts
        A dict {"params": [...], "lr": ...} is a group with settings of its own.
    defaults : dict
        The settings of groups that do not say otherwise.

    Attributes
    ----------
    param_groups : list of dict
        Settings and ``"params"`` of each group; schedules change ``"lr"`` here.

    Raises
    ------
    ArgumentError
        If there are no parameters, or one is not a leaf that requires a gradient.
    """

    decoupled = False
    """Whether the decay of weights passes the gradient by."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[int, dict[str, Any]] = {}
        self.defaults = defaults
        given: list[Any] = [params] if isinstance(params, Tensor) else list(params)
        if not given:
            raise ArgumentError(
                message(
                    f"{type(self).__name__}: there are no parameters to optimise",
                    hint="pass model.parameters(), and pass a fresh iterator each time.",
                )
            )
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with settings of their own."""
        who = type(self).__name__
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            frozen = isinstance(p, Parameter) and not p.requires_grad  # stays as it is
            if not (isinstance(p, Tensor) and p.is_leaf and (p.requires_grad or frozen)):
                raise ArgumentError(
                    message(
                        f"{who}: a parameter must be a leaf Tensor that requires a gradient",
                        f"received {type(p).__name__}"
                        + (f" of shape {p.shape}" if isinstance(p, Tensor) else ""),
                    )
                )
            if id(p) in known:
                raise ArgumentError(f"{who}: a parameter of shape {p.shape} appears twice")
            known.add(id(p))
        unknown = group.keys() - self.defaults.keys() - {"params"}
        if unknown:
            raise ArgumentError(
                message(
                    f"{who}: a group has the unknown settings {sorted(unknown)}",
                    hint=f"it may have {sorted(self.defaults)}.",
                )
            )
        complete = {**self.defaults, **group, "params": params}
        self.check(complete)
        self.param_groups.append(complete)

    def check(self, group: dict[str, Any]) -> None:
        """Raise ArgumentError if a setting of a group makes no sense."""
        for name in ("lr", "weight_decay", "eps", "momentum", "lr_decay"):
            if name in group and not 0 <= group[name] < float("inf"):
                raise ArgumentError(
                    f"{type(self).__name__}: {name} must be 0 or a positive number, "
                    f"received {group[name]}"
                )

    def step(self, closure: Closure | None = None) -> Any:
        """Change every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss again and walks back; its result is returned.
        """
        loss, who = None, f"{type(self).__name__}.step"
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    grad = p.grad.data
                    if group.get("maximize"):
                        grad = -grad
                    self.update(p.data, grad, self.state.setdefault(id(p), {}), group)
                    changed(p.data, who)
        return loss

    def update(
        self, p: Array, grad: Array, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """Change the array p in place; ``state`` is the memory of earlier steps."""
        raise NotImplementedError

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; with ``set_to_none=False`` fill them with 0."""
        forget(self._parameters(), set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Copy settings and memory, with parameters numbered in order, in PyTorch's layout.

        ``kind``, the optimiser's name, stands beside what PyTorch has.
        """
        numbers = {id(p): i for i, p in enumerate(self._parameters())}
        groups = [
            {**group, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state = {str(numbers[key]): _copied(memory, "cpu") for key, memory in self.state.items()}
        return {"kind": type(self).__name__, "state": state, "param_groups": groups}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take over what ``state_dict`` of such an optimiser returned.

        Raises
        ------
        CheckpointError
            If the groups or shapes differ, or it is the state of an optimiser of another
            kind; then nothing has been changed.
        """
        who = type(self).__name__
        try:
            sizes = [len(group["params"]) for group in saved["param_groups"]]
            memory = {int(number): dict(arrays) for number, arrays in saved["state"].items()}
            self._check_kind(saved)
        except (KeyError, TypeError, ValueError, AttributeError) as cause:
            raise CheckpointError(f"{who}: not the state of an optimiser: {cause!r}") from None
        here = [len(group["params"]) for group in self.param_groups]
        if sizes != here:
            raise CheckpointError(
                message(
                    f"{who}: the saved groups have other sizes",
                    f"parameters per group: {sizes} saved, {here} here",
                )
            )
        params = self._parameters()
        for number, arrays in memory.items():
            if not 0 <= number < len(params):
                raise CheckpointError(f"{who}: there is no parameter {number}")
            self._check_memory(number, params[number], arrays)
        self.state = {
            id(params[number]): _memory_of(params[number], arrays)
            for number, arrays in memory.items()
        }
        for group, settings in zip(self.param_groups, saved["param_groups"], strict=True):
            group.update(
                {k: tuple(v) if isinstance(group.get(k), tuple) else v
                 for k, v in settings.items() if k != "params"}
            )

    def _check_kind(self, saved: dict[str, Any]) -> None:
        """Refuse the state of an optimiser of another kind, told by its name or its settings."""
        who, groups = type(self).__name__, saved["param_groups"]
        kind = saved.get("kind", who)
        missing = self.defaults.keys() - {"maximize"} - {name for g in groups for name in g}
        # PyTorch's AdamW has the settings of its Adam, and this one.
        decoupled = {g.get("decoupled_weight_decay", self.decoupled) for g in groups}
        if kind != who or missing or decoupled != {self.decoupled}:
            raise CheckpointError(
                message(
                    f"{who}: this is the state of another optimiser",
                    f"it is that of {kind}" if kind != who else
                    f"it has no {', '.join(sorted(missing))}" if missing else
                    f"its decay of weights is {'not ' * self.decoupled}decoupled",
                    hint="build the optimiser that the state was saved from.",
                )
            )

    def _check_memory(self, number: int, p: Tensor, arrays: dict[str, Any]) -> None:
        """Refuse arrays that do not have the shape of their parameter."""
        for name, value in arrays.items():
            if is_array(value) and value.ndim and value.shape != p.shape:
                raise CheckpointError(
                    message(
                        f"{type(self).__name__}: {name} of parameter {number} does not fit",
                        f"it has shape {value.shape}, the parameter {p.shape}",
                    )
                )

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]


def _copied(value: Any, device: str) -> Any:
    """Copy nested dicts and lists of arrays and numbers."""
    if isinstance(value, dict):
        return {k: _copied(v, device) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(v, device) for v in value]
    if is_array(value):
        return to_device(value, device).copy()
    return value.item() if isinstance(value, np.generic) else value


def _memory_of(p: Tensor, arrays: dict[str, Any]) -> dict[str, Any]:
    """Copy a parameter's memory to its device and dtype, with counters as Python's numbers.

    PyTorch counts steps in a float32 array, in which no float64 should be computed.
    """
    memory = _copied(arrays, p.device)
    for name, value in memory.items():
        if name == "step" and is_array(value):
            memory[name] = value.item()
        elif is_array(value) and value.shape == p.shape and value.dtype.kind == "f":
            memory[name] = xp_of(p.data).empty_like(p.data)  # in the parameter's own layout
            memory[name][...] = value
        elif is_array(value) and value.dtype.kind == "f":
            memory[name] = value.astype(p.dtype, copy=False)
    return memory


def remembered(state: dict[str, Any], name: str, p: Array, start: float = 0.0) -> Array:
    """Return the array of this name in ``state``, which at first use is filled with ``start``."""
    if name not in state:
        state[name] = xp_of(p).full_like(p, start)
    return state[name]
