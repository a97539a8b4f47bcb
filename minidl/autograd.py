"""Reverse-mode differentiation, whole: an Op, the Node it leaves, the walk back.

Applying an Op to Tensors computes an array and, if some input wants a gradient,
leaves a Node: which Op it was, the Nodes of its inputs (its *parents*), and the
few arrays that its derivative will need. The Nodes form a graph that points
only backwards, so it has no cycles, and dropping the last output frees it all.

``grad`` walks that graph from the outputs back, deepest Node first, so that a
Node is visited when all its gradients have arrived. At each Node it asks the Op
for one *vjp* (vector-Jacobian product) per parent: given the gradient of the
output, the gradient of that input. A vjp is itself written with Ops. That is
all it takes for derivatives of any order: with ``create_graph=True`` the walk
back leaves Nodes like any other computation.
"""

from __future__ import annotations

import heapq
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar
from weakref import ref

from numpy import ndarray

from minidl.compute.arrays import Array, device_of, xp_of
from minidl.compute.changes import changed_since, clock
from minidl.errors import ArgumentError, DeviceError, GradientError, ShapeError, message
from minidl.matching import match
from minidl.tensor import Tensor, as_tensor

OUT = -1
"""The number of an Op's own output among the numbers of its inputs."""

HELD = -2
"""The number of what an Op holds among the numbers of its inputs."""

_recording: ContextVar[bool] = ContextVar("minidl_recording", default=True)


@contextmanager
def _set_recording(on: bool) -> Iterator[None]:
    token = _recording.set(on)
    try:
        yield
    finally:
        _recording.reset(token)


def no_grad() -> Any:
    """Compute without leaving Nodes; a ``with`` block or a decorator."""
    return _set_recording(False)


def enable_grad() -> Any:
    """Leave Nodes again inside a ``no_grad`` block."""
    return _set_recording(True)


def set_grad_enabled(mode: bool) -> Any:
    """Leave Nodes or not, inside a ``with`` block or a decorated function."""
    return _set_recording(bool(mode))


inference_mode = no_grad


def is_recording() -> bool:
    """Tell whether Ops leave Nodes at the moment."""
    return _recording.get()


class Node:
    """What an Op leaves behind, or the mark of a leaf (a Tensor made by a user).

    Attributes
    ----------
    op : Op or None
        The Op that was applied; None for a leaf.
    parents : tuple of Node or None
        The Node of each input; None where an input wants no gradient.
    kept : dict of int to array
        The inputs, by position, and the output (OUT) that the vjps will need.
    made : int
        The number of changes of arrays in place before it; what it keeps must not change after.
    depth : int
        Length of the longest path to a leaf. Parents are always less deep.
    tensor : weak reference or None
        A leaf's Tensor, which receives ``.grad``. Weak, so that no cycle forms.
    """

    __slots__ = ("__weakref__", "depth", "dtype", "hooks", "kept", "made", "op", "parents",
                 "shape", "tensor")

    def __init__(self, op: Op | None, parents: tuple[Node | None, ...], data: Array):
        self.op = op
        self.parents = parents
        self.kept: dict[int, Array] = {}
        self.made = clock[0]
        self.depth = 0
        for parent in parents:
            if parent is not None and parent.depth >= self.depth:
                self.depth = parent.depth + 1
        self.shape: tuple[int, ...] = data.shape
        self.dtype = data.dtype
        self.hooks: list[Callable[[Tensor], Tensor | None]] = []
        self.tensor: ref[Tensor] | None = None

    def value(self, i: int) -> Tensor:
        """Return the kept input ``i`` (or the output) as a Tensor that is still in the graph."""
        array = self.kept[i]
        if clock[0] != self.made:  # something was changed in place; this array, too?
            self._check_unchanged(i, array)
        return Tensor(array, self if i == OUT else self.parents[i])

    def _check_unchanged(self, i: int, array: Array) -> None:
        by = changed_since(array, self.made)
        if by:
            assert self.op is not None
            which = {OUT: "the output", HELD: "an array of places"}.get(i, f"input {i}")
            raise GradientError(
                message(
                    f"{self.op.name}: {which}, which the derivative needs, has been changed since",
                    f"it has shape {array.shape}, and was changed in place by {by}",
                    hint="walk back (backward, grad) before that, or compute with a copy: "
                    "x.clone().",
                )
            )

    def vjp(self, i: int, grad: Tensor) -> Tensor | None:
        """Return the gradient of input ``i``, in that input's own shape and dtype."""
        parent, op = self.parents[i], self.op
        assert parent is not None and op is not None
        if op.held and clock[0] != self.made:
            for array in op.held:
                self._check_unchanged(HELD, array)
        result = op.vjp(i, grad, self)
        if result is None:
            return None
        if result.data.shape != parent.shape:
            raise ShapeError(
                message(
                    f"{op.name}: the gradient of input {i} has the wrong shape",
                    f"the input has shape {parent.shape}, its gradient {result.shape}",
                    hint="this is a mistake in the op's vjp.",
                )
            )
        return result if result.data.dtype == parent.dtype else result.astype(parent.dtype)


class Op:
    """A differentiable function of arrays; one instance per set of settings.

    The author writes ``forward(self, x, y, ...)`` on arrays and, for each input,
    ``vjp_x(self, grad, ...)`` on Tensors. What a vjp asks for by name after
    ``grad`` (inputs, or ``out``) is kept for it, and nothing else is::

        class Exp(Op):
            def forward(self, x):
                return xp_of(x).exp(x)

            def vjp_x(self, grad, out):
                return grad * out

    Most ops are simpler still: see the kinds in ``minidl.kinds``.
    """

    rule: ClassVar[str] = "vjp"
    """Prefix of the methods that hold the derivative, one per input."""
    matched: ClassVar[bool] = False
    """Whether the inputs are combined element by element, and numbers among them take a dtype."""
    held: tuple[Array, ...] = ()
    """Arrays of places among the settings, which others may hold, too, and must not change."""
    fresh: bool = False
    """Whether each vjp gives a new array, which nobody else holds or will hold."""

    inputs: ClassVar[tuple[str, ...]] = ()
    rules: ClassVar[dict[int, str]] = {}
    """The method that holds the derivative by each input, where there is one."""
    wants: ClassVar[dict[int, tuple[int, ...]]] = {}
    """The inputs (or OUT) that each of these methods asks for."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.inputs = tuple(inspect.signature(cls.forward).parameters)[1:]
        cls.rules, cls.wants = {}, {}
        for i, name in enumerate(cls.inputs):
            derivative = getattr(cls, f"{cls.rule}_{name}", None)
            if derivative is not None:
                cls.rules[i] = f"{cls.rule}_{name}"
                asked = [p for p in inspect.signature(derivative).parameters
                         if p not in ("self", "grad")]
                strange = [p for p in asked if p not in (*cls.inputs, "out")]
                if strange:
                    raise ArgumentError(
                        message(
                            f"{cls.__name__}.{cls.rules[i]}: asks for {', '.join(strange)}",
                            f"forward takes {', '.join(cls.inputs)}",
                            hint='name inputs as forward does, or "out" for its result.',
                        )
                    )
                cls.wants[i] = tuple(OUT if p == "out" else cls.inputs.index(p) for p in asked)

    @property
    def name(self) -> str:
        """The op's name in a Tensor's print and in errors."""
        return type(self).__name__

    def forward(self, *arrays: Array) -> Array:
        """Compute the output from the inputs, without changing them."""
        raise NotImplementedError

    def explain(self, arrays: Sequence[Array]) -> None:
        """Raise a clearer error than NumPy's for arrays that ``forward`` failed on, if it can."""

    def keeps(self, i: int) -> tuple[int, ...]:
        """Name the inputs (or OUT) that the vjp of input ``i`` needs, by position."""
        return self.wants.get(i, ())

    def vjp(self, i: int, grad: Tensor, node: Node) -> Tensor | None:
        """Return the gradient of input ``i`` from the output's gradient; None if it is zero."""
        if i not in self.wants:
            return None
        return getattr(self, self.rules[i])(grad, *map(node.value, self.wants[i]))

    # The next method and the walk back are the engine's inner loops: every op of every training
    # step passes through them, so they call few functions and are loops where one would expect
    # comprehensions, which are calls too.

    def __call__(self, *inputs: Any) -> Tensor:
        arrays: list[Array] = []
        parents: list[Node | None] = []
        wanted, plain = False, True
        for value in match(*inputs) if self.matched and len(inputs) > 1 else inputs:
            tensor = value if isinstance(value, Tensor) else as_tensor(value)
            arrays.append(tensor.data)
            parents.append(tensor.node)
            wanted = wanted or tensor.node is not None
            plain = plain and type(tensor.data) is ndarray
        if not plain:
            self._check_devices(arrays)
        try:
            result = Tensor(self.forward(*arrays))
        except ValueError:
            self.explain(arrays)
            raise
        if wanted and _recording.get():
            node = result.node = Node(self, tuple(parents), result.data)
            for i, parent in enumerate(parents):
                if parent is not None:
                    for k in self.keeps(i):
                        node.kept[k] = result.data if k == OUT else arrays[k]
        return result

    def _check_devices(self, arrays: Sequence[Array]) -> None:
        """Refuse arrays on different devices, and what is no array."""
        devices = [device_of(array) for array in arrays]
        if len(set(devices)) > 1:
            raise DeviceError(
                message(
                    f"{self.name}: the inputs live on different devices",
                    f"received {devices}",
                    hint='move them together with .to("cuda") or .to("cpu").',
                )
            )


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of ``outputs`` (summed, weighted by ``grad_outputs``) by ``inputs``.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensors
    grad_outputs : Tensor or sequence of Tensors, optional
        One weight array per output, of its shape. Default: 1, for outputs of
        one element.
    create_graph : bool
        Whether the gradients can be differentiated again.
    allow_unused : bool
        Give None, not an error, for an input that no output depends on.

    Returns
    -------
    tuple of Tensors
        One gradient per input, of its shape and dtype.

    Raises
    ------
    GradientError
        If an input does not want a gradient or no output depends on it.
    """
    sources = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, x in enumerate(sources):
        if x.node is None:
            raise GradientError(
                message(f"grad: input {i} does not require a gradient",
                        hint="make it with requires_grad=True, outside no_grad.")
            )
    targets = {x.node for x in sources if x.node is not None}
    roots = _starts(outputs, grad_outputs)
    found: dict[Node, Tensor] = {}

    def collect(node: Node, gradient: Tensor, own: bool) -> None:
        if node in targets:
            found[node] = gradient

    _walk(roots, _paths_to(targets, [node for node, _ in roots]), create_graph, collect)
    results = tuple(found.get(x.node) for x in sources if x.node is not None)
    if not allow_unused and len(found) < len(targets):
        missing = [i for i, gradient in enumerate(results) if gradient is None]
        raise GradientError(
            message(f"grad: no output depends on input(s) {missing}",
                    hint="pass allow_unused=True to receive None for them.")
        )
    return results


def backward(outputs: Tensor, gradient: Any = None, create_graph: bool = False) -> None:
    """Add the gradient of ``outputs`` to the ``.grad`` of every leaf it depends on."""

    def deposit(node: Node, arrived: Tensor, own: bool) -> None:
        leaf = node.tensor() if node.tensor is not None else None
        if leaf is None:
            return
        if leaf.grad is not None:
            leaf.grad = leaf.grad + arrived
        elif create_graph or (own and arrived.data.strides == leaf.data.strides):
            leaf.grad = arrived
        elif arrived.data.strides == leaf.data.strides:
            leaf.grad = Tensor(arrived.data.copy("K"))  # as a gradient may share its memory
        else:  # in the leaf's own layout
            copy = xp_of(arrived.data).empty_like(leaf.data)
            copy[...] = arrived.data
            leaf.grad = Tensor(copy)

    _walk([_start(outputs, gradient)], None, create_graph, deposit)


def _starts(outputs: Tensor | Sequence[Tensor], grad_outputs: Any) -> list[tuple[Node, Tensor]]:
    """Pair each output's Node with the gradient that the walk starts from."""
    ends = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    weights = (
        [None] * len(ends)
        if grad_outputs is None
        else list(grad_outputs)
        if isinstance(grad_outputs, (list, tuple))
        else [grad_outputs]
    )
    if len(weights) != len(ends):
        raise GradientError(
            f"grad: received {len(ends)} outputs and {len(weights)} grad_outputs"
        )
    return [_start(y, weight) for y, weight in zip(ends, weights, strict=True)]


def _start(y: Tensor, weight: Any) -> tuple[Node, Tensor]:
    if y.node is None:
        raise GradientError(
            message("backward: this output does not depend on anything that requires a gradient",
                    hint="make an input with requires_grad=True, outside no_grad.")
        )
    if weight is None and y.size != 1:
        raise GradientError(
            message(f"backward: the output has shape {y.shape}, so its gradient is not one number",
                    hint="reduce it (.sum() or .mean()) or pass the weights of its elements "
                    "as `gradient` (or `grad_outputs`).")
        )
    start = Tensor(xp_of(y.data).ones_like(y.data)) if weight is None else as_tensor(weight)
    if start.data.shape != y.data.shape:
        raise ShapeError(
            message("backward: a gradient must have the shape of its output",
                    f"the output has shape {y.shape}, the gradient {start.shape}")
        )
    if start.data.dtype != y.data.dtype:
        return y.node, start.astype(y.dtype)
    return y.node, Tensor(start.data, start.node)  # this walk's own: ops may know a walk by it


def _paths_to(targets: set[Node], roots: list[Node]) -> set[Node]:
    """Find the Nodes on a path from a root to a target: the only ones worth visiting."""
    seen, pending = set(roots), list(roots)
    while pending:
        for parent in pending.pop().parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                pending.append(parent)
    useful = set(targets)
    for node in sorted(seen, key=lambda n: n.depth):  # parents before children
        if any(p in useful for p in node.parents):
            useful.add(node)
    return useful


def _walk(
    roots: list[tuple[Node, Tensor]],
    useful: set[Node] | None,
    create_graph: bool,
    visit: Callable[[Node, Tensor, bool], None],
) -> None:
    """Show ``visit`` each useful Node (or leaf) with its whole gradient, deepest Node first.

    And whether that gradient is in an array of its own: new, and never seen by a hook. A loop over
    a heap, not a recursion: graphs are deeper than Python's stack.
    """
    arrived: dict[Node, Tensor] = {}
    fresh: set[Node] = set()
    heap: list[tuple[int, int, Node]] = []
    order = itertools.count()
    delivered = roots  # (Node, its gradient or a part of it), to be added to what has arrived
    token = _recording.set(create_graph)
    try:
        while True:
            for node, gradient in delivered:
                if useful is not None and node not in useful:
                    continue
                if node in arrived:
                    arrived[node] = arrived[node] + gradient
                    fresh.add(node)
                else:
                    arrived[node] = gradient
                    heapq.heappush(heap, (-node.depth, next(order), node))
            if not heap:
                return
            node = heapq.heappop(heap)[2]
            gradient = arrived.pop(node)
            own = node in fresh and not node.hooks
            for hook in tuple(node.hooks) if node.hooks else ():
                replacement = hook(gradient)
                gradient = gradient if replacement is None else replacement
            if node.op is None or useful is not None:  # what ``backward`` visits are the leaves
                visit(node, gradient, own)
            delivered = []
            for i, parent in enumerate(node.parents):
                if parent is not None and (useful is None or parent in useful):
                    result = node.vjp(i, gradient)
                    if result is not None:
                        delivered.append((parent, result))
                        if node.op is not None and node.op.fresh:
                            fresh.add(parent)
    finally:
        _recording.reset(token)
