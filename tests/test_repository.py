"""Laws of the repository: what a reader may rely on in every file."""

from __future__ import annotations

import ast
import inspect
import io
import subprocess
import sys
import tokenize
from itertools import pairwise
from pathlib import Path

import pytest

import minidl.functional as F

ROOT = Path(__file__).parent.parent
FOLDERS = ("minidl", "models", "kernels", "examples")
SOURCES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))
IDS = [str(p.relative_to(ROOT)) for p in SOURCES]


def code_lines(path: Path) -> set[int]:
    """The lines that hold code: not blank, not comment, not docstring."""
    text = path.read_text("utf-8")
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
              tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            assert node.end_lineno is not None
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return lines


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_file_can_be_read_in_one_sitting(path):
    assert len(code_lines(path)) <= 300


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_file_says_what_it_is_about(path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_a_files_header_is_no_longer_than_its_code(path):
    header = ast.parse(path.read_text("utf-8")).body[0]
    assert header.end_lineno is not None
    lines = header.end_lineno - header.lineno + 1
    assert lines <= max(len(code_lines(path)), 1)


FRAGMENTS = {"Of", "By", "With", "In", "As", "From", "To", "For", "On", "At", "And", "Called",
             "Given", "Also", "Without", "Beside"}
"""First words of what can only be read with something else in mind."""


def told(tree: ast.Module) -> list[str]:
    """The docstrings of a file's functions, classes, constants and fields."""
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree)
             if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef):
            for assigned, text in pairwise(node.body):
                if isinstance(assigned, ast.Assign | ast.AnnAssign) and isinstance(text, ast.Expr):
                    texts.append(inspect.cleandoc(ast.literal_eval(text.value)))
    return [text for text in texts if text]


@pytest.mark.parametrize("path", [p for p in SOURCES if "examples" not in p.parts])
def test_a_docstrings_first_line_can_be_read_alone(path):
    for text in told(ast.parse(path.read_text("utf-8"))):
        first = text.partition("\n\n")[0]
        word = first.split()[0].strip(",:")
        assert word not in FRAGMENTS and not first.startswith("The same"), first
        assert first.rstrip()[-1] in ".:?", first


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_file_is_named_by_its_concept(path):
    assert path.stem not in {"utils", "helpers", "common", "base", "manager"}


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_product_never_imports_pytorch(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(a.name.split(".")[0] in {"torch", "torchvision"} for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in {"torch", "torchvision"}


def test_importing_minidl_is_silent_and_imports_no_extra():
    program = (
        "import sys, minidl, minidl.nn, minidl.optim, minidl.data, minidl.train, minidl.models.vae;"
        "print([m for m in ('cupy', 'sklearn', 'matplotlib', 'pooch', 'tensorboardX', 'torch')"
        " if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", program],
                         capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "[]", "")


FUNCTIONS = [n for n in dir(F) if inspect.isfunction(getattr(F, n)) and not n.startswith("_")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented(name):
    assert inspect.getdoc(getattr(F, name))


COLLECT = """
import sys
import pytest

def hear(event, args):
    if event == "subprocess.Popen" and "ldconfig" not in str(args[0]):
        print("started:", args[1])
    if event == "ctypes.dlopen" and "nvrtc" in str(args[0]):
        print("loaded:", args[0])

sys.addaudithook(hear)
sys.exit(pytest.main(["--collect-only", "-s", "-p", "no:xdist", "-p", "no:cacheprovider", "tests"]))
"""


@pytest.mark.slow
def test_collecting_the_tests_compiles_nothing_and_asks_no_compiler():
    """Or what is collected would depend on what worked at that moment."""
    done = subprocess.run([sys.executable, "-c", COLLECT], cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert any(" tests collected" in line for line in lines), done.stderr
    assert [line for line in lines if line.startswith(("started", "loaded"))] == []


BENCHMARKS = {path.stem: path for path in (ROOT / "benchmarks").glob("*.py")}


def defined(path: Path) -> set[str]:
    """The names that a file gives to what it holds at its top."""
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
    return names


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_benchmarks_find_what_they_import_from_each_other(name):
    """Some need PyTorch, so that no other test imports them."""
    for node in ast.walk(ast.parse(BENCHMARKS[name].read_text("utf-8"))):
        where = (getattr(node, "module", "") or "").removeprefix("benchmarks.")
        if isinstance(node, ast.ImportFrom) and where in BENCHMARKS:
            assert {alias.name for alias in node.names} <= defined(BENCHMARKS[where]), where
        of = node.value if isinstance(node, ast.Attribute) else None
        if isinstance(of, ast.Name) and of.id in BENCHMARKS and of.id in defined(BENCHMARKS[name]):
            assert node.attr in defined(BENCHMARKS[of.id]), node.attr
