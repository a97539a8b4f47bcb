"""Module: a function with parameters, built from other such functions.

Assigning a Parameter or a Module to an attribute registers it, so a model is
written as plain Python and still knows all its parts by name::

    class Autoencoder(Module):
        def __init__(self):
            super().__init__()
            self.encoder = Linear(64, 2)
            self.decoder = Linear(2, 64)

        def forward(self, x):
            return self.decoder(self.encoder(x))

Names are joined by dots, ``encoder.weight``, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from minidl.errors import MinidlError, message
from minidl.nn.conversion import convert_, read_target
from minidl.nn.parameter import Parameter, forget, writable
from minidl.nn.state import LoadReport, load, snapshot
from minidl.tensor import Tensor, as_tensor

_STORES = ("_parameters", "_buffers", "_modules")
"""The attributes in which a Module keeps what is registered."""


class ModuleError(MinidlError, AttributeError):
    """An attribute that a Module lacks, or cannot take."""


class ForwardHook:
    """A hook, registered among others; ``remove()`` takes it away."""

    def __init__(self, hooks: dict[int, Any], hook: Callable[..., Any]):
        self._hooks, self._key = hooks, max(hooks, default=-1) + 1
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self._key, None)


class Module:
    """The base of every layer and every model: write ``__init__`` and ``forward``.

    Attributes
    ----------
    training : bool
        Whether the module is being trained; dropout and batch norm look at it.
    """

    training: bool

    def __init__(self) -> None:
        self.training = True
        self._parameters: dict[str, Parameter | None] = {}
        self._buffers: dict[str, Tensor | None] = {}
        self._modules: dict[str, Module | None] = {}
        self._not_saved: set[str] = set()
        self._forward_pre_hooks: dict[int, Callable[..., Any]] = {}
        self._forward_hooks: dict[int, Callable[..., Any]] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every module writes its own."""
        raise NotImplementedError(
            message(
                f"{type(self).__name__}: forward is not written",
                hint="define forward(self, x).",
            )
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for before in tuple(self._forward_pre_hooks.values()):
            given = before(self, args)
            if given is not None:
                args = given if isinstance(given, tuple) else (given,)
        output = self.forward(*args, **kwargs)
        for hook in tuple(self._forward_hooks.values()):
            replacement = hook(self, args, output)
            output = output if replacement is None else replacement
        return output

    def register_forward_pre_hook(self, hook: Callable[[Any, Any], Any]) -> ForwardHook:
        """Call ``hook(module, inputs)`` before every ``forward``.

        ``inputs`` is the tuple of positional arguments. What the hook returns, unless
        None, replaces them.
        """
        return ForwardHook(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[[Any, Any, Any], Any]) -> ForwardHook:
        """Call ``hook(module, inputs, output)`` after every ``forward``.

        ``inputs`` is the tuple of positional arguments. What the hook returns,
        unless None, replaces the output.
        """
        return ForwardHook(self._forward_hooks, hook)

    # --- registering ---

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Register a parameter by name; None for one that this module does without.

        Raises
        ------
        ModuleError
            If the name cannot be used, or the value is no Parameter.
        """
        if not isinstance(parameter, Parameter | None):
            raise self._misfit(name, "parameter", "a Parameter", parameter)
        self._register("_parameters", name, parameter)

    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """Register an array that is not trained but belongs to the module.

        Parameters
        ----------
        name : str
        value : Tensor, array or None
            It becomes a Tensor outside the graph.
        persistent : bool
            Whether it is part of ``state_dict``.

        Raises
        ------
        ModuleError
            If the name cannot be used.
        """
        self._register("_buffers", name, None if value is None else _buffer(value))
        (self._not_saved.discard if persistent else self._not_saved.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a child by name.

        Raises
        ------
        ModuleError
            If the name cannot be used, or the value is no Module.
        """
        if not isinstance(module, Module | None):
            raise self._misfit(name, "module", "a Module", module)
        self._register("_modules", name, module)

    def _register(self, kind: str, name: str, value: Any) -> None:
        who = type(self).__name__
        if kind not in self.__dict__:
            raise self._unprepared()
        if not isinstance(name, str) or not name or "." in name:
            raise ModuleError(
                message(
                    f"{who}: nothing can be registered as {name!r}",
                    hint="a name is a string, not empty and without dots.",
                )
            )
        if hasattr(type(self), name):
            raise ModuleError(
                message(
                    f"{who}: nothing can be registered as {name!r}",
                    f"the class has an attribute of this name, which would hide it: "
                    f"{getattr(type(self), name)!r}",
                    hint="choose another name.",
                )
            )
        for other in _STORES:
            if other != kind:
                self.__dict__[other].pop(name, None)
        self.__dict__.pop(name, None)
        self.__dict__[kind][name] = value

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._register("_parameters", name, value)
        elif isinstance(value, Module):
            self._register("_modules", name, value)
        elif (kind := self._kind_of(name)) is None:
            object.__setattr__(self, name, value)
        elif value is None:
            self.__dict__[kind][name] = None
        elif kind == "_buffers":
            self.__dict__[kind][name] = _buffer(value)
        elif kind == "_parameters":
            raise self._misfit(name, "parameter", "a Parameter", value)
        else:
            raise self._misfit(name, "module", "a Module", value)

    def __getattr__(self, name: str) -> Any:
        # Python calls this only for what is not an ordinary attribute.
        kind = self._kind_of(name)
        if kind is not None:
            return self.__dict__[kind][name]
        if "_parameters" not in self.__dict__:
            raise self._unprepared()
        if hasattr(type(self), name):  # a property that failed: let it say why
            return object.__getattribute__(self, name)
        raise ModuleError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        kind = self._kind_of(name)
        if kind is None:
            object.__delattr__(self, name)
        else:
            del self.__dict__[kind][name]
            self._not_saved.discard(name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(n for s in _STORES for n in self.__dict__.get(s, ()))})

    def _kind_of(self, name: str) -> str | None:
        for kind in _STORES:
            if name in self.__dict__.get(kind, ()):
                return kind
        return None

    def _unprepared(self) -> ModuleError:
        who = type(self).__name__
        return ModuleError(
            message(
                f"{who}: Module.__init__ has not been called",
                hint=f"make super().__init__() the first line of {who}.__init__.",
            )
        )

    def _misfit(self, name: str, kind: str, wanted: str, value: Any) -> ModuleError:
        return ModuleError(
            message(
                f"{type(self).__name__}: the {kind} {name!r} must be {wanted} or None",
                f"received {type(value).__name__}",
                hint=f"delete it first (del module.{name}) to use the name for something else.",
            )
        )

    # --- going through the parts ---

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Go through this module and all below it, by name, each once; parents first."""
        return _walk(self, prefix, set())

    def modules(self) -> Iterator[Module]:
        """Go through this module and all below it, each once; parents first."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Go through the modules directly below this one, by name, each once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Go through the modules directly below this one, each once."""
        return (module for _, module in self.named_children())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Go through all parameters, by name; one that is shared comes once, by its first name."""
        return self._named("_parameters", prefix)

    def parameters(self) -> Iterator[Parameter]:
        """Go through all parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Go through all buffers, by name, each once."""
        return self._named("_buffers", prefix)

    def buffers(self) -> Iterator[Tensor]:
        """Go through all buffers, each once."""
        return (buffer for _, buffer in self.named_buffers())

    def _named(self, kind: str, prefix: str) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix):
            for name, value in getattr(module, kind).items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield _joined(path, name), value

    # --- changing all parts ---

    def train(self, mode: bool = True) -> Self:
        """Set ``training`` to ``mode`` in this module and all below it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set ``training`` to False in this module and all below it."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether gradients of all parameters are wanted."""
        for parameter in self.parameters():
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; with ``set_to_none=False`` fill them with 0."""
        forget(self.parameters(), set_to_none)

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call ``function(module)`` on all modules below, then on this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self, target: Any) -> Self:
        """Move all parameters and buffers to a device, or to a floating dtype, in place.

        They stay the same objects, so an optimiser that holds them goes on
        working. Integer buffers keep their dtype.

        Parameters
        ----------
        target : {"cpu", "cuda"} or floating dtype

        Raises
        ------
        DtypeError
            If the target is neither.
        DeviceError
            If this machine has no such device.
        """
        device, dtype = read_target(target)
        for tensor in (*self.parameters(), *self.buffers()):
            convert_(tensor, device, dtype)
        return self

    def float(self) -> Self:
        """Turn all parameters and buffers to float32, in place."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Turn all parameters and buffers to float64, in place."""
        return self.to(np.float64)

    def half(self) -> Self:
        """Turn all parameters and buffers to float16, in place."""
        return self.to(np.float16)

    def cpu(self) -> Self:
        """Move all parameters and buffers to the CPU, in place."""
        return self.to("cpu")

    def cuda(self) -> Self:
        """Move all parameters and buffers to the GPU, in place."""
        return self.to("cuda")

    # --- saving ---

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copy all parameters and persistent buffers, by name, to the CPU.

        The names are PyTorch's; what is shared appears under each of its names.
        """
        return snapshot(self._state())

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadReport:
        """Copy values into the parameters and buffers of these names, in place.

        Parameters
        ----------
        state : mapping of str to array or Tensor
            What ``state_dict`` returned. Values are cast to the dtype here.
        strict : bool
            Whether all names must agree. Shapes always must.

        Returns
        -------
        LoadReport
            The names that were missing and those that were unexpected.

        Raises
        ------
        CheckpointError
            Listing everything that is wrong; then nothing has been changed.
        """
        return load(type(self).__name__, self._state(), state, strict)

    def _state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for path, module in _walk(self, ""):
            saved = {n: b for n, b in module._buffers.items() if n not in module._not_saved}
            for name, value in (*module._parameters.items(), *saved.items()):
                if value is not None:
                    state[_joined(path, name)] = value
        return state

    # --- showing ---

    def extra_repr(self) -> str:
        """The settings that ``repr`` shows between the brackets."""
        return ""

    def __repr__(self) -> str:
        who, settings = type(self).__name__, self.extra_repr()
        if "_modules" not in self.__dict__ or not self._modules:
            return f"{who}({settings})"
        lines = [settings] if settings else []
        lines += [f"({name}): {child!r}" for name, child in self._modules.items()]
        inside = "\n".join(lines).replace("\n", "\n  ")
        return f"{who}(\n  {inside}\n)"


def _walk(
    module: Module, prefix: str, seen: set[int] | None = None
) -> Iterator[tuple[str, Module]]:
    """Go through all modules, depth first: each once with ``seen``, else by all its names."""
    if seen is not None:
        if id(module) in seen:
            return
        seen.add(id(module))
    yield prefix, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, _joined(prefix, name), seen)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _buffer(value: Any) -> Tensor:
    tensor = as_tensor(value)
    data = writable(tensor.data)
    return tensor if tensor.node is None and data is tensor.data else Tensor(data)
