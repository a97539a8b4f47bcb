"""The program that plants faults: it changes one thing at a time, and sees which tests fail."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _loaded():
    spec = importlib.util.spec_from_file_location("mutations", ROOT / "benchmarks/mutations.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutations"] = module
    spec.loader.exec_module(module)
    return module


mutations = _loaded()


def made(source: str) -> set[str]:
    """The sources that come out of one, without the parentheses around what was put in."""
    text = source.encode()
    return {m.applied(text).decode() for m in mutations.mutations("a.py", text)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("y = a - b", {"y = (a + b)"}),
        ("y = -a", {"y = (a)"}),
        ("y = not a", {"y = (a)"}),
        ("y = a < b", {"y = (a <= b)"}),
        ("y = a if c else b", {"y = (b if c else a)"}),
        ("y = 7", {"y = (8)", "y = (6)"}),
        ("y = 0.5", {"y = (1.0)", "y = (0.25)"}),
        ("y = True", {"y = (False)"}),
        ("y = f(a, k=b)", {"y = (f(a))"}),
        ("y = F.relu(a)", {"y = (a)"}),
        ("f()", {"pass"}),
        ("y: Tensor[3] = a", set()),
        ("raise E(1 + 2)", set()),
        ("y = message('a', -b)", set()),
        ("'words'", set()),
        ("y = 'é', a + b", {"y = 'é', (a - b)"}),  # columns are bytes
    ],
)
def test_each_kind_of_fault_changes_one_thing(source, expected):
    assert made(source) == expected


def test_every_fault_of_every_file_is_python_and_differs_from_what_stood_there():
    for file in mutations.sources()[::7]:
        source = (ROOT / file).read_bytes()
        tree = ast.dump(ast.parse(source))
        for mutation in mutations.mutations(file, source)[::5]:
            assert ast.dump(ast.parse(mutation.applied(source))) != tree, str(mutation)


def test_every_file_is_looked_after_by_tests_that_exist():
    tests = {t for f in mutations.sources() for t in mutations.tests_of(f)}
    assert all((ROOT / t).is_file() for t in tests)
    for folder in ("minidl/functional", "minidl/optim", "minidl/tasks", "models"):
        for path in (ROOT / folder).rglob("*.py"):
            file = path.relative_to(ROOT).as_posix()
            assert path.name == "__init__.py" or mutations.tests_of(file), file


def test_a_draw_repeats_with_its_seed():
    assert mutations.chosen([], 5, 1) == mutations.chosen([], 5, 1) != mutations.chosen([], 5, 2)
    assert {m.file for m in mutations.chosen(["models/vae.py"], 9, 0)} == {"models/vae.py"}


def test_tests_say_which_of_them_noticed_and_an_endless_one_is_stopped(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\nmarkers = ['slow', 'gpu']\n"
    )
    (tmp_path / "test_a.py").write_text(
        "from code_ import f\n\ndef test_f():\n    assert f() == 2\n"
    )
    (tmp_path / "code_.py").write_text("def f():\n    return 1 + 1\n")
    assert mutations.run_tests(tmp_path, ("test_a.py",), 60) == ""
    (tmp_path / "code_.py").write_text("def f():\n    return 1 - 1\n")
    assert mutations.run_tests(tmp_path, ("test_a.py",), 60) == "test_a.py::test_f"
    (tmp_path / "code_.py").write_text("def f():\n    while True:\n        pass\n")
    assert mutations.run_tests(tmp_path, ("test_a.py",), 3) == "the limit of 3 s"
