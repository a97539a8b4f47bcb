"""The program that plants faults: it changes one thing at a time, and sees which tests fail."""

from __future__ import annotations

import ast
import importlib.util
import json
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
        ("y = zip(a, b, strict=True)", set()),
    ],
)
def test_each_kind_of_fault_changes_one_thing(source, expected):
    assert made(source) == expected


def test_faults_of_equal_lines_are_told_apart():
    found = mutations.mutations("a.py", b"x = a + b\nif c:\n    x = a + b\n")
    assert [(m.line, m.which) for m in found] == [(1, 0), (3, 1)]
    assert len({m.key for m in found}) == 2


def test_every_fault_of_every_file_is_python_and_differs_from_what_stood_there():
    for file in mutations.sources()[::7]:
        source = (ROOT / file).read_bytes()
        tree = ast.dump(ast.parse(source))
        for mutation in mutations.mutations(file, source)[::5]:
            assert ast.dump(ast.parse(mutation.applied(source))) != tree, str(mutation)


def test_every_file_is_looked_after_by_tests_that_exist():
    tests = {t for f in mutations.sources() for ts in mutations.tests_of(f) for t in ts.split()}
    assert all((ROOT / t).is_file() for t in tests)
    for folder in ("minidl/functional", "minidl/optim", "minidl/tasks", "models"):
        for path in (ROOT / folder).rglob("*.py"):
            file = path.relative_to(ROOT).as_posix()
            assert path.name == "__init__.py" or mutations.tests_of(file), file


def test_a_draw_repeats_with_its_seed():
    def drawn(only, count, seed):
        return mutations.chosen(ROOT, only, count, seed)

    assert drawn([], 5, 1) == drawn([], 5, 1) != drawn([], 5, 2)
    assert {m.file for m in drawn(["models/vae.py"], 9, 0)} == {"models/vae.py"}


def tree_of(folder: Path, source: str) -> Path:
    """A project of one file, which two tests look after."""
    (folder / "minidl/optim").mkdir(parents=True)
    (folder / "tests").mkdir()
    (folder / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\nmarkers = ['slow', 'gpu']\npythonpath = ['minidl/optim']\n"
    )
    (folder / "minidl/optim/code_.py").write_text(source)
    (folder / "tests/test_a.py").write_text(
        "from code_ import f\n\ndef test_any():\n    assert f\n\n"
        "def test_f():\n    assert f(3) == 3\n"
    )
    return folder


COUNTS_UP = """def f(n):
    i = 0
    while i < n:
        i += 1
    return i or print(2)
"""
TEST = "tests/test_a.py"


def test_tests_say_which_of_them_noticed_and_an_endless_one_is_stopped(tmp_path):
    tree = tree_of(tmp_path, COUNTS_UP)
    by, seconds, late = mutations.run_tests(tree, TEST, 60)
    assert (by, late) == ("", False) and 0 < seconds < 60
    for was, now, late in (("i += 1", "i += 2", False), ("i += 1", "i += 0", True)):
        (tree / "minidl/optim/code_.py").write_text(COUNTS_UP.replace(was, now))
        ran = mutations.run_tests(tree, TEST, 3)
        assert (ran.by, ran.late) == (f"{TEST}::test_f", late)


@pytest.mark.parametrize(
    ("runs", "end"),
    [
        ([("", False), ("", False)], ("survived", "")),
        ([("", False), ("b::t", False)], ("killed", "b::t")),
        ([("a::t", True), ("a::t", True)], ("endless", "a::t")),
        ([("a::t", True), ("a::u", True)], ("undecided", "a::u")),
        ([("a::t", True), ("a::u", False)], ("killed", "a::u")),
        ([("a::t", True), ("", False), ("", False)], ("survived", "")),  # a busy machine
    ],
)
def test_a_late_fault_is_run_once_more_before_it_is_judged(runs, end, tmp_path, monkeypatch):
    limits, left = [], iter(runs)

    def run_tests(tree, test, limit):
        limits.append(limit)
        by, late = next(left)
        return mutations.Ran(by, 1.0, late)

    monkeypatch.setattr(mutations, "run_tests", run_tests)
    assert mutations.fate(tmp_path, {"a": 2.0, "b": 4.0}) == end
    assert next(left, None) is None
    assert limits[:2] == ([16, 32] if runs[0][1] else [16, 22])


def test_a_table_is_gone_on_with_and_knows_what_changes_nothing(tmp_path, monkeypatch, capsys):
    tree, path = tree_of(tmp_path, COUNTS_UP), tmp_path / "table.json"
    source = (tree / "minidl/optim/code_.py").read_bytes()
    monkeypatch.setattr(mutations, "ROOT", tree)
    monkeypatch.setattr(mutations, "COPIED", ("minidl", "tests", "pyproject.toml"))
    monkeypatch.setattr(mutations, "LOOKED_AFTER", {"minidl/optim/*.py": (TEST,)})
    monkeypatch.setattr(mutations, "EQUIVALENT", {
        ("minidl/optim/code_.py", "while i < n:", "while (i <= n):", 0): "a reason"
    })

    def fake(tree, tests):
        text = (tree / "minidl/optim/code_.py").read_text()
        assert text.encode() != source and tests[TEST] > 0
        return ("survived", "") if "print(2)" not in text else ("killed", f"{TEST}::test_f")

    monkeypatch.setattr(mutations, "fate", fake)
    assert mutations.main(["--json", str(path)]) == 0
    table = json.loads(path.read_text())
    (counts,) = table["rooms"].values()
    assert counts["planted"] == len(table["faults"]) == sum(counts.values()) / 2
    assert counts["equivalent"] == 1 and counts["survived"] == 3  # 3, 1 and a bare 2
    assert {row["by"] for row in table["faults"] if row["end"] == "equivalent"} == {"a reason"}
    capsys.readouterr()
    mutations.main(["--json", str(path)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 + 1 + 1 and json.loads(path.read_text()) == table
    assert (tree / "minidl/optim/code_.py").read_bytes() == source


def test_the_faults_that_change_nothing_are_faults_of_the_code_as_it_is():
    every = {
        m.key for file in {file for file, *_ in mutations.EQUIVALENT}
        for m in mutations.mutations(file, (ROOT / file).read_bytes())
    }
    assert set(mutations.EQUIVALENT) <= every and all(mutations.EQUIVALENT.values())
