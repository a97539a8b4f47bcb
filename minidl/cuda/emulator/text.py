"""A .cu file as C++ text: what the compiler cannot be told by a header.

Three things are rewritten, each within its line, so that line numbers stay true:

    extern __shared__ T name[];    a pointer to the launch's dynamic shared memory
    __shared__ T name[...];        the same, then a note of where the variable lies
    the end of the file            one function for each kernel, which Python calls
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_DYNAMIC = re.compile(
    r"\bextern\s+__shared__\s+(?:__align__\s*\([^)]*\)\s*)?([\w:\s]+?)\s*(\w+)\s*\[\s*\]\s*;"
)
_STATIC = re.compile(r"\b__shared__\b([^;]*);")


def cpp_text(cuda: str, path: str, kernels: Iterable[str]) -> str:
    """The text that the C++ compiler gets, for a file's text, its path and its kernels.

    Examples
    --------
    >>> print(cpp_text("__shared__ int a[2], b;", "x.cu", ["f"]))
    #line 1 "x.cu"
    __shared__ int a[2], b; MINIDL_SHARED(a) MINIDL_SHARED(b)
    #line 1 "minidl's calls"
    MINIDL_KERNEL(f)
    <BLANKLINE>
    """
    text = _DYNAMIC.sub(r"\1* \2 = minidl_dynamic_shared();", cuda)
    text = _STATIC.sub(_noted, text)
    calls = "".join(f"MINIDL_KERNEL({name})\n" for name in kernels)
    return f'#line 1 "{path}"\n{text}\n#line 1 "minidl\'s calls"\n{calls}'


def dynamic_name(cuda: str) -> str:
    """The name of a file's dynamic shared memory, if it has one name for it.

    Examples
    --------
    >>> dynamic_name("extern __shared__ float tile[];")
    'tile'
    """
    names = {found[2] for found in _DYNAMIC.finditer(cuda)}
    return names.pop() if len(names) == 1 else "dynamic shared memory"


def _noted(declaration: re.Match[str]) -> str:
    notes = "".join(f" MINIDL_SHARED({name})" for name in _declared(declaration[1]))
    return declaration[0] + notes


def _declared(declarators: str) -> list[str]:
    """The names in `real left[Tile<16, 2>::SIZE], right[3]`: the last word before each bracket."""
    outside, depth = "", 0
    for character in declarators:
        depth -= character in "])>"
        outside += character if depth == 0 else ""
        depth += character in "[(<"
    return [re.findall(r"\w+", part)[-1] for part in outside.split(",")]
