"""A pickle read as data, by a machine that can build plain values and nothing else.

A pickle is a program: each opcode pushes a value on a stack, or makes one of the
values on top. Two opcodes give it the power to do anything: GLOBAL fetches whatever
Python object it names, REDUCE calls it. Here a name is looked up in a short list
of our own, ``vocabulary.NAMES``, and nothing is ever imported.

    GLOBAL 'collections OrderedDict'   | OrderedDict
    EMPTY_TUPLE                        | OrderedDict ()
    REDUCE                             | {}
    BINUNICODE 'weight'                | {} 'weight'
    ...                                | {} 'weight' tensor
    SETITEM                            | {'weight': tensor}

What is not on the list of opcodes is refused before its argument is read. No
opcode copies a value, so the time and the memory are bounded by the number of
opcodes; the memo, too. What remains possible are values that contain one another
many times over, and the last step, ``plain``, counts these.

Source: the comments of Python's own ``pickletools``.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from typing import Any

from minidl.files.torch_files.mending import of_name
from minidl.files.torch_files.refusal import refuse
from minidl.files.torch_files.tensors import Storages, View
from minidl.files.torch_files.vocabulary import NAMES, Callee, check_key

MAX_OPCODES = 1_000_000
"""Most opcodes that a pickle may have."""

MAX_STACK = 200_000
"""Most values on the stack. A tuple's are all there at once; a list's and a dict's, a thousand."""

MAX_CONTAINERS = 200_000
"""Most lists, dicts and sets that a pickle may make."""

MAX_TENSORS = 50_000
"""Most tensors that a pickle may make."""

MAX_COPIED = 16 * 2**20
"""Most bytes that are made of strings."""

MAX_BITS = 128
"""Longest integer, in bits. The longest that PyTorch writes has 77."""

MAX_NAME = 200
"""Longest name of a module, and of what it holds, in bytes."""

_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
"""Python's descriptions of all opcodes, by their byte."""

Handler = Callable[["Machine", Any], None]
"""The effect of an opcode on a machine, given the opcode's argument."""


class Machine:
    """An interpreter of one pickle.

    Parameters
    ----------
    data : bytes
        The pickle, and what follows it.
    storages : Storages
        The collection of what the pickle refers to outside itself.
    """

    def __init__(self, data: bytes, storages: Storages):
        self._stream = io.BytesIO(data)
        self._storages = storages
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._containers = self._tensors = self._copied = 0

    def run(self) -> tuple[Any, int]:
        """Run the pickle; return its value and its size in bytes."""
        for _ in range(MAX_OPCODES):
            code = self._stream.read(1)
            opcode = _OPCODES.get(code)
            if opcode is None:
                refuse("its pickle is truncated" if not code else f"{code!r} is no opcode")
            if opcode.name == "STOP":
                if len(self._stack) != 1 or self._marks:
                    refuse("its pickle ends with something unfinished")
                return self._stack[0], self._stream.tell()
            handler = _HANDLERS.get(opcode.name)
            if handler is None:
                refuse(f"its pickle uses the opcode {opcode.name}, which weights do not need")
            handler(self, self._argument(opcode))
            if len(self._stack) > MAX_STACK:
                refuse(f"its pickle piles up more than {MAX_STACK} values")
        refuse(f"its pickle has more than {MAX_OPCODES} opcodes")

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        if opcode.name == "GLOBAL":  # pickletools would take backslashes for escapes, and warn
            lines = [self._stream.readline(MAX_NAME) for _ in range(2)]
            return b" ".join(line.removesuffix(b"\n") for line in lines).decode("latin-1")
        try:
            return None if opcode.arg is None else opcode.arg.reader(self._stream)
        except ValueError as cause:
            refuse(f"its pickle is truncated or damaged: {cause!s:.200}")

    # --- the stack ---

    def push(self, value: Any) -> None:
        """Put a value on top of the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Take the value on top of the stack."""
        self._top()
        return self._stack.pop()

    def _top(self, kind: type = object) -> Any:
        if not self._stack:
            refuse("its pickle takes from an empty stack")
        if not isinstance(self._stack[-1], kind):
            refuse(f"its pickle takes a {type(self._stack[-1]).__name__} for a {kind.__name__}")
        return self._stack[-1]

    def _since_mark(self) -> list[Any]:
        if not self._marks:
            refuse("its pickle looks for a mark that is not there")
        mark = self._marks.pop()
        values = self._stack[mark:]
        del self._stack[mark:]
        return values

    # --- numbers and strings ---

    def _integer(self, value: int) -> None:
        if value.bit_length() > MAX_BITS:
            refuse(f"its pickle holds an integer of {value.bit_length()} bits")
        self.push(value)

    # --- containers ---

    def _new(self, container: Any) -> None:
        self._containers += 1
        if self._containers > MAX_CONTAINERS:
            refuse(f"its pickle makes more than {MAX_CONTAINERS} lists, dicts and sets")
        self.push(container)

    def _mark(self, _: None) -> None:
        self._marks.append(len(self._stack))

    def _append(self, _: None) -> None:
        value = self.pop()
        self._top(list).append(value)

    def _appends(self, _: None) -> None:
        values = self._since_mark()
        self._top(list).extend(values)

    def _setitem(self, _: None) -> None:
        value = self.pop()
        self._set([self.pop(), value])

    def _setitems(self, _: None) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        target = self._top(dict)
        if len(items) % 2:
            refuse("its pickle gives a dict a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[check_key(key, len(target))] = value

    def _add(self, _: None) -> None:
        members = self._since_mark()
        target = self._top(set)
        for member in members:
            target.add(check_key(member, len(target)))

    def _tuple(self, _: None) -> None:
        self.push(tuple(self._since_mark()))

    def _tuple_of(self, count: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(count)])))

    # --- the memo: values that are used again ---

    def _put(self, number: int) -> None:
        self._memo[number] = self._top()

    def _get(self, number: int) -> None:
        if number not in self._memo:
            refuse(f"its pickle uses the value {number}, which it has not made")
        self.push(self._memo[number])

    # --- names and calls ---

    def _global(self, name: str) -> None:
        known = NAMES.get(name)
        if known is None:
            refuse(*of_name(name))
        self.push(known)

    def _stack_global(self, _: None) -> None:
        name = self._top(str)
        self.pop()
        module = self._top(str)
        self.pop()
        self._global(f"{module} {name}")

    def _reduce(self, _: None) -> None:
        arguments = self._top(tuple)
        self.pop()
        callee = self._top(Callee)
        self.pop()
        made = callee.call(arguments)
        match made:
            case View():
                self._tensors += 1
                if self._tensors > MAX_TENSORS:
                    refuse(f"its pickle makes more than {MAX_TENSORS} tensors")
            case dict() | set():
                self._new(made)
                return
            case bytes():
                self._copied += len(made)
                if self._copied > MAX_COPIED:
                    refuse(f"its pickle makes more than {MAX_COPIED} bytes out of strings")
        self.push(made)

    def _build(self, _: None) -> None:
        """Drop the attributes of the value on top, which can do without them."""
        self.pop()
        if not isinstance(self._top(), dict | View):
            refuse(f"its pickle gives attributes to a {type(self._top()).__name__}")

    def _persistent(self, _: None) -> None:
        self.push(self._storages.named(self.pop()))


_HANDLERS: dict[str, Handler] = {
    "PROTO": lambda machine, version: None,
    "FRAME": lambda machine, size: None,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1"), Machine._integer),
    **dict.fromkeys(
        # Python 2, which made the older weight files, wrote strings as BINSTRING.
        ("BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING",
         "BINBYTES", "SHORT_BINBYTES"),
        Machine.push,
    ),
    "MARK": Machine._mark,
    "EMPTY_LIST": lambda machine, _: machine._new([]),
    "APPEND": Machine._append,
    "APPENDS": Machine._appends,
    "EMPTY_DICT": lambda machine, _: machine._new({}),
    "EMPTY_SET": lambda machine, _: machine._new(set()),
    "ADDITEMS": Machine._add,
    "SETITEM": Machine._setitem,
    "SETITEMS": Machine._setitems,
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": Machine._tuple,
    "TUPLE1": lambda machine, _: machine._tuple_of(1),
    "TUPLE2": lambda machine, _: machine._tuple_of(2),
    "TUPLE3": lambda machine, _: machine._tuple_of(3),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), Machine._put),
    "MEMOIZE": lambda machine, _: machine._put(len(machine._memo)),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), Machine._get),
    "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global,
    "REDUCE": Machine._reduce,
    "BUILD": Machine._build,
    "BINPERSID": Machine._persistent,
}
