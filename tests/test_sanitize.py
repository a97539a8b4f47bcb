"""The compiler's sanitizers find what is wrong with a kernel, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from minidl.cuda.compiler import clang, compiler
from minidl.cuda.emulator import sanitize
from minidl.cuda.emulator.sanitize import available, sanitizing
from minidl.cuda.launch import launch
from minidl.cuda.source import kernels_of
from minidl.errors import ArgumentError, DeviceError

BROKEN = Path(__file__).parent / "broken_kernels"
RACES, OVERRUNS = BROKEN / "sanitize_races.cu", BROKEN / "sanitize_overruns.cu"


# Whether a sanitizer works is found by building with it, which is left until a test runs: which
# tests are collected depends on no machine.


def skip_without(mode):
    if missing := available(mode):
        pytest.skip(missing)


@pytest.fixture
def thread_sanitizer():
    skip_without("thread")


@pytest.fixture
def address_sanitizer():
    skip_without("address")


@pytest.fixture(params=["thread", "address"])
def mode(request):
    skip_without(request.param)
    return request.param


@pytest.fixture
def gpp():
    if clang(compiler()):
        pytest.skip("clang's sanitizers do not see this, or say less of it")


def needs(mode):
    return pytest.mark.usefixtures(f"{mode}_sanitizer")


def line_of(path, marker):
    """The place of the only line of a file that has this comment."""
    lines = path.read_text().splitlines()
    found = [i for i, line in enumerate(lines, 1) if line.endswith(f"// {marker}")]
    assert len(found) == 1, marker
    return f"{path.name}:{found[0]}"


# --- ThreadSanitizer ---


def races(name, grid, block, shared=0, **arguments):
    with sanitizing("thread") as findings:
        launch(kernels_of(RACES)[name], grid, block, shared, **arguments)
    assert all(finding.kind == "race" and finding.kernel == name for finding in findings)
    return findings


def matrices():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(16, 24)).astype("f4"), rng.normal(size=(24, 16)).astype("f4")
    return {"a": a, "b": b, "c": np.zeros((16, 16), np.float32), "N": 16, "K": 24}


@needs("thread")
def test_a_removed_barrier_is_reported_with_both_lines_and_the_array():
    found = races("sgemm_without_second_barrier", (2, 2), (8, 8), **matrices())
    first = next(finding for finding in found if "tile_a" in finding.text)
    places = {line_of(RACES, "overwrites"), line_of(RACES, "still reads")}
    assert first.place in places and all(place in first.text for place in places)
    assert "two threads use tile_a[" in first.text
    assert "reads 4 bytes" in first.text and "writes 4 bytes" in first.text
    assert first.text.count("of block (0, 0, 0)") == 2


@needs("thread")
def test_a_right_kernel_is_not_reported_and_its_output_comes_back():
    given = matrices()
    assert races("sgemm", (2, 2), (8, 8), **given) == []
    np.testing.assert_allclose(given["c"], given["a"] @ given["b"], rtol=1e-4, atol=1e-5)


@needs("thread")
def test_threads_that_never_wait_are_seen_to_race():
    (found,) = races("neighbours", 1, 32, x=np.ones(32, np.float32))
    assert found.place == line_of(RACES, "of whom?") and "use x[" in found.text


@needs("thread")
@pytest.mark.parametrize("waits", [0, 1])
def test_races_in_dynamic_shared_memory_are_reported_by_its_name(waits):
    x = np.arange(64, dtype=np.float32)
    found = races("turned", 1, 64, shared=256, x=x, waits=waits)
    assert len(found) == 1 - waits
    for finding in found:
        assert "use turning[" in finding.text
        assert line_of(RACES, "fills") in finding.text and line_of(RACES, "takes") in finding.text
    assert waits == 0 or (x == np.arange(64)[::-1]).all()


@needs("thread")
@pytest.mark.parametrize("waits", [0, 1])
def test_a_shuffle_orders_no_memory_but_syncwarp_does(waits):
    found = races("handed_over", 1, 32, x=np.arange(32, dtype=np.float32), waits=waits)
    assert len(found) == 1 - waits
    for finding in found:
        assert "use hands[" in finding.text
        assert line_of(RACES, "gives") in finding.text
        assert line_of(RACES, "takes over") in finding.text


@needs("thread")
def test_races_on_a_global_variable_are_reported_by_its_name():
    (found,) = races("lasting", 1, 8, x=np.zeros(8, np.int32))
    assert found.place == line_of(RACES, "who is last?")
    assert found.text.startswith("two threads use last, and")


@needs("thread")
def test_what_threads_keep_for_themselves_is_no_race():
    x, y = np.arange(8, dtype=np.int32), np.zeros(64, np.int32)
    assert races("own_arrays", 1, 64, x=x, y=y, turns=5) == []
    assert (y == y[0]).all() and y[0] > 0


@needs("thread")
def test_blocks_of_1024_threads_and_atomics_are_no_races():
    total = np.zeros(1, np.int32)
    assert races("sums", 3, 1024, x=np.ones(3072, np.int32), total=total) == []
    assert total == 3072


# --- AddressSanitizer ---


def overruns(name, by):
    x, y = np.arange(32, dtype=np.float32), np.zeros(32, np.float32)
    with sanitizing("address") as findings:
        launch(kernels_of(OVERRUNS)[name], 1, 32, 128, x=x, y=y, by=by)
    assert all(finding.kind == "overrun" and finding.kernel == name for finding in findings)
    return findings, x, y


@needs("address")
@pytest.mark.parametrize(
    "name, marker, thread, what",
    [
        ("of_an_argument", "reads x", 30, "reads 4 bytes at x[32], which has 32 elements"),
        ("of_an_output", "writes y", 30, "writes 4 bytes at y[32], which has 32 elements"),
        ("of_a_shared_array", "reads row", None, "reads 4 bytes at row[33], which has 32 elements"),
        ("of_a_templates_array", "reads templated", None, "reads 4 bytes at templated[33]"),
        ("of_dynamic_memory", "reads room", None, "reads 4 bytes at room[33]"),
        ("of_registers", "reads own", 0, "reads 4 bytes beyond its own array own"),
    ],
)
def test_an_overrun_is_reported_with_its_line_and_the_array(name, marker, thread, what, request):
    if name in ("of_a_templates_array", "of_registers"):
        request.getfixturevalue("gpp")
    (found,), *_ = overruns(name, by=2)
    assert found.place == line_of(OVERRUNS, marker) and found.place in found.text
    assert what in found.text and f"// {marker}" in found.text
    assert thread is None or found.text.startswith(f"thread ({thread}, 0, 0) of block (0, 0, 0)")


@needs("address")
@pytest.mark.parametrize("name", list(kernels_of(OVERRUNS)))
def test_a_kernel_that_stays_inside_is_not_reported_and_its_output_comes_back(name):
    found, x, y = overruns(name, by=0)
    assert found == []
    assert (y == (3 if name == "of_registers" else x)).all()


@needs("address")
def test_a_wild_address_is_reported_too():
    (found,), *_ = overruns("of_an_output", by=2**30)
    assert "writes at address" in found.text and "far from every array" in found.text
    assert found.place == line_of(OVERRUNS, "writes y")


# --- both ---


def test_a_kernel_that_stands_still_is_a_finding(mode):
    text = """
    extern "C" __global__ void half(int* x) {
        if (threadIdx.x < 16) __syncthreads();
        x[threadIdx.x] = 1;
    }"""
    with sanitizing(mode) as findings:
        launch(kernels_of(text)["half"], 1, 32, x=np.zeros(32, np.int32))
    (found,) = findings
    assert (found.kind, found.kernel, found.place) == ("barrier", "half", "text.cu:3")
    assert "only 16 of its 32 threads reach the barrier" in found.text


def test_one_array_as_two_arguments_is_one_array(mode):
    text = """
    extern "C" __global__ void doubled(const double* x, double* y) {
        y[threadIdx.x] = 2 * x[threadIdx.x];
    }"""
    x = np.arange(4.0)
    with sanitizing(mode) as findings:
        launch(kernels_of(text)["doubled"], 1, 4, x=x, y=x)
        launch(kernels_of(text)["doubled"], 1, 4, x=x, y=x)
    assert findings == [] and x.tolist() == [0, 4, 8, 12]


@pytest.mark.usefixtures("gpp")
def test_lines_are_found_without_the_sanitizers_own_search(mode, monkeypatch):
    pytest.importorskip("elftools")
    monkeypatch.setattr(sanitize, "_ALWAYS", sanitize._ALWAYS + ":symbolize=0")
    if mode == "thread":
        (found,) = races("neighbours", 1, 32, x=np.ones(32, np.float32))
        assert found.place == line_of(RACES, "of whom?")
    else:
        (found,), *_ = overruns("of_a_shared_array", by=2)
        assert found.place == line_of(OVERRUNS, "reads row")


SCRIPT = """#!/bin/sh
{test} && exec echo started
echo "FATAL: ThreadSanitizer: unexpected memory mapping" >&2
exit 66
"""


def program(folder, test):
    path = folder / "program"
    path.write_text(SCRIPT.format(test=test))
    path.chmod(0o755)
    return path


@pytest.mark.skipif(not shutil.which("setarch"), reason="setarch is not installed")
def test_a_sanitizer_that_bears_no_random_addresses_is_started_without(tmp_path):
    without = 'test "$(cat /proc/self/personality)" = 00040000'
    done = sanitize._start(program(tmp_path, without), tmp_path, "thread", "")
    assert done.stdout == "started\n"


def test_a_sanitizer_that_cannot_start_says_what_mends_it(tmp_path):
    with pytest.raises(DeviceError, match="cannot start"):
        sanitize._start(program(tmp_path, "false"), tmp_path, "thread", "")


def test_an_unknown_sanitizer_is_refused():
    with pytest.raises(ArgumentError, match="no sanitizer is called 'memory'"):
        available("memory")


def test_a_sanitizer_that_does_not_work_says_why(monkeypatch):
    monkeypatch.setattr(sanitize, "available", lambda mode: "no libtsan")
    with (
        pytest.raises(DeviceError, match=r"sanitizer does not work here\n +no libtsan"),
        sanitizing("thread"),
    ):
        pass
