"""Would a test notice? One small fault at a time is planted in a copy of the code.

    python benchmarks/mutations.py                         150 faults, many minutes; a table
    python benchmarks/mutations.py --only models/vae.py --count 20 --seed 3
    python benchmarks/mutations.py --list                  which tests look after which file
    python benchmarks/mutations.py --json FILE             go on with FILE: what it says was killed
                                                           is not run again, all else in it is

A fault that no test notices has *survived*: either a test is missing, or the fault changes nothing
that anyone could see (the bound of a loop that is left before it, a choice of speed). A person has
to say which: `equivalents.json` has the faults that change nothing, each with the reason. Faults
are made on the syntax tree, one each:

    an operator         + for -, * for /, // for /, < for <=, == for !=, and for or, in for not in
    a sign, a not       -x becomes x, not x becomes x
    a number            one more, one less; a float twice, half; True becomes False
    a keyword           f(x, stride=2) becomes f(x)
    a call              F.relu(x) becomes x; a line that only calls something is left out
    a choice            a if c else b becomes b if c else a

Annotations, messages of errors, docstrings, assertions and a zip's ``strict`` are left alone. The
tree that is worked on is never touched: its folders are copied, and the copy is mutated. Tests that
fail without a fault are named and left out.

Time is the processor's, so that a busy machine changes no verdict. Tests that take more than three
times what they take without the fault, and ten seconds, are run once more with twice the limit. If
they are late again, in the same test, the fault is an endless loop; in another, it is undecided.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import copy
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
WAITS = 6
"""How much longer than its time of the processor tests may take by the clock."""
COPIED = ("minidl", "models", "kernels", "examples", "tests", "pyproject.toml")
MEMORY = 8 * 2**30
"""The most bytes of addresses that the tests may have."""

LAWS = (
    "tests/test_by_hand.py tests/laws/test_adjoints.py tests/test_functional.py "
    "tests/test_habits.py tests/laws/test_pytorch.py tests/laws/test_definitions.py "
    "tests/laws/test_shapes_and_dtypes.py",
    "tests/laws/test_gradients.py",
)

LOOKED_AFTER: dict[str, tuple[str, ...]] = {
    "minidl/functional/likelihood.py": (*LAWS, "tests/test_models.py"),
    "minidl/functional/index.py": (*LAWS, "tests/test_autograd.py"),
    "minidl/functional/*.py": LAWS,
    "minidl/compute/fast/blocks.py": ("tests/test_memory.py",),
    "minidl/optim/*.py": ("tests/test_by_hand.py tests/test_optim.py tests/test_lbfgs.py",),
    "models/autoencoder.py": ("tests/test_models.py",),
    "models/vae.py": ("tests/test_models.py",),
    "models/chairs.py": ("tests/test_chairs.py",),
    "models/crn.py": ("tests/test_crn.py",),
    "models/deepsim.py": ("tests/test_deepsim.py",),
    "models/johnson.py": ("tests/test_johnson.py",),
    "models/masci.py": ("tests/test_masci.py",),
    "models/unet.py": ("tests/test_unet.py",),
    "models/garg*.py": ("tests/test_garg.py",),
    "models/vgg.py": ("tests/test_vgg_resnet.py", "tests/test_perceptual.py"),
    "models/resnet.py": ("tests/test_vgg_resnet.py",),
    "models/width.py": ("tests/test_segmentation_models.py", "tests/test_deepsim.py"),
    "models/fcn.py": ("tests/test_segmentation_models.py",),
    "models/segnet.py": ("tests/test_segmentation_models.py",),
    "models/deconvnet.py": ("tests/test_segmentation_models.py",),
    "models/srcnn.py": ("tests/test_superres_models.py", "tests/test_restoration.py"),
    "models/vdsr.py": ("tests/test_superres_models.py", "tests/test_restoration.py"),
    "models/rednet.py": ("tests/test_superres_models.py",),
    "minidl/tasks/depth/*.py": ("tests/test_depth.py",),
    "minidl/tasks/weight_files.py": ("tests/test_weight_files.py",),
    "minidl/tasks/perceptual/features.py": ("tests/test_weight_files.py",
                                            "tests/test_perceptual.py", "tests/test_gatys.py"),
    "minidl/tasks/perceptual/stylise.py": ("tests/test_gatys.py",),
    "minidl/tasks/perceptual/fast_style.py": ("tests/test_johnson.py",),
    "minidl/tasks/perceptual/photographs.py": ("tests/test_photographs.py",
                                               "tests/test_perceptual.py"),
    "minidl/tasks/perceptual/*.py": ("tests/test_perceptual.py", "tests/test_johnson.py",
                                     "tests/test_gatys.py"),
    "minidl/tasks/restoration/*.py": ("tests/test_restoration.py", "tests/test_superres_models.py"),
    "minidl/tasks/segmentation/object_crops.py": ("tests/test_object_crops.py",),
    "minidl/tasks/segmentation/tiles.py": ("tests/test_unet.py",),
    "minidl/tasks/segmentation/*.py": ("tests/test_segmentation_parts.py",
                                       "tests/test_segmentation_data.py", "tests/test_unet.py",
                                       "tests/test_object_crops.py"),
    "minidl/tasks/units/masking.py": ("tests/test_unit_masking.py",),
    "minidl/tasks/units/*.py": ("tests/test_zeiler_fergus.py",),
}
"""The tests that should notice a fault in a file, the quickest first; the first pattern counts.

Files of tests in one string are run together.
"""

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
}
WORDS_ONLY = {"message", "warn", "cast", "TypeVar", "NamedTuple"}
"""Calls whose arguments are words for people, or types."""


Key = tuple[str, str, str, int]
"""What a fault is known by while lines above it come and go: file, code, instead, which."""


def key_of(row: dict[str, Any]) -> Key:
    """The key of a fault in a table."""
    return row["file"], row["code"], row["instead"], row.get("which", 0)


EQUIVALENT: dict[Key, str] = {
    key_of(row): row["why"]
    for row in json.loads((Path(__file__).parent / "equivalents.json").read_text())
}
"""Faults that change nothing anyone could see, with the reason."""


class Mutation(NamedTuple):
    """A fault: what stands at a place of a file, and what is put there instead.

    ``start`` and ``end`` count bytes; ``code`` and ``instead`` are the whole lines without and
    with the fault, their spaces made one. ``which`` counts those that say the same in a file.
    """

    file: str
    line: int
    start: int
    end: int
    before: str
    after: str
    code: str
    instead: str
    which: int

    @property
    def key(self) -> Key:
        return self.file, self.code, self.instead, self.which

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.end :]

    def __str__(self) -> str:
        was, now = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{was[:44]} -> {now[:44]}"


def tests_of(file: str) -> tuple[str, ...]:
    """The test files that look after a source file; none for one without code of its own."""
    fits = (tests for pattern, tests in LOOKED_AFTER.items() if fnmatch(file, pattern))
    return () if file.endswith("__init__.py") else next(fits, ())


def sources(root: Path = ROOT) -> list[str]:
    """All files that can be mutated."""
    found = [p for top in ("minidl", "models") for p in (root / top).rglob("*.py")]
    return sorted(f for p in found if tests_of(f := p.relative_to(root).as_posix()))


def mutations(file: str, source: bytes) -> list[Mutation]:
    """All faults of one file."""
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    found: list[Mutation] = []
    same = Counter[tuple[str, str]]()
    for node in _code(ast.parse(source)):
        start = offsets[node.lineno - 1] + node.col_offset
        end = offsets[node.end_lineno - 1] + node.end_col_offset
        before = source[start:end].decode()
        for changed in _faults(node):
            statement = isinstance(changed, ast.stmt)
            after = ast.unparse(changed) if statement else f"({ast.unparse(changed)})"
            head = source[offsets[node.lineno - 1] : start].decode()
            tail = source[end : offsets[node.end_lineno]].decode()
            code, instead = (" ".join(f"{head}{text}{tail}".split()) for text in (before, after))
            which = same[code, instead]
            same[code, instead] += 1
            found.append(
                Mutation(file, node.lineno, start, end, before, after, code, instead, which)
            )
    return found


def _code(node: ast.AST) -> Iterator[Any]:
    """The nodes that compute: neither types, nor words, nor pieces of f-strings."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Call) and _name(node.func) in WORDS_ONLY:
        return
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return
    if isinstance(node, ast.expr | ast.stmt):
        yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _code(child)


def _name(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def _faults(node: Any) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in OPERATORS:
        yield _with(node, op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        yield _with(node, ops=[OPERATORS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield _with(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield from (ast.Constant(value) for value in _near(node.value))
    elif isinstance(node, ast.Call):
        for k, keyword in enumerate(node.keywords):
            if keyword.arg not in (None, "strict"):
                yield _with(node, keywords=node.keywords[:k] + node.keywords[k + 1 :])
        if len(node.args) == 1 and not node.keywords and not isinstance(node.args[0], ast.Starred):
            yield node.args[0]
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()


def _near(value: bool | int | float) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    return [value * 2, value / 2] if value else [1.0]


def _with(node: Any, **fields: Any) -> Any:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


class Ran(NamedTuple):
    """How tests ended: the test that failed or was late, or ""; seconds of processor."""

    by: str
    seconds: float
    late: bool = False


def run_tests(tree: Path, tests: str, limit: int, keep_bytecode: bool = False) -> Ran:
    """Run tests of a copy until one fails, for at most ``limit`` seconds of processor."""
    quiet = {} if keep_bytecode else {"PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **quiet, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "pytest", "-x", "-vv", "-n", "0", "--no-header", "--tb=no",
               "-rfE", "-m", "not slow and not gpu", "-p", "no:cacheprovider", *tests.split()]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        command, cwd=tree, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
        preexec_fn=partial(_bounded, limit),
    ) as running:
        try:
            printed, _ = running.communicate(timeout=WAITS * limit)
        except subprocess.TimeoutExpired:  # it waits for something, and computes nothing
            os.killpg(running.pid, signal.SIGKILL)
            printed, _ = running.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if running.returncode == 0:
        return Ran("", seconds)
    lines = printed.splitlines()
    if running.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        begun = [line.split()[0] for line in lines if "::" in line]
        return Ran(begun[-1] if begun else f"{tests}, before any test", seconds, late=True)
    failed = [line.partition(" ")[2].partition(" - ")[0] for line in lines
              if line.startswith(("FAILED", "ERROR"))]
    return Ran(failed[0] if failed else f"{tests}, before any test", seconds)


def _bounded(seconds: int) -> None:
    """Bound the time of the processor, and the memory: a fault may lie in a size."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def fate(tree: Path, tests: dict[str, float]) -> tuple[str, str]:
    """What becomes of the fault in a copy, and which test says so.

    ``tests`` has the seconds that each of them takes without a fault.
    """
    for file, usual in tests.items():
        limit = int(3 * usual + 10)
        ran = run_tests(tree, file, limit)
        if ran.late:
            again = run_tests(tree, file, 2 * limit)
            if again.late:
                return ("endless" if again.by == ran.by else "undecided"), again.by
            ran = again
        if ran.by:
            return "killed", ran.by
    return "survived", ""


def copied(tree: Path) -> None:
    """Copy what the tests need, and compile it: only a mutated file is compiled again."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name,
                            ignore=shutil.ignore_patterns("__pycache__", "*.tmp"))
        else:
            shutil.copy2(ROOT / name, tree / name)
    compileall.compile_dir(str(tree), quiet=2)


def chosen(root: Path, only: list[str], count: int, seed: int) -> list[Mutation]:
    """Draw ``count`` faults of the files asked for, each as likely as any other."""
    every = [m for m in _all(root) if not only or any(fnmatch(m.file, p) for p in only)]
    return random.Random(seed).sample(every, min(count, len(every)))


def _all(root: Path) -> list[Mutation]:
    return [m for file in sources(root) for m in mutations(file, (root / file).read_bytes())]


class Table:
    """What became of the faults so far, kept in a JSON file (or nowhere)."""

    def __init__(self, path: Path | None):
        self.path = path
        self.rows: dict[Key, dict[str, Any]] = {}
        if path and path.exists():
            rows = json.loads(path.read_text())["faults"]
            self.rows = {key_of(row): row for row in rows}

    def add(self, mutation: Mutation, end: str, by: str) -> None:
        self.rows[mutation.key] = {
            "file": mutation.file, "line": mutation.line, "code": mutation.code,
            "instead": mutation.instead, "which": mutation.which, "end": end, "by": by,
        }
        if self.path:
            self.path.write_text(json.dumps(self.summary(), indent=1, ensure_ascii=False) + "\n")

    def summary(self) -> dict[str, Any]:
        rows = sorted(self.rows.values(), key=lambda row: (row["file"], row["line"]))
        rooms: dict[str, Counter[str]] = {}
        for row in rows:
            parts = Path(row["file"]).parts
            room = parts[1] if parts[0] == "minidl" else parts[0]
            rooms.setdefault(room, Counter()).update(["planted", row["end"]])
        return {"date": f"{datetime.now(UTC):%Y-%m-%d}", "rooms": rooms, "faults": rows}


def main(arguments: list[str] | None = None) -> int:
    """Plant the faults one after the other, print what became of each, and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="*", default=[], help="patterns of files")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="keep the table in this file, and go on with it")
    parser.add_argument("--list", action="store_true", help="print the files and their tests")
    args = parser.parse_args(arguments)
    if args.list:
        for file in sources():
            print(f"{file:45} {' '.join(tests_of(file))}")
        return 0
    with tempfile.TemporaryDirectory(prefix="minidl-mutations-") as folder:
        tree = Path(folder)
        copied(tree)
        table, drawn = Table(args.json), chosen(tree, args.only, args.count, args.seed)
        there = {m.key: m for m in _all(tree)}
        table.rows = {key: row for key, row in table.rows.items() if key in there}
        left = [there[key] for key, row in table.rows.items()
                if row["end"] not in ("killed", "endless")]
        drawn = left + [m for m in drawn if m.key not in table.rows]
        usual: dict[str, Ran] = {}
        for mutation in drawn:
            for file in tests_of(mutation.file):
                if file not in usual:
                    usual[file] = run_tests(tree, file, 3600, keep_bytecode=True)
                    if usual[file].by:
                        print(f"left out, as it fails without a fault: {usual[file].by}")
            tests = {file: usual[file].seconds for file in tests_of(mutation.file)
                     if not usual[file].by}
            end, by = "equivalent", EQUIVALENT.get(mutation.key, "")
            if not by:
                path = tree / mutation.file
                source = path.read_bytes()
                path.write_bytes(mutation.applied(source))
                end, by = fate(tree, tests)
                path.write_bytes(source)
            table.add(mutation, end, by)
            print(f"{mutation.file}:{mutation.line}  {mutation}  {end}  {by}", flush=True)
    for room, counts in table.summary()["rooms"].items():
        print(f"{room}: " + ", ".join(f"{count} {end}" for end, count in counts.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
