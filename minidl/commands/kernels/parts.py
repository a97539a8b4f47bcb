"""The few shapes that the page is made of: sections, figures, tables, bars of two parts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def section(title: str, *parts: str) -> str:
    """A headed section; the parts are HTML."""
    return f"<section><h2>{html.escape(title)}</h2>{''.join(parts)}</section>"


def prose(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    opening = f'<p class="{kind}">' if kind else "<p>"
    return f"{opening}{html.escape(text)}</p>"


def figure(picture: str, caption: str) -> str:
    """A picture, which is HTML, and what it shows."""
    return f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are HTML."""

    def line(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    inside = f"<thead>{line(head, 'th')}</thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{inside}</table></div>'


def bar(label: str, moved: float, ideal: float, units: str) -> str:
    """What is moved, as a bar of full width: what is needed, and what is more."""
    told = f"{moved:,.0f} {units}, ×{moved / ideal:.3g} of ideal"
    return (
        f'<div class="bar"><span class="label">{label}</span>{_track(moved, ideal, moved)}'
        f'<span class="told">{told}</span></div>'
    )


def small_bar(moved: float, ideal: float, most: float) -> str:
    """A number and its bar, whose width is its share of ``most``."""
    if not moved:
        return '<span class="soft">none</span>'
    return f'<div class="small"><b>{moved:.3g}</b>{_track(moved, ideal, most)}</div>'


def _track(moved: float, ideal: float, most: float) -> str:
    quiet, warm = 100 * min(ideal, moved) / most, 100 * max(moved - ideal, 0) / most
    return (
        f'<span class="track"><i class="quiet" style="width:{quiet:.2f}%"></i>'
        f'<i class="excess" style="width:{warm:.2f}%"></i></span>'
    )


def count(n: int, thing: str, plural: str = "s") -> str:
    """A number and what it counts, in the plural where it must be.

    >>> count(1, "block"), count(2048, "launch", "es")
    ('1 block', '2,048 launches')
    """
    return f"{n:,} {thing}{'' if n == 1 else plural}"
