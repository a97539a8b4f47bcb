"""What is compiled is kept where nobody else can write, and a damaged file is made anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from minidl.cuda import cache, compiler, emulator, nvrtc
from minidl.cuda.emulator import building
from minidl.cuda.launch import launch
from minidl.cuda.source import kernels_of, source_of
from minidl.errors import DeviceError

pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler"
)
posix = pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of POSIX")

TEXT = 'extern "C" __global__ void kept(int* x) { x[threadIdx.x] = threadIdx.x + 1; }\n'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache folder of the test's own; nothing is remembered from before, nor after."""
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(nvrtc, "available", str)  # it has tests of its own

    def forget():
        building._built.clear()
        emulator._library.cache_clear()
        for function in (cache._warn, emulator._warn_of_folder):
            function.cache_clear()

    forget()
    yield tmp_path / "cache"
    forget()


def works():
    """Whether the kernel runs, in a process that has not loaded it yet."""
    building._built.clear()
    emulator._library.cache_clear()
    x = np.zeros(4, np.int32)
    launch(kernels_of(TEXT)["kept"], 1, 4, x=x)
    return x.tolist() == [1, 2, 3, 4]


def library(folder):
    (path,) = (folder / "emulator").glob("text-*")
    return path


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("damage", ["cut", "empty", "random", "one bit"])
def test_a_damaged_library_is_built_anew(folder, damage, quiet):
    assert works()
    path = library(folder)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 8
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "one bit": bytes(changed),
                      "random": np.random.default_rng(0).bytes(5000)}[damage])
    assert works()
    assert cache.recall(path) is not None


def test_a_whole_library_is_not_built_again(folder, monkeypatch, quiet):
    assert works()
    monkeypatch.setattr(building, "_compile", None)
    assert works()


def test_a_cache_that_is_deleted_meanwhile_is_no_harm(folder, quiet):
    kernel, x = kernels_of(TEXT)["kept"], np.zeros(4, np.int32)
    launch(kernel, 1, 4, x=x)
    shutil.rmtree(folder)
    loaded = emulator._library(kernel.source, "float")
    loaded.idle.clear()  # the next thread needs another copy
    launch(kernel, 1, 4, x=x)
    assert not building._built[(*next(iter(building._built)),)].exists()
    assert building.build(kernel.source, "float").exists()


def test_what_killed_builds_left_is_removed(folder, quiet):
    assert works()
    old, new = folder / "emulator" / "building-old", folder / "emulator" / "building-new"
    for path in (old, new):
        path.mkdir()
        (path / "kernel.cpp").touch()
    temporary = folder / "emulator" / ".text-float.0123abcd.tmp"
    temporary.touch()
    past = time.time() - 24 * 3600
    for path in (old, temporary):
        os.utime(path, (past, past))
    library(folder).unlink()
    assert works()
    assert new.exists() and not old.exists() and not temporary.exists()


def test_two_that_keep_the_same_file_at_once_do_not_disturb_each_other(folder, monkeypatch, quiet):
    path = cache.private("emulator") / "program"
    replace = os.replace

    def later(source, target):
        """The one before the other, who is done before the first has put its file in place."""
        monkeypatch.setattr(os, "replace", replace)
        cache.keep(path, b"the same", program=True)
        replace(source, target)

    monkeypatch.setattr(os, "replace", later)
    cache.keep(path, b"the same", program=True)
    assert cache.recall(path) == b"the same"
    assert [left.name for left in path.parent.iterdir()] == ["program"]
    assert os.name != "posix" or path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("reason", ["full", "noexec"])
def test_another_folder_is_taken_where_one_cannot_load_from(folder, reason, monkeypatch, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(bad))
    usual = emulator.ctypes.CDLL

    def load(name, *rest):
        if str(name).startswith(str(bad)):
            raise OSError(f"{name}: failed to map segment from shared object")
        return usual(name, *rest)

    def full(dir, **rest):
        if str(dir) == str(bad):
            raise OSError(28, "No space left on device")
        return named(dir=dir, **rest)

    named = tempfile.NamedTemporaryFile
    if reason == "noexec":
        monkeypatch.setattr(emulator.ctypes, "CDLL", load)
    else:
        monkeypatch.setattr(emulator.tempfile, "NamedTemporaryFile", full)
    with pytest.warns(RuntimeWarning, match="TMPDIR") as told:
        assert works() and works()
    assert len(told) == 1


def test_no_folder_to_load_from_is_an_error(monkeypatch):
    def full(**rest):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(emulator.tempfile, "NamedTemporaryFile", full)
    with pytest.warns(RuntimeWarning), pytest.raises(DeviceError, match="No space left"):
        works()


def test_a_full_disk_under_the_cache_is_told_once(monkeypatch):
    usual = compiler.keep

    def keep(path, body, program=False):
        if "minidl-cache-" not in str(path):
            raise OSError(28, "No space left on device")
        usual(path, body, program)

    monkeypatch.setattr(compiler, "keep", keep)
    with pytest.warns(RuntimeWarning, match="No space left") as told:
        assert works() and works()
    assert len(told) == 1


def test_a_cache_that_cannot_be_made_is_told_once(folder):
    folder.write_text("a file")
    with pytest.warns(RuntimeWarning, match="cannot write into") as told:
        assert works() and works()
    assert len(told) == 1


@posix
def test_folders_are_made_for_their_owner_alone(folder):
    assert works()
    for path in (folder, folder / "emulator"):
        assert path.stat().st_mode & 0o777 == 0o700


@posix
@pytest.mark.parametrize("where", ["", "emulator"])
def test_a_folder_that_others_can_write_is_not_used(folder, where):
    assert works()
    before = library(folder)
    before.write_bytes(b"planted")
    (folder / where).chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others can write into the cache folder") as told:
        assert works() and works()
    assert len(told) == 1 and before.read_bytes() == b"planted"


@posix
@pytest.mark.skipif(os.name == "posix" and os.getuid() != 0, reason="only root gives files away")
def test_a_folder_and_a_file_of_others_are_not_used(folder, quiet):
    assert works()
    path = library(folder)
    os.chown(path, 12345, 12345)
    assert cache.recall(path) is None
    assert works()  # built anew
    assert path.stat().st_uid == os.getuid()
    os.chown(folder / "emulator", 12345, 12345)
    with pytest.warns(RuntimeWarning, match="belongs to another user"):
        assert works()


@posix
def test_a_process_leaves_no_passing_cache_behind(folder, tmp_path):
    folder.mkdir()
    folder.chmod(0o777)
    program = "from minidl.cuda import cache; print(cache.private('emulator'))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True,
                          text=True)
    assert done.stdout.strip().startswith(tempfile.gettempdir()), done.stderr
    assert not Path(done.stdout.strip()).exists()


def test_damage_to_the_compiled_text_of_nvrtc_is_seen(folder):
    path = cache.private("cubins") / "some"
    nvrtc._keep(path, nvrtc.Compiled(b"code", "log"))
    assert nvrtc._recall(path) == nvrtc.Compiled(b"code", "log")
    path.write_bytes(path.read_bytes()[:-1])
    assert nvrtc._recall(path) is None


def test_a_source_is_told_by_its_text(folder):
    assert building.build(source_of(TEXT), "float") != building.build(
        source_of(TEXT + "\n"), "float"
    )
