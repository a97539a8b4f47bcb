"""Which kernels of a .cu file can run natively: those whose threads never meet."""

from __future__ import annotations

import re

from minidl.cuda.source import kernel_names, without_comments

_MEETING = re.compile(
    r"\b(__syncthreads\w*|__syncwarp|__shared__|__shfl\w*|__ballot_sync|__a(?:ll|ny)_sync|"
    r"__activemask|__match_\w+|__reduce_\w+_sync|atomic\w+|cooperative_groups|copy_async)\b"
)


def meetings(cuda: str) -> tuple[str, dict[str, str]]:
    """Empty the kernels whose threads meet; return the text and, by their names, what they meet by.

    Lines keep their numbers. What functions outside of kernels meet by has the name ``""``.

    Examples
    --------
    >>> meetings("__global__ void a() { __syncthreads(); }\\n__global__ void b() {}")[1]
    {'a': '__syncthreads'}
    """
    bare, found = without_comments(cuda), {}
    for start, end in kernel_names(bare):
        first = bare.find("{", end)
        last = _closing(bare, first)
        word = _MEETING.search(bare, first, last)
        if first >= 0 and word:
            found[bare[start:end]] = word[1]
            cuda = _blanked(cuda, first + 1, last)
            bare = _blanked(bare, first + 1, last)
    word = _MEETING.search(bare)
    if word:
        found[""] = word[1]
    return cuda, found


def _closing(text: str, opening: int) -> int:
    """The place of the brace that closes the one at ``opening``."""
    depth = 0
    for found in re.compile(r"[{}]").finditer(text, max(opening, 0)):
        depth += 1 if found[0] == "{" else -1
        if not depth:
            return found.start()
    return len(text)


def _blanked(text: str, first: int, last: int) -> str:
    """The text with blanks from ``first`` to ``last``."""
    return text[:first] + re.sub(r"[^\n]", " ", text[first:last]) + text[last:]
