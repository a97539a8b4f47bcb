"""The source with every line coloured by its excess traffic, as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from math import log2

from minidl.commands.kernels import drawing
from minidl.commands.kernels.lines import Line, lines_of, text_of
from minidl.commands.kernels.record import Explanation
from minidl.cuda.emulator.trace import Traffic

AROUND = 3
"""Lines shown before and after one with traffic; longer stretches without are folded."""

_WORDS = re.compile(
    r"(?P<comment>//.*)"
    r"|(?P<cuda>\b(?:__\w+|threadIdx|blockIdx|blockDim|gridDim|warpSize)\b)"
    r"|(?P<keyword>\b(?:const|constexpr|int|int64|unsigned|real|float|double|bool|void|if|else|for"
    r"|while|return|continue|break|template|class|struct|typename|typedef|inline|static|extern"
    r"|auto|true|false)\b|#\w+)"
)


def heat(excess: float) -> int:
    """The colour of a line: 0 for ideal traffic, to 5 for eight times as much and more.

    Examples
    --------
    >>> [heat(x) for x in (1, 1.1, 2, 4, 8, 32)]
    [0, 1, 2, 3, 4, 5]
    """
    if excess < 1.02:
        return 0
    return 1 if excess <= 1.5 else min(5, max(2, 1 + int(-(-log2(excess) // 1))))


def anchor(line: Line) -> str:
    """The name by which a line is linked to."""
    return f"{line.file}-{line.number}"


def source(found: Explanation) -> str:
    """The text of every file with traffic, the kernels' own first."""
    lines = lines_of(found)
    path = found.launches[-1].kernel.source.path
    names = dict.fromkeys([path.name, *(line.file for line in lines)])
    parts = []
    for name in names:
        hot = {line.number: line for line in lines if line.file == name}
        shown = _shown(found, name, set(hot))
        body = "".join(_rows(text_of(name, path), hot, shown))
        parts.append(
            f'<h3><code>{html.escape(name)}</code></h3>'
            '<div class="code" tabindex="0" role="region" '
            f'aria-label="{html.escape(name)}"><div class="rows">{body}</div></div>'
        )
    return "".join(parts)


def _shown(found: Explanation, name: str, hot: set[int]) -> set[int]:
    """The lines not folded: those with traffic, those around them, and the kernels' heads."""
    heads = {
        launch.kernel.line for launch in found.launches if launch.kernel.source.name == name
    }
    return {n + d for n in hot | heads for d in range(-AROUND, AROUND + 1)}


def _rows(text: list[str], hot: dict[int, Line], shown: set[int]) -> Iterator[str]:
    number, last = 1, len(text)
    while number <= last:
        end = number
        while end <= last and (end in shown) == (number in shown):
            end += 1
        rows = "".join(_row(n, text[n - 1], hot.get(n)) for n in range(number, end))
        if number in shown or end - number < AROUND:
            yield rows
        else:
            yield (
                f'<details class="fold"><summary><span>lines {number} to {end - 1}</span></summary>'
                f"{rows}</details>"
            )
        number = end


def _row(number: int, text: str, line: Line | None) -> str:
    code = f'<span class="n">{number}</span>'
    if line is None:
        return f'<div class="row">{code}<span></span><code>{_coloured(text)}</code></div>'
    told = "; ".join(_told(t) for t in line.traffic)
    return (
        f'<details class="hot" id="{anchor(line)}"><summary class="row h{heat(line.excess)}" '
        f'title="{html.escape(told)}">{code}<span class="x">×{line.excess:.3g}</span>'
        f"<code>{_coloured(text)}</code></summary>"
        f'<div class="numbers">{"".join(_numbers(t) for t in line.traffic)}</div></details>'
    )


def _told(t: Traffic) -> str:
    unit = "sectors" if t.space == "global" else "wavefronts"
    return (
        f"{t.space} {t.access} of {t.size} bytes: {t.moved_each:.2f} {unit} per request, "
        f"{t.ideal_each:.2f} ideal"
    )


def _numbers(t: Traffic) -> str:
    return (
        f'<div class="access"><p>{_told(t)}, {t.requests:,} requests</p>'
        f"{drawing.request(t.moved_each, t.ideal_each)}</div>"
    )


def _coloured(text: str) -> str:
    lay, at = [], 0
    for found in _WORDS.finditer(text):
        lay.append(html.escape(text[at : found.start()]))
        lay.append(f'<span class="{found.lastgroup}">{html.escape(found[0])}</span>')
        at = found.end()
    return "".join([*lay, html.escape(text[at:])]) or " "
