"""The wheel holds what an installed minidl needs, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

import minidl.kernels
import minidl.models
from minidl.cuda.source import folder

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build", reason="building a wheel needs the package build")
    tree = tmp_path_factory.mktemp("tree") / "minidl"
    wanted = shutil.ignore_patterns(
        ".*", "build", "dist", "runs", "*.egg-info", "__pycache__", "benchmarks"
    )
    shutil.copytree(ROOT, tree, ignore=wanted)
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "out"],
        cwd=tree, capture_output=True, text=True, timeout=300,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = (tree / "out").glob("*.whl")
    return path


def test_wheel_holds_models_and_the_pages_parts(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "minidl/models/vae.py",
        "minidl/commands/demo/explorer.js", "minidl/commands/demo/report.css",
        "minidl/py.typed", "minidl/functional/conv.py", "minidl/nn/module.py",
    } <= names


def test_wheel_holds_the_kernels_what_they_include_and_the_emulator(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "kernels").rglob("*")
        if path.suffix in {".py", ".cu", ".cuh", ".hpp", ".cpp", ".md"}
    ]
    assert {"kernels/conv.cu", "kernels/include/windows.cuh", "kernels/emulator/cuda.hpp"} <= set(
        sources
    )
    assert {f"minidl/{source}" for source in sources} <= names


def test_wheel_holds_the_examples(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = [p.name for p in (ROOT / "examples").iterdir() if p.suffix in {".py", ".cu"}]
    assert {"00_first_gradient.py", "races.cu"} <= set(sources)
    assert {f"minidl/examples/{source}" for source in sources} <= names


def test_wheel_has_one_top_level_package(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"minidl"}


def test_wheel_works_by_itself(wheel, tmp_path):
    """Unpacked somewhere else and put first on the path, it is what is imported."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "import minidl.models.vae as v, minidl.commands.demo.report as r, minidl.cuda.source as c;"
        "print(v.__file__); r.page('', '', []);"
        "print(c.folder()); print(c.shipped()['gram_y_v1_naive'].source.path)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r});"
         "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()];"
         + program],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    there = tmp_path / "minidl"
    wanted = there / "models" / "vae.py", there / "kernels", there / "kernels" / "gram.cu"
    assert ran.stdout.splitlines() == [str(path) for path in wanted]


def test_a_script_beside_the_checkout_imports_the_package(tmp_path):
    """A checkout is a folder called minidl with a package of that name in it."""
    (tmp_path / "minidl").symlink_to(ROOT)
    (tmp_path / "script.py").write_text(
        "import minidl, minidl.models.vae\n"
        "print(minidl.ones(2).tolist(), minidl.nn.Linear, minidl.optim, minidl.data, minidl.train)"
    )
    if "editable" not in direct_url():
        pytest.skip("minidl is not installed with pip install -e")
    ran = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True,
                         text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("[1.0, 1.0] <class 'minidl.nn.linear.Linear'>")


def direct_url() -> str:
    """What pip wrote down about where minidl was installed from."""
    return distribution("minidl").read_text("direct_url.json") or ""


def test_models_and_kernels_are_the_top_level_folders_in_an_editable_install():
    assert Path(minidl.models.__file__).parent == ROOT / "models"
    assert Path(minidl.kernels.__file__).parent == folder() == ROOT / "kernels"
