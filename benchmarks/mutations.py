"""Would a test notice? One small fault at a time is planted in a copy of the code.

    python benchmarks/mutations.py                         150 faults, some minutes; a table
    python benchmarks/mutations.py --only models/vae.py --count 20 --seed 3
    python benchmarks/mutations.py --list                  which tests look after which file

A fault that no test notices has *survived*: either a test is missing, or the fault changes nothing
that anyone could see (the bound of a loop that is left before it, a choice of speed). A person has
to say which. Faults are made on the syntax tree, one each:

    an operator         + for -, * for /, // for /, < for <=, == for !=, and for or, in for not in
    a sign, a not       -x becomes x, not x becomes x
    a number            one more, one less; a float twice, half; True becomes False
    a keyword           f(x, stride=2) becomes f(x)
    a call              F.relu(x) becomes x; a line that only calls something is left out
    a choice            a if c else b becomes b if c else a

Annotations, messages of errors and docstrings are left alone. The tree that is worked on is never
touched: its folders are copied, the tests of the copy must pass, and only then is it mutated. A
fault on which the tests run longer than the limit is either an endless loop, or one that none of
the quick tests notices, on a busy machine: it is counted apart.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
LATE = "the limit of"
COPIED = ("minidl", "models", "kernels", "examples", "tests", "pyproject.toml")

LAWS = ("tests/test_by_hand.py", "tests/laws/test_adjoints.py", "tests/laws/test_definitions.py",
        "tests/laws/test_shapes_and_dtypes.py", "tests/test_functional.py",
        "tests/laws/test_pytorch.py", "tests/laws/test_gradients.py")

LOOKED_AFTER: dict[str, tuple[str, ...]] = {
    "minidl/functional/likelihood.py": (*LAWS, "tests/test_models.py"),
    "minidl/functional/index.py": (*LAWS, "tests/test_autograd.py"),
    "minidl/functional/*.py": LAWS,
    "minidl/optim/*.py": ("tests/test_by_hand.py", "tests/test_optim.py"),
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
"""The tests that should notice a fault in a file, the quickest first; the first pattern counts."""

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
}
WORDS_ONLY = {"message", "warn", "cast", "TypeVar", "NamedTuple"}
"""Calls whose arguments are words for people, or types."""


class Mutation(NamedTuple):
    """A fault: what stands at a place of a file, and what is put there instead."""

    file: str
    line: int
    start: int
    end: int
    before: str
    after: str

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
    found = []
    for node in _code(ast.parse(source)):
        start = offsets[node.lineno - 1] + node.col_offset
        end = offsets[node.end_lineno - 1] + node.end_col_offset
        before = source[start:end].decode()
        for changed in _faults(node):
            statement = isinstance(changed, ast.stmt)
            after = ast.unparse(changed) if statement else f"({ast.unparse(changed)})"
            found.append(Mutation(file, node.lineno, start, end, before, after))
    return found


def _code(node: ast.AST) -> Iterator[Any]:
    """The nodes that compute: neither types, nor words, nor pieces of f-strings."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Call) and _name(node.func) in WORDS_ONLY:
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
            if keyword.arg:
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


def run_tests(tree: Path, tests: tuple[str, ...], limit: float, keep_bytecode: bool = False) -> str:
    """Run tests of a copy: "" if all passed, otherwise the first that failed."""
    quiet = {} if keep_bytecode else {"PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **quiet, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "--no-header", "--tb=no",
               "-rfE", "-m", "not slow and not gpu", "-p", "no:cacheprovider", *tests]
    with subprocess.Popen(command, cwd=tree, env=environment, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True) as running:
        try:
            printed, _ = running.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
            return f"{LATE} {limit:g} s"
    if running.returncode == 0:
        return ""
    named = [line.partition(" ")[2].partition(" - ")[0] for line in printed.splitlines()
             if line.startswith(("FAILED", "ERROR"))]
    return named[0] if named else "an error before any test"


def copied(tree: Path) -> None:
    """Copy what the tests need, and compile it: only a mutated file is compiled again."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name,
                            ignore=shutil.ignore_patterns("__pycache__", "*.tmp"))
        else:
            shutil.copy2(ROOT / name, tree / name)
    compileall.compile_dir(str(tree), quiet=2)


def chosen(only: list[str], count: int, seed: int) -> list[Mutation]:
    """Draw ``count`` faults of the files asked for, each as likely as any other."""
    files = [f for f in sources() if not only or any(fnmatch(f, pattern) for pattern in only)]
    every = [m for f in files for m in mutations(f, (ROOT / f).read_bytes())]
    return sorted(random.Random(seed).sample(every, min(count, len(every))))


def main(arguments: list[str] | None = None) -> int:
    """Plant the faults one after the other, print what became of each, and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="*", default=[], help="patterns of files")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=120, help="seconds for one fault")
    parser.add_argument("--list", action="store_true", help="print the files and their tests")
    args = parser.parse_args(arguments)
    if args.list:
        for file in sources():
            print(f"{file:45} {' '.join(tests_of(file))}")
        return 0
    drawn, ends = chosen(args.only, args.count, args.seed), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="minidl-mutations-") as folder:
        tree = Path(folder)
        copied(tree)
        for tests in sorted({tests_of(m.file) for m in drawn}):
            if failed := run_tests(tree, tests, 10 * args.limit, keep_bytecode=True):
                print(f"without any fault, the copy already fails {failed}", file=sys.stderr)
                return 1
        for mutation in drawn:
            path = tree / mutation.file
            source = path.read_bytes()
            path.write_bytes(mutation.applied(source))
            by = run_tests(tree, tests_of(mutation.file), args.limit)
            path.write_bytes(source)
            end = "SURVIVED" if not by else "stopped by" if by.startswith(LATE) else "killed by"
            ends[end] += 1
            print(f"{mutation.file}:{mutation.line}  {mutation}  {end} {by}", flush=True)
    print(", ".join(f"{count} {end}" for end, count in ends.most_common()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
