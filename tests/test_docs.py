"""The documents say what is so: examples in docstrings and in the README run as printed."""

from __future__ import annotations

import doctest
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minidl
import minidl.functional as F
from tests.test_examples import PICTURES

ROOT = Path(__file__).parent.parent
MODULES = [
    m.name for m in pkgutil.walk_packages(minidl.__path__, "minidl.")
    if not m.name.endswith("__main__")
]
DOCUMENTS = [
    "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/gallery.md", "docs/from_pytorch.md",
]


def with_examples() -> list[str]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = (importlib.import_module(name) for name in MODULES)
    return [m.__name__ for m in modules if any(t.examples for t in finder.find(m))]


@pytest.mark.parametrize("name", with_examples())
def test_docstring_examples_print_what_they_say(name: str):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0 and result.failed == 0


def test_the_readmes_python_runs(tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    text = (ROOT / "README.md").read_text("utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), space)
    assert space["slope"].tolist() == [3.0, 12.0, 27.0]
    assert space["bend"].tolist() == [6.0, 12.0, 18.0]
    assert (tmp_path / "runs" / "first" / "last.safetensors").exists()


@pytest.mark.usefixtures("with_compiler")
def test_an_op_and_a_kernel_of_ones_own_need_one_file(tmp_path):
    """The example of CONTRIBUTING.md, run as a script where nothing else is."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    script = tmp_path / "mine.py"
    script.write_text(code)
    ran = subprocess.run([sys.executable, "-W", "error", script.name], cwd=tmp_path,
                         capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "[0.75 1.   1.   1.   1.   1.   1.   0.75]\n"


COMING = [line.split("|")[2].strip().strip("`") for line in
          (ROOT / "docs" / "from_pytorch.md").read_text("utf-8").splitlines()
          if line.startswith("| `")]


@pytest.mark.parametrize("code", COMING)
def test_what_to_write_instead_of_pytorchs_runs(code, tmp_path):
    numbers = np.array([[0, 2], [1, 0]])
    space = {"minidl": minidl, "F": F, "np": np, "a": np.ones(3), "i": numbers,
             "x": minidl.tensor(np.ones((2, 3)), requires_grad=True),
             "y": minidl.tensor(1.0, requires_grad=True), "image": np.ones((1, 1, 4, 4)),
             "model": minidl.nn.Linear(2, 2), "path": tmp_path / "weights.safetensors"}
    minidl.files.serialize.save_tree(space["path"], {"w": np.ones(2)})
    exec(code, space)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_name_files_that_exist(name: str):
    """Paths in backquotes, and links."""
    text = (ROOT / name).read_text("utf-8")
    quoted = re.findall(r"`([\w./-]+\.(?:py|md|js|css|npz))`", text)
    linked = re.findall(r"\]\(([\w./-]+)\)", text)
    for path in quoted:
        found = (ROOT / path).exists() or any(ROOT.glob(f"minidl/**/{path}"))
        assert found, f"{name} names {path}"
    for path in linked:
        assert ((ROOT / name).parent / path).exists(), f"{name} links to {path}"


def test_the_readme_maps_every_example_to_a_topic_and_a_picture_of_its_own():
    rows = [line.split("|")[1:-1] for line in (ROOT / "README.md").read_text("utf-8").splitlines()
            if "`examples/" in line and line.startswith("|")]
    named = {stem: row for row in rows for stem in re.findall(r"`examples/(\w+)\.py`", row[3])}
    assert sorted(named) == sorted(PICTURES)
    for stem, row in named.items():
        shown = re.findall(r"pictures/(\d\d)_\w+\.webp", row[4])
        assert shown or not PICTURES[stem], f"the README shows no picture of {stem}"
        assert all(f"`examples/{number}_" in row[3] for number in shown)


def test_the_gallery_shows_every_picture_of_every_example():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs" / "gallery.py")
    gallery = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gallery)
    drawn = [f"{example[:2]}_{Path(picture).stem}.webp"
             for example, pictures in PICTURES.items() for picture in pictures]
    assert sorted(gallery.shown()) == sorted(drawn)
