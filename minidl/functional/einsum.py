"""Einstein's sums over products: axes with letters, moved to where a matrix product wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minidl.errors import ArgumentError, ShapeError, message
from minidl.functional.diagonal import diagonal
from minidl.functional.matmul import matmul
from minidl.functional.reduce import sum
from minidl.functional.shape import expand, permute, reshape
from minidl.matching import match
from minidl.tensor import Tensor

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The letters that may name axes."""

Named = tuple[Tensor, str]
"""A Tensor, and the letter of each of its axes."""


def einsum(equation: str, *operands: Any) -> Tensor:
    """Multiply Tensors and sum over letters, as "ij,jk->ik" says.

    Letters behind the arrow are kept, in their order; the others are summed over. Without an
    arrow those are kept that stand once, in the order of the alphabet. ``...`` stands for
    further axes, which broadcast. A letter that stands twice in one operand is its diagonal:
    "ii->i"; "ii" is the sum over it, the trace.

    Parameters
    ----------
    equation : str
        A letter per axis, operands separated by commas; blanks do not count.
    operands : Tensors, or one list of them

    Raises
    ------
    ArgumentError
        If the equation and the operands do not fit, or a letter stands twice behind the arrow.
    ShapeError
        If two axes of one letter differ in size, and neither has size 1; or, of one operand, at
        all.

    Notes
    -----
    Operands are combined from left to right, two at a time, each pair by one matrix product.
    """
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    named, kept = _read(equation, match(*operands))
    sizes = _sizes(equation, named)
    first, *others = [_with_sizes(one, sizes) for one in named]
    for i, other in enumerate(others):
        needed = set(kept).union(*(letters for _, letters in others[i + 1 :]))
        first = _combined(_without(first, needed | set(other[1])),
                          _without(other, needed | set(first[1])), needed)
    tensor, letters = _without(first, set(kept))
    return permute(tensor, [letters.index(letter) for letter in kept])


def _refused(equation: str, why: str, hint: str = "") -> ArgumentError:
    return ArgumentError(message(f"einsum: {why}", f"the equation is {equation!r}", hint=hint))


def _read(equation: str, tensors: Sequence[Tensor]) -> tuple[list[Named], str]:
    """Give letters to the axes of each operand, and return those that are kept."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise _refused(equation, f"it names {len(terms)} operands, {len(tensors)} were given")
    strange = set(left + right) - set(LETTERS + ",.")
    if strange or "," in right:
        raise _refused(equation, "letters, commas, one arrow and ... are all that it may hold")
    pairs = list(zip(tensors, terms, strict=True))
    more = max([_unnamed(t, term) for t, term in pairs if "..." in term], default=0)
    unused = [c for c in LETTERS if c not in equation]
    dots = "".join(unused[: max(more, 0)])
    named = [_on_diagonals(equation, t, _letters(equation, term, t, dots)) for t, term in pairs]
    if not arrow:
        once = sorted(c for c in set(left) - set(",.") if left.count(c) == 1)
        return named, dots + "".join(once)
    kept = right.replace("...", dots)
    known = set().union(*(letters for _, letters in named))
    if len(set(kept)) < len(kept) or not set(kept) <= known:
        raise _refused(equation, "letters behind the arrow stand there once, and before it, too")
    return named, kept


def _unnamed(tensor: Tensor, term: str) -> int:
    """Count the axes that are left to ``...``."""
    return tensor.ndim - len(term.replace("...", ""))


def _letters(equation: str, term: str, tensor: Tensor, dots: str) -> str:
    """Return a letter for each axis of an operand; ``...`` takes the last of ``dots``."""
    more = _unnamed(tensor, term)
    letters = term.replace("...", dots[len(dots) - more :] if more > 0 else "", 1)
    if more < 0 or len(letters) != tensor.ndim or "." in letters:
        raise _refused(equation, f"{term!r} does not name the axes of shape {tensor.shape}")
    return letters


def _on_diagonals(equation: str, tensor: Tensor, letters: str) -> Named:
    """Read the diagonals of axes that bear one letter."""
    for letter in sorted(set(letters)):
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            if tensor.shape[first] != tensor.shape[second]:
                raise ShapeError(
                    message(f"einsum: {letter!r} is a diagonal, of axes that differ in size",
                            f"the equation is {equation!r}; an operand has shape {tensor.shape}")
                )
            tensor = diagonal(tensor, 0, first, second)
            letters = letters[:first] + letters[first + 1 : second] + letters[second + 1 :] + letter
    return tensor, letters


def _sizes(equation: str, named: Sequence[Named]) -> dict[str, int]:
    """Return the size of each letter; axes of size 1 are repeated."""
    sizes: dict[str, int] = {}
    for tensor, letters in named:
        for letter, size in zip(letters, tensor.shape, strict=True):
            known = sizes.get(letter, 1)
            if known != size and 1 not in (known, size):
                raise ShapeError(
                    message(f"einsum: axes of one letter differ in size, {known} and {size}",
                            f"the equation is {equation!r}, "
                            f"the shapes are {', '.join(str(t.shape) for t, _ in named)}")
                )
            sizes[letter] = size if known == 1 else known
    return sizes


def _with_sizes(one: Named, sizes: dict[str, int]) -> Named:
    tensor, letters = one
    return expand(tensor, [sizes[letter] for letter in letters]), letters


def _without(one: Named, needed: set[str]) -> Named:
    """Sum over the letters that nothing else needs."""
    tensor, letters = one
    alone = tuple(a for a, letter in enumerate(letters) if letter not in needed)
    if not alone:
        return one
    return sum(tensor, alone), "".join(c for c in letters if c in needed)


def _combined(x: Named, w: Named, needed: set[str]) -> Named:
    """Multiply two operands, summed over the letters of both that nothing else needs."""
    both = [c for c in x[1] if c in w[1]]
    batch = [c for c in both if c in needed]
    inner = [c for c in both if c not in needed]
    rows, columns = ([c for c in one[1] if c not in both] for one in (x, w))
    sizes = dict(zip(x[1] + w[1], (*x[0].shape, *w[0].shape), strict=True))
    outer = [sizes[c] for c in batch]

    def laid_out(one: Named, first: list[str], second: list[str]) -> Tensor:
        tensor, letters = one
        moved = permute(tensor, [letters.index(c) for c in (*batch, *first, *second)])
        ends = (math.prod([sizes[c] for c in part]) for part in (first, second))
        return reshape(moved, (*outer, *ends))

    left, right = laid_out(x, rows, inner), laid_out(w, inner, columns)
    y = matmul(left, right) if inner else left * right
    letters = (*batch, *rows, *columns)
    return reshape(y, [sizes[c] for c in letters]), "".join(letters)
