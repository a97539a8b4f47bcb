"""The explanation as a page: one HTML file that needs nothing beside it, and no script."""

from __future__ import annotations

import html
from importlib.resources import files
from math import prod

from minidl.commands.kernels import drawing
from minidl.commands.kernels.header import changes, header_of, idea, paragraphs, path_of
from minidl.commands.kernels.lines import Line, lines_of
from minidl.commands.kernels.occupancy import SOURCE, Occupancy
from minidl.commands.kernels.parts import bar, count, figure, prose, section, small_bar, table
from minidl.commands.kernels.record import NEEDS, Compared, Explanation, call_text, needs_row, total
from minidl.commands.kernels.source_page import anchor, heat, source

UNITS = {"global": "sectors of 32 bytes", "shared": "wavefronts"}
"""What is counted in global and in shared memory."""


def page(found: Explanation) -> str:
    """The whole document."""
    sections = [_head(found), _launch(found), _traffic(found), _needs(found)]
    if found.ladder:
        sections.append(_ladder(found))
    sections += [_source(found), _foot()]
    title = html.escape(found.rung.name)
    css = files("minidl.commands.kernels").joinpath("page.css").read_text("utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{css}</style></head><body>"
        f"<main>{''.join(sections)}</main></body></html>\n"
    )


def _head(found: Explanation) -> str:
    header = header_of(path_of(found.rung))
    rest = paragraphs(header.about)
    start = next((i for i, (kind, _) in enumerate(rest) if kind == "prose"), len(rest))
    formula, rest = "\n\n".join(text for _, text in rest[:start]), rest[start:]
    changed = changes(launch.kernel for launch in found.launches)
    parts = [
        f'<p class="over">{html.escape(path_of(found.rung).name)}, {html.escape(header.title)}</p>',
        f"<h1>{html.escape(found.rung.name)}</h1>",
        prose(f"{idea(found.rung)}.", "idea"),
        f'<pre class="formula">{html.escape(_unindented(formula))}</pre>',
    ]
    if changed:
        parts.append(prose(f"Against the rung below: {changed}"))
    more = [
        f'<pre class="formula">{html.escape(_unindented(text))}</pre>'
        if kind == "formula" else prose(text) for kind, text in rest
    ]
    parts.append(
        '<details class="more"><summary>The letters, and the thinking behind '
        f"{path_of(found.rung).name}</summary>{''.join(more)}</details>"
    )
    return f"<header>{''.join(parts)}</header>"


def _unindented(text: str) -> str:
    return "\n".join(line[4:] for line in text.splitlines())


# --- the launch ---


def _launch(found: Explanation) -> str:
    parts = [prose(f"{call_text(found)}, makes {count(len(found.launches), 'launch', 'es')}.")]
    for launch, who in zip(found.launches, found.owners, strict=True):
        blocks, threads = prod(launch.grid), prod(launch.block)
        tile = int((who.owner == 0).sum())
        figures = [
            figure(
                drawing.grid(launch),
                f"The grid: {count(blocks, 'block')}" + _rest(blocks, drawing.SHOWN),
            ),
            figure(
                drawing.block(launch),
                f"A block: {threads} threads. A row is a warp, whose 32 threads go in step.",
            ),
            figure(
                drawing.written(who),
                f"{who.array}, {who.shape}, as it lies in memory, by who writes it. "
                f"Block 0 writes {tile:,} of {who.owner.size:,} elements"
                + ("." if who.blocks == blocks else f"; blocks from {who.blocks} on are left out."),
            ),
        ]
        for need in found.needs.get(launch.kernel.name, ()):
            if need.real in (launch.real, "any") and need.occupancy:
                figures.append(_fits(found, need.occupancy))
        shared = f", {launch.shared:,} bytes of dynamic shared memory" if launch.shared else ""
        parts.append(
            f"<h3><code>{launch.kernel.name}</code> <span>grid {launch.grid}, block "
            f'{launch.block}{shared}</span></h3><div class="figures">{"".join(figures)}</div>'
        )
    return section("The launch", *parts)


def _fits(found: Explanation, fits: Occupancy) -> str:
    return figure(
        drawing.multiprocessor(fits),
        f"A multiprocessor ({found.arch}) holds {count(fits.blocks, 'block')} at a time, "
        f"{fits.share:.0%} of its places for warps. Limit: {fits.limited_by}.",
    )


def _rest(count: int, shown: int) -> str:
    return f", of which {shown} are drawn." if count > shown else "."


# --- traffic in all ---


def _traffic(found: Explanation) -> str:
    bars = []
    for kernel, traffic in found.traffic.items():
        for space, units in UNITS.items():
            moved, ideal = total(traffic, space)
            if ideal:
                label = f"<code>{kernel}</code> {space} memory"
                bars.append(bar(label, moved, ideal, units))
    worst = sorted(lines_of(found), key=_waste, reverse=True)[:6]
    rows = [
        f'<li><a href="#{anchor(line)}"><span class="chip h{heat(line.excess)}">×{line.excess:.3g}'
        f"</span> <code>{html.escape(line.text.strip())}</code></a>"
        f'<span class="soft">{html.escape(line.place)}</span></li>'
        for line in worst if _waste(line) > 0
    ]
    told = (
        "A warp asks for memory once for its 32 threads. Global memory answers in sectors of 32 "
        "bytes, shared memory in wavefronts that meet each of its 32 banks once. Quiet is what "
        "any order of threads would need, warm is what comes on top."
    )
    lines = prose("Every access moves what it needs and no more.")
    if rows:
        lines = f'<h3>Where most is moved in vain</h3><ol class="worst">{"".join(rows)}</ol>'
    return section("Traffic", prose(told), f'<div class="bars">{"".join(bars)}</div>', lines)


def _waste(line: Line) -> float:
    return sum(t.moved - t.ideal for t in line.traffic)


# --- what it needs, and the ladder ---


def _needs(found: Explanation) -> str:
    title = f"Compiled for {found.arch}"
    if found.not_compiled:
        return section(title, f"<pre>{html.escape(found.not_compiled)}</pre>")
    rows = [
        [f"<code>{cell}</code>" if i == 0 else html.escape(cell)
         for i, cell in enumerate(needs_row(name, need))]
        for name, needs in found.needs.items() for need in needs
    ]
    told = (
        "Registers per thread, bytes spilled per thread, bytes of static shared memory per block, "
        f"and the blocks and warps that a multiprocessor holds at a time. Limits: {SOURCE}."
    )
    return section(title, table(NEEDS, rows), prose(told, "soft"))


def _ladder(found: Explanation) -> str:
    most = max((row.sectors for row in found.ladder), default=1) or 1
    deepest = max((row.wavefronts for row in found.ladder), default=1) or 1
    rows = [_step(found, row, most, deepest) for row in found.ladder]
    head = ["rung", "global: sectors per result", "shared: wavefronts per result", "registers"]
    told = "Every rung of the ladder that fits, on the same call. " + (
        "Counts are per element of the result; the warm part is more than the ideal."
    )
    return section("The ladder", prose(told), table(head, rows))


def _step(found: Explanation, row: Compared, most: float, deepest: float) -> list[str]:
    here = " class=here" if row.rung is found.rung else ""
    name = row.rung.name.removeprefix(f"{row.rung.op}_")
    label = f"<div{here}><code>{name}</code><small>{html.escape(idea(row.rung))}</small></div>"
    if row.why_not:
        return [label, f'<span class="soft">{html.escape(row.why_not)}</span>', "", ""]
    registers = "" if row.registers is None else str(row.registers)
    return [
        label,
        small_bar(row.sectors, row.ideal, most),
        small_bar(row.wavefronts, row.best, deepest),
        registers,
    ]


def _source(found: Explanation) -> str:
    told = (
        "Lines that touch memory carry the factor by which they move more than they need. Open one "
        "to see its requests."
    )
    names = ("ideal", "up to ×1.5", "×2", "×4", "×8", "beyond")
    legend = "".join(f'<span class="chip h{n}">{name}</span>' for n, name in enumerate(names))
    return section("The source", prose(told), f'<p class="legend">{legend}</p>', source(found))


def _foot() -> str:
    told = (
        "Made by minidl kernels explain, on a CPU: the accesses are those of the CUDA source "
        "itself, run by minidl's emulator. Caches are not imitated, and nothing here is a time."
    )
    return f"<footer>{prose(told)}</footer>"
