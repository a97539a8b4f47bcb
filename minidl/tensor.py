"""Tensor: an array that remembers how it was computed.

A Tensor is three things: ``data``, a NumPy or CuPy array; ``node``, its place in
the graph (None if no gradient is wanted); and, on leaves, ``grad``. Everything
it can do is one call into ``minidl.functional``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from minidl.compute.arrays import Array, device_of, is_array, to_device
from minidl.compute.dtypes import default_dtype
from minidl.errors import ArgumentError, DtypeError, GradientError, message

if TYPE_CHECKING:
    from minidl.autograd import Node


class Tensor:
    """An array in the graph. Made by ``minidl.tensor`` or by computing with others.

    Attributes
    ----------
    data : numpy.ndarray or cupy.ndarray
    node : Node or None
        Where the Tensor stands in the graph; None if it wants no gradient.
    grad : Tensor or None
        On a leaf: the gradient that ``backward`` added up.
    """

    __slots__ = ("__weakref__", "data", "grad", "node")

    def __init__(self, data: Array, node: Node | None = None):
        if type(data) is not np.ndarray and not is_array(data):
            data = _array_of(data)
        self.data = data
        self.node = node
        self.grad: Tensor | None = None

    # --- what it is ---

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> Size:
        """The number of elements; called, as in PyTorch, the shape, or one size of it."""
        size = Size(self.data.size)
        size.shape = self.data.shape
        return size

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def device(self) -> str:
        """The device, ``"cpu"`` or ``"cuda"``."""
        return device_of(self.data)

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient is wanted; a leaf may be told."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted != self.requires_grad:
            self.requires_grad_(wanted)

    @property
    def is_leaf(self) -> bool:
        """Whether a user made the Tensor, rather than an op."""
        return self.node is None or self.node.op is None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start or stop wanting a gradient, in place; for leaves."""
        if not self.is_leaf:
            raise GradientError(
                message(
                    "requires_grad_: only a leaf can change whether it wants a gradient",
                    hint="use .detach() for a Tensor outside the graph.",
                )
            )
        self.node = _leaf(self) if requires_grad else None
        return self

    def numpy(self) -> np.ndarray:
        """Return the values as a NumPy array (shared with the Tensor on the CPU)."""
        if self.node is not None:
            raise GradientError(
                message(
                    "numpy: this Tensor is in the graph, and NumPy would not be",
                    hint="use .detach().numpy(), or .data for the array itself.",
                )
            )
        return to_device(self.data, "cpu")

    def item(self) -> float | int | bool:
        """Return the value of a Tensor of one element as a Python number."""
        return self.data.item()

    def tolist(self) -> Any:
        """Return the values as nested Python lists."""
        return self.data.tolist()

    def detach(self) -> Tensor:
        """Return a Tensor of this array, outside the graph."""
        return Tensor(self.data)

    def clone(self) -> Tensor:
        """Copy the array, inside the graph."""
        return F.clone(self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a Tensor without axes")
        return self.shape[0]

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        body = np.array2string(to_device(self.data, "cpu"), separator=", ", prefix="tensor(")
        extras = [f"dtype={self.dtype}"] if self.dtype not in (default_dtype, np.int64) else []
        extras += [f'device="{self.device}"'] if self.device != "cpu" else []
        if self.node is not None:
            op = self.node.op
            extras.append(f"op={op.name}" if op else "requires_grad=True")
        return f"tensor({', '.join([body, *extras])})"

    # --- derivatives ---

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add this Tensor's gradient to the ``.grad`` of every leaf it depends on.

        Parameters
        ----------
        gradient : Tensor, optional
            Weights of this Tensor's elements, of its shape. Default: 1, for a
            Tensor of one element.
        retain_graph : bool, optional
            Accepted and not needed: the graph goes when its last output goes.
        create_graph : bool
            Whether the gradients can be differentiated again.
        """
        autograd.backward(self, gradient, create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Hook:
        """Call ``hook(gradient)`` when this Tensor's gradient is known.

        What the hook returns, unless None, replaces the gradient.

        Returns
        -------
        Hook
            Its ``remove()`` takes the hook away.
        """
        if self.node is None:
            raise GradientError("register_hook: this Tensor does not require a gradient")
        self.node.hooks.append(hook)
        return Hook(self.node, hook)

    def retain_grad(self) -> None:
        """Fill ``.grad`` of this Tensor too, although it is not a leaf."""
        here = ref(self)

        def remember(gradient: Tensor) -> None:
            tensor = here()
            if tensor is not None:
                tensor.grad = gradient

        if not self.is_leaf:
            self.register_hook(remember)

    # --- operators: one call into functional each ---

    def __add__(self, other: Any) -> Tensor:
        return F.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return F.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return F.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return F.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return F.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return F.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return F.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return F.div(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return F.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return F.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return F.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return F.matmul(other, self)

    def __neg__(self) -> Tensor:
        return F.neg(self)

    def __abs__(self) -> Tensor:
        return F.abs(self)

    def __getitem__(self, index: Any) -> Tensor:
        return F.getitem(self, index)

    # Comparisons give Tensors of bool, which carry no gradient.

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return Tensor(self.data == _plain(other))

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return Tensor(self.data != _plain(other))

    def __lt__(self, other: Any) -> Tensor:
        return Tensor(self.data < _plain(other))

    def __le__(self, other: Any) -> Tensor:
        return Tensor(self.data <= _plain(other))

    def __gt__(self, other: Any) -> Tensor:
        return Tensor(self.data > _plain(other))

    def __ge__(self, other: Any) -> Tensor:
        return Tensor(self.data >= _plain(other))

    __hash__ = object.__hash__

    # --- methods: the same ---

    def sum(self, *args: Any, **kwargs: Any) -> Tensor:
        return F.sum(self, *args, **kwargs)

    def mean(self, *args: Any, **kwargs: Any) -> Tensor:
        return F.mean(self, *args, **kwargs)

    def var(self, *args: Any, **kwargs: Any) -> Tensor:
        return F.var(self, *args, **kwargs)

    def max(self, *args: Any, **kwargs: Any) -> Any:
        return F.max(self, *args, **kwargs)

    def min(self, *args: Any, **kwargs: Any) -> Any:
        return F.min(self, *args, **kwargs)

    def argmax(self, *args: Any, **kwargs: Any) -> Tensor:
        return F.argmax(self, *args, **kwargs)

    def exp(self) -> Tensor:
        return F.exp(self)

    def log(self) -> Tensor:
        return F.log(self)

    def sqrt(self) -> Tensor:
        return F.sqrt(self)

    def abs(self) -> Tensor:
        return F.abs(self)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        return F.clip(self, min, max)

    def reshape(self, *shape: Any) -> Tensor:
        return F.reshape(self, shape[0] if shape and isinstance(shape[0], tuple | list) else shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        return F.flatten(self, start_dim, end_dim)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        return F.transpose(self, dim0, dim1)

    def permute(self, *dims: Any) -> Tensor:
        return F.permute(self, dims[0] if dims and isinstance(dims[0], tuple | list) else dims)

    def squeeze(self, *args: Any, **kwargs: Any) -> Tensor:
        return F.squeeze(self, *args, **kwargs)

    def unsqueeze(self, *args: Any, **kwargs: Any) -> Tensor:
        return F.unsqueeze(self, *args, **kwargs)

    def expand(self, *shape: Any) -> Tensor:
        return F.expand(self, shape[0] if shape and isinstance(shape[0], tuple | list) else shape)

    @property
    def T(self) -> Tensor:
        """The transposed matrix."""
        return F.permute(self, tuple(reversed(range(self.ndim))))

    def astype(self, dtype: Any) -> Tensor:
        """Convert the values to another dtype; gradients come back in this one."""
        return F.astype(self, dtype)

    def to(self, *targets: Any, device: str | None = None, dtype: Any = None) -> Tensor:
        """Move to a device (``"cpu"``, ``"cuda"``), convert to a dtype, or both, inside the graph.

        A Tensor among ``targets`` stands for its device and its dtype.
        """
        moved = self
        for target in (*targets, device, dtype):
            if isinstance(target, Tensor):
                moved = F.astype(F.to_device(moved, target.device), target.dtype)
            elif target is not None:
                moved = _converted(moved, target)
        return moved

    def __reduce__(self) -> tuple[Any, ...]:
        # A copied Node would send its gradients to the Tensor that it was made for.
        if not self.is_leaf:
            raise GradientError(
                message("pickle, deepcopy: this Tensor is in the graph, which stays behind",
                        hint="take x.detach().")
            )
        return _rebuilt, (self.data, self.requires_grad)


def _converted(tensor: Tensor, target: Any) -> Tensor:
    """Convert to what names a dtype, or move to what names a device."""
    try:
        dtype = np.dtype(target)
    except TypeError:
        return F.to_device(tensor, target)
    return F.astype(tensor, dtype)


def _rebuilt(data: Array, requires_grad: bool) -> Tensor:
    made = Tensor(data)
    return made.requires_grad_() if requires_grad else made


def _array_of(value: Any) -> np.ndarray:
    """Make an array of what an op returned: NumPy gives numbers for arrays without axes."""
    if not isinstance(value, np.generic):
        raise ArgumentError(
            message(
                "Tensor: takes an array, which it does not copy",
                f"received {type(value).__name__}",
                hint="write y.data for the array of a Tensor y; x.data, too, is set to an array."
                if isinstance(value, Tensor)
                else "write minidl.tensor([1.0, 2.0]) for numbers, minidl.zeros((2, 3)) for a "
                "shape.",
            )
        )
    return np.asarray(value)


class Size(int):
    """A number of elements, NumPy's ``x.size``, that can be called, as PyTorch's ``x.size()``."""

    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        """Return the shape, or its size along one axis."""
        if dim is None:
            return self.shape
        if not -len(self.shape) <= dim < len(self.shape):
            raise ArgumentError(
                message(f"size: axis {dim} does not exist", f"the shape is {self.shape}")
            )
        return self.shape[dim]


class Hook:
    """A registered hook; ``remove()`` takes it away."""

    def __init__(self, node: Node, hook: Callable[[Tensor], Tensor | None]):
        self._node, self._hook = node, hook

    def remove(self) -> None:
        """Take the hook away; again does nothing."""
        if self._hook in self._node.hooks:
            self._node.hooks.remove(self._hook)


def tensor(
    data: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor from numbers, lists or an array, copying them.

    Parameters
    ----------
    data : number, (nested) list, array or Tensor
    dtype : optional
        Default: float32 for Python floats, int64 for Python integers; an
        array's own dtype is kept.
    device : {"cpu", "cuda"}, optional
    requires_grad : bool
        Whether ``backward`` should compute a gradient for it.

    Raises
    ------
    DtypeError
        If the data are not numbers, or a gradient is wanted for integers.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """
    given = data.data if isinstance(data, Tensor) else data
    if is_array(given):
        array = given.astype(dtype or given.dtype.newbyteorder("="), copy=True)
    else:
        array = np.array(given, dtype)
        if dtype is None and array.dtype == np.float64 and not isinstance(given, np.generic):
            array = array.astype(default_dtype)
    if array.dtype.kind not in "fiub":
        raise DtypeError(
            message(
                f"tensor: cannot hold values of dtype {array.dtype}",
                hint="give numbers, in lists of equal lengths or in a NumPy array.",
            )
        )
    made = Tensor(to_device(array, device))
    return made.requires_grad_() if requires_grad else made


def as_tensor(value: Any) -> Tensor:
    """Make a value a Tensor: itself if it is one, sharing memory if it is an array."""
    if isinstance(value, Tensor):
        return value
    if is_array(value) and value.dtype.isnative:
        return Tensor(value)
    return tensor(value)


def _plain(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def _leaf(tensor: Tensor) -> Node:
    if tensor.dtype.kind != "f":
        raise DtypeError(
            message(
                f"requires_grad: a Tensor of {tensor.dtype} has no gradient",
                hint="use a floating dtype, for example .astype(numpy.float32).",
            )
        )
    node = autograd.Node(None, (), tensor.data)
    node.tensor = ref(tensor)
    return node


# At the end, because both are built on Tensor.
from minidl import autograd  # noqa: E402
from minidl import functional as F  # noqa: E402
