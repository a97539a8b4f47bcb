"""The time of every rung of every ladder, for the tables in kernels/*.cu.

    python benchmarks/gpu/ladders.py --write RESULT.json     puts a run's times into the tables
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu import tree
from benchmarks.gpu.report import Rows

ROUNDS = 5


def ladders(rows: Rows) -> None:
    """Time each op on one call that gives a GPU enough to do; its rungs take turns."""
    from minidl.kernels.ladders import LADDERS

    done = rows.done()
    for op, ladder in LADDERS.items():
        if rows.left() < 3:
            rows.add(op, None, "left out: no time")
        elif op not in done:
            with rows.judged(op):
                _op(rows, op, [*ladder])


def case_of(op: str) -> Any:
    """The call that is timed; convolutions get what they are given in a network: channels last."""
    from minidl.commands.kernels import sizing

    sizes = dict(sizing.LARGE[op.split("_")[0]])
    if op.startswith("conv2d"):
        sizes["layout"] = "NHWC"
    return sizing.sized(op, sizes)


def _op(rows: Rows, op: str, rungs: list[Any]) -> None:
    from benchmarks.gpu.timing import Side, burst
    from minidl.commands.kernels import bench
    from minidl.kernels.cases import moved

    case = case_of(op)
    arrays, settings = moved(case.call("float32"), "cuda")
    reasons = {rung.name: rung.why_not(*arrays, **settings) for rung in rungs}
    sides, counts = {}, {}
    for rung in rungs:
        if not reasons[rung.name]:
            sides[rung.name] = side = Side(rung.name, lambda _, f=rung: f(*arrays, **settings))
            burst(side, 1)
            counts[rung.name] = max(1, min(100, int(15 / burst(side, 2))))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            times[name].append(burst(side, counts[name]))
    found = {name: median(each) for name, each in times.items()}
    gpu, today = bench.gpu_name(), date.today()
    timed = [bench.Timed(rung, case, "float32", gpu, found.get(rung.name), reasons[rung.name])
             for rung in rungs]
    told = ", ".join(f"{name} {ms:.3g}" for name, ms in found.items())
    rows.add(op, None, f"ms: {told}", ms=found, why_not={k: v for k, v in reasons.items() if v},
             setting=case.setting, file=bench.path_of(rungs[0]).name, gpu=gpu,
             cells=bench.cells(timed, today))


def tables(rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """The cells of each file's table, by row. Ops that share a row share its cell, in turn."""
    files: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if row["step"] == "ladders" and row.get("cells"):
            for rung, text in row["cells"].items():
                files.setdefault(row["file"], {}).setdefault(rung, []).append(text)
    return {file: {rung: _joined(texts) for rung, texts in cells.items()}
            for file, cells in files.items()}


def _joined(texts: list[str]) -> str:
    """Put the times of several ops into one cell.

    >>> _joined(["9.1 ms, H100, 2026-01-01", "8 ms, H100, 2026-01-01"])
    '9.1, 8 ms, H100, 2026-01-01'
    """
    times = [text.split(" ms, ", 1)[0] for text in texts]
    return f"{', '.join(times)} ms, {texts[0].split(' ms, ', 1)[1]}"


def main() -> None:
    """Write a run's times into the tables of kernels/*.cu."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=Path, required=True, metavar="RESULT.json")
    result = parser.parse_args().write
    tree.use()
    from minidl.commands.kernels.header import write_measured
    from minidl.cuda.source import folder

    for file, cells in tables(json.loads(result.read_text())["rows"]).items():
        write_measured(folder() / file, cells)
        print(f"{file}: {len(cells)} rows")


if __name__ == "__main__":
    main()
