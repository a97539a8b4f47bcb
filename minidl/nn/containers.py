"""Modules that hold modules: in a row, in a list, in a dict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import index as as_index
from typing import Any, Self, overload

from minidl.nn.module import Module


class _Numbered(Module):
    """A row of modules that are reached by number."""

    _modules: dict[str, Module]  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        gone = list(self._modules)[index]
        for name in [gone] if isinstance(gone, str) else gone:
            del self._modules[name]
        self._renumber(list(self._modules.items()))

    def append(self, module: Module) -> Self:
        """Put a module at the end."""
        return self.insert(len(self), module)

    def extend(self, modules: Iterable[Module]) -> Self:
        """Put modules at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before the one with this number."""
        if not isinstance(module, Module):
            raise self._misfit(str(index), "module", "a Module", module)
        items = list(self._modules.items())
        items.insert(index, (str(len(self)), module))
        self._renumber(items)
        return self

    def _name(self, index: int) -> str:
        try:
            return list(self._modules)[as_index(index)]
        except IndexError:
            raise IndexError(
                f"{type(self).__name__}: there is no module {index} among {len(self)}"
            ) from None

    def _renumber(self, items: list[tuple[str, Module]]) -> None:
        """Count the modules anew; those whose names are words keep them."""
        named = [(str(i) if n.isdecimal() else n, m) for i, (n, m) in enumerate(items)]
        self._modules = dict(named)


class Sequential(_Numbered):
    """Modules applied one after the other.

    Parameters
    ----------
    *modules : Module, or one dict of names to Modules

    Examples
    --------
    >>> import minidl.nn as nn
    >>> nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))
    Sequential(
      (0): Linear(in_features=64, out_features=16, bias=True)
      (1): ReLU()
      (2): Linear(in_features=16, out_features=2, bias=True)
    )
    """

    def __init__(self, *modules: Any):
        super().__init__()
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], Mapping) else None
        items = enumerate(modules) if named is None else named.items()
        for name, module in items:
            if not isinstance(module, Module):
                raise self._misfit(str(name), "module", "a Module", module)
            self.add_module(str(name), module)

    def forward(self, x: Any) -> Any:
        for name, module in self._modules.items():
            try:
                x = module(x)
            except Exception as error:
                given = f"given shape {x.shape}" if hasattr(x, "shape") else type(x).__name__
                kind, settings = type(module).__name__, module.extra_repr()
                error.add_note(f"in layer {name} of Sequential, {kind}({settings}), {given}")
                raise
        return x

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        return self._modules[self._name(index)]


class ModuleList(_Numbered):
    """A list of modules, for a ``forward`` that uses them as it likes."""

    def __init__(self, modules: Iterable[Module] = ()):
        super().__init__()
        self.extend(modules)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ModuleList(list(self)[index])
        return self._modules[self._name(index)]


class ModuleDict(Module):
    """A dict of modules, for a ``forward`` that uses them as it likes.

    Keys are strings without dots, and not names of the class's own methods.
    """

    _modules: dict[str, Module]  # type: ignore[assignment]

    def __init__(self, modules: Mapping[str, Module] | None = None):
        super().__init__()
        self.update(modules or {})

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise self._misfit(key, "module", "a Module", module)
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def keys(self) -> Iterable[str]:
        """Return the names of the modules."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """Return the modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return pairs of a name and its module."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add or replace modules."""
        for key, module in modules.items():
            self[key] = module

    def pop(self, key: str) -> Any:
        """Take a module out, and return it."""
        return self._modules.pop(key)
