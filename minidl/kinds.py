"""Three kinds of op, sorted by the shape of their derivative.

    Pointwise   element by element: its derivative is one slope per element
    Linear      its derivative is its adjoint, whatever the input was
    Bilinear    a sum over products of three arrays, with three corners

Each kind writes its vjp once, here. An op of a kind only says what it computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from minidl.autograd import Node, Op
from minidl.compute.arrays import Array, xp_of
from minidl.compute.dtypes import total
from minidl.errors import GradientError, ShapeError, message
from minidl.tensor import Tensor


class Linear(Op):
    """A linear map of one array, written beside its adjoint.

    <apply(x), y> = <x, adjoint(y)> for all x and y. So the gradient of the
    input is the adjoint of the gradient of the output: the op saves nothing,
    and differentiating twice turns it around twice.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        cls.forward = cls.apply  # type: ignore[method-assign, assignment]
        super().__init_subclass__(**kwargs)

    def apply(self, x: Array) -> Array:
        """Apply the map."""
        raise NotImplementedError

    def adjoint(self, y: Array) -> Array:
        """Apply its adjoint (the transposed matrix, if one wrote the map as a matrix)."""
        raise NotImplementedError

    def transposed(self) -> Linear:
        """Return the adjoint as an op of its own."""
        return Transposed(self)

    @property
    def adjoint_name(self) -> str:
        """The name of the adjoint where it is an op."""
        return f"{self.name}Adjoint"

    def vjp(self, i: int, grad: Tensor, node: Node) -> Tensor:
        return self.transposed()(grad)


class Transposed(Linear):
    """A linear map turned around."""

    def __init__(self, op: Linear):
        self.op, self.held = op, op.held

    @property
    def name(self) -> str:
        return self.op.adjoint_name

    @property
    def adjoint_name(self) -> str:
        return self.op.name

    def apply(self, y: Array) -> Array:
        return self.op.adjoint(y)

    def adjoint(self, x: Array) -> Array:
        return self.op.apply(x)

    def transposed(self) -> Linear:
        return self.op


class Broadcast(Linear):
    """Repeat along new axes and axes of size 1; the adjoint sums over the copies."""

    def __init__(self, source: tuple[int, ...], target: tuple[int, ...]):
        self.source, self.target = source, target

    def apply(self, x: Array) -> Array:
        return xp_of(x).broadcast_to(x, self.target)

    def adjoint(self, y: Array) -> Array:
        added = y.ndim - len(self.source)
        repeated = (
            added + axis
            for axis, size in enumerate(self.source)
            if size == 1 and y.shape[added + axis] != 1
        )
        axes = (*range(added), *repeated)
        return total(y, axes).reshape(self.source) if axes else y


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo broadcasting: sum over the axes along which ``shape`` was repeated."""
    return x if x.shape == shape else Transposed(Broadcast(shape, x.shape))(x)


def check_shapes(who: str, *shapes: tuple[int, ...]) -> None:
    """Refuse shapes that cannot be repeated to one, naming the axis in which they differ.

    Raises
    ------
    ShapeError
        If two sizes of an axis, counted from the last one, differ and neither is 1.
    """
    for back in range(1, max(map(len, shapes), default=0) + 1):
        sizes = [shape[-back] for shape in shapes if len(shape) >= back]
        if len({size for size in sizes if size != 1}) > 1:
            raise ShapeError(
                message(
                    f"{who}: the shapes do not fit together",
                    f"they are {', '.join(map(str, shapes))}; axis {-back} has sizes "
                    f"{', '.join(map(str, sizes))}",
                    hint="sizes of an axis must be equal, or 1, which is repeated.",
                )
            )


class Pointwise(Op):
    """Each output element depends on the input elements at its own place alone.

    The author writes ``forward`` and, for each input, its slope: the derivative
    of an output element by the input element, as an expression of Tensors (or a
    plain number). An input without a slope has derivative 0::

        class Exp(Pointwise):
            def forward(self, x):
                return xp_of(x).exp(x)

            def slope_x(self, out):
                return out

    The vjp multiplies by the slope, then sums over what broadcasting repeated.
    """

    rule: ClassVar[str] = "slope"
    matched: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.rules:
            raise GradientError(
                message(
                    f"{cls.__name__}: no input has a slope",
                    f"forward takes {', '.join(cls.inputs)}",
                    hint=f"write slope_{cls.inputs[0]}(self, ...), or compute on arrays and wrap "
                    "the result in a Tensor, if there is no derivative.",
                )
            )

    def explain(self, arrays: Sequence[Array]) -> None:
        check_shapes(self.name, *(a.shape for a in arrays))

    def vjp(self, i: int, grad: Tensor, node: Node) -> Tensor | None:
        if i not in self.wants:
            return None
        parent = node.parents[i]
        assert parent is not None
        slope = getattr(self, self.rules[i])(*map(node.value, self.wants[i]))
        steep = grad if isinstance(slope, int) and slope == 1 else grad * slope
        return steep if steep.data.shape == parent.shape else sum_to(steep, parent.shape)


class Bilinear:
    """A sum over products of elements of three arrays, T(x, w, y).

    Leave out one array and what remains is a function of the other two, the
    *corner* of the one left out: T is linear in each, so corner y is the array
    with T(x, w, y) = <corner_y(x, w), y>, and likewise for the others. The
    gradient of one corner is another corner:

        forward   y = corner_y(x, w)
        vjp of x      corner_x(w, grad)
        vjp of w      corner_w(x, grad)

    and so on for every order. A form names its three arrays in ``letters`` and
    writes one method ``corner_<letter>`` for each, which takes the other two in
    the order of ``letters``.
    """

    letters: ClassVar[tuple[str, str, str]] = ("x", "w", "y")

    others: ClassVar[dict[str, tuple[str, ...]]] = {}
    """The two letters that each corner takes, in their order."""

    names: ClassVar[Mapping[str, str]] = {}
    """The names of corners, by letter; of the others it is the form's, with the letter."""

    fresh: ClassVar[bool] = False
    """Whether each corner is a new array, never a view of its operands."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.others = {y: tuple(x for x in cls.letters if x != y) for y in cls.letters}

    def corner(self, letter: str) -> Corner:
        """Return the op that computes one of the three arrays from the other two."""
        return Corner(self, letter)


class Corner(Op):
    """One corner of a bilinear form, as an op on the other two arrays."""

    def __init__(self, form: Bilinear, letter: str):
        self.form, self.letter, self.fresh = form, letter, form.fresh
        self.operands = form.others[letter]
        self.compute = getattr(form, f"corner_{letter}")

    def forward(self, first: Array, second: Array) -> Array:
        return self.compute(first, second)

    @property
    def name(self) -> str:
        form = type(self.form).__name__
        return self.form.names.get(self.letter, form if self.letter == "y" else
                                   f"{form}_{self.letter}")

    def keeps(self, i: int) -> tuple[int, ...]:
        return (1 - i,)

    def vjp(self, i: int, grad: Tensor, node: Node) -> Tensor:
        known = {self.letter: grad, self.operands[1 - i]: node.value(1 - i)}
        corner = self.form.corner(self.operands[i])
        return corner(*map(known.__getitem__, corner.operands))


class Multiply(Bilinear):
    """T(x, w, y) = sum x * w * y, each repeated where its axes have size 1.

    The gentlest form: every corner is an elementwise product.
    """

    def __init__(self, x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...]):
        self.shapes = {"x": x, "w": w, "y": y}

    def corner_x(self, w: Array, y: Array) -> Array:
        return _summed(w * y, self.shapes["x"])

    def corner_w(self, x: Array, y: Array) -> Array:
        return _summed(x * y, self.shapes["w"])

    def corner_y(self, x: Array, w: Array) -> Array:
        return _summed(x * w, self.shapes["y"])


def _summed(product: Array, shape: tuple[int, ...]) -> Array:
    """Sum a product over the axes along which ``shape`` was repeated."""
    return product if product.shape == shape else Broadcast(shape, product.shape).adjoint(product)


