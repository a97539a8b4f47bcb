"""Tracing finds what is wrong with a kernel, and nothing else; and it counts what accesses cost."""

from __future__ import annotations

import builtins
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from minidl.cuda import source
from minidl.cuda.emulator import addresses, building, watching
from minidl.cuda.emulator.trace import tracing
from minidl.cuda.emulator.watching import watched
from minidl.cuda.launch import launch
from minidl.cuda.source import folder, kernels_of
from minidl.errors import DeviceError, KernelError

pytest.importorskip("elftools")
pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler"
)

BROKEN = Path(__file__).parent / "broken_kernels"
RACES = BROKEN / "trace_races.cu"
MEMORY = BROKEN / "trace_memory.cu"
TRAFFIC = BROKEN / "trace_traffic.cu"


def line_of(path, marker):
    """The place of the only line of a file that has this comment."""
    lines = path.read_text().splitlines()
    found = [i for i, line in enumerate(lines, 1) if line.endswith(f"// {marker}")]
    assert len(found) == 1, marker
    return f"{path.name}:{found[0]}"


def traced(path, name, grid, block, shared=0, **arguments):
    with tracing() as trace:
        launch(kernels_of(path)[name], grid, block, shared, **arguments)
    assert all(finding.kernel == name for finding in trace.findings)
    return trace


# --- races ---


def race(name, grid, block, shared=0, **arguments):
    """The only finding: a race."""
    (found,) = traced(RACES, name, grid, block, shared, **arguments).findings
    assert found.kind == "race"
    return found


def matrices():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(16, 24)).astype("f4"), rng.normal(size=(24, 16)).astype("f4")
    return {"a": a, "b": b, "c": np.zeros((16, 16), np.float32), "N": 16, "K": 24}


@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_barrier_is_a_race_with_both_lines_both_threads_and_the_array(missing):
    found = traced(RACES, "sgemm", (2, 2), (8, 8), **matrices(), broken=missing).findings
    (first,) = (f for f in found if f.kind == "race" and "tile_a[" in f.text)
    writes, reads = line_of(RACES, "fills a"), line_of(RACES, "reads a")
    assert first.place in (writes, reads)
    assert f"writes it at {writes}" in first.text and f"reads it at {reads}" in first.text
    assert first.text.startswith("two threads use tile_a[")
    assert first.text.count("thread (") == 2 and "both of block (0, 0, 0)" in first.text
    assert "// fills a" in first.text and "// reads a" in first.text


def test_a_right_kernel_is_not_reported_and_its_output_comes_back():
    given = matrices()
    trace = traced(RACES, "sgemm", (2, 2), (8, 8), **given, broken=0)
    assert trace.findings == []
    np.testing.assert_allclose(given["c"], given["a"] @ given["b"], rtol=1e-4, atol=1e-5)
    assert trace.launches == [("sgemm", (2, 2, 1), (8, 8, 1), 0)]


def test_the_same_mistake_is_told_once_with_a_count():
    given = matrices()
    with tracing() as trace:
        for _ in range(3):
            launch(kernels_of(RACES)["sgemm"], 1, (8, 8), **given, broken=2)
    assert [f.kind for f in trace.findings] == ["race"] * 2  # of tile_a, and of tile_b
    counts = [int(re.search(r"seen (\d+) times", f.text)[1]) // 3 for f in trace.findings]
    with tracing() as trace:
        launch(kernels_of(RACES)["sgemm"], 1, (8, 8), **given, broken=2)
    for count, found in zip(counts, trace.findings, strict=True):
        assert f"(seen {count} times)" in found.text


def test_a_reduction_without_barriers_races_on_its_line():
    given = {"x": np.ones(512, np.float32), "y": np.zeros(2, np.float32)}
    found = race("sums", 2, 256, 1024, **given, broken=1)
    assert found.place == line_of(RACES, "halves") and "partial[" in found.text
    assert traced(RACES, "sums", 2, 256, 1024, **given, broken=0).findings == []
    assert given["y"].tolist() == [256, 256]


def test_a_shuffle_orders_no_memory_but_syncwarp_does():
    given = {"x": np.ones(64, np.float32), "y": np.zeros(64, np.float32)}
    found = race("lanes", 1, 64, **given, broken=1)
    assert f"writes it at {line_of(RACES, 'gives')}" in found.text
    assert f"reads it at {line_of(RACES, 'takes')}" in found.text
    assert "hands[" in found.text and "__syncwarp()" in found.text
    assert traced(RACES, "lanes", 1, 64, **given, broken=0).findings == []


def test_a_part_of_a_warp_that_waits_is_ordered_among_itself_alone():
    given = {"x": np.arange(32, dtype=np.int32), "y": np.zeros(32, np.int32)}
    assert traced(RACES, "half_warps", 1, 32, **given, broken=0).findings == []
    both = traced(RACES, "half_warps", 1, 32, **given, broken=1).findings
    assert {found.kind for found in both} == {"race", "unwritten"}
    (found,) = (found for found in both if found.kind == "race")
    assert "use half[" in found.text
    assert {line_of(RACES, "fills half"), line_of(RACES, "takes half")} == places(found)


def places(found):
    return {word.strip(",") for word in found.text.split() if ".cu:" in word}


def test_lanes_that_take_turns_do_not_race_unless_they_do_not_wait():
    y = np.zeros(4, np.int32)
    assert traced(RACES, "turns", 1, 32, y=y, broken=0).findings == []
    assert y.tolist() == [sum(range(p, 32, 4)) for p in range(4)]
    found = race("turns", 1, 32, y=y, broken=1)
    assert places(found) == {line_of(RACES, "adds")} and "total[" in found.text


def test_blocks_race_with_each_other_unless_they_use_atomics():
    given = {"x": np.ones(96, np.int32), "total": np.zeros(1, np.int32)}
    assert traced(RACES, "blocks", 3, 32, **given, broken=0).findings == []
    assert given["total"] == 96
    found = race("blocks", 3, 32, **given, broken=1)
    assert places(found) == {line_of(RACES, "adds up")} and "use total[0]" in found.text
    assert "blocks are never ordered" in found.text
    assert "of block (0, 0, 0)" in found.text and "of block (1, 0, 0)" in found.text


def test_an_atomic_and_a_plain_read_race():
    y = np.zeros(1, np.int32)
    assert traced(RACES, "count", 1, 64, y=y, broken=0).findings == [] and y == 64
    found = race("count", 1, 64, y=y, broken=1)
    assert places(found) == {line_of(RACES, "counts"), line_of(RACES, "looks")}


def test_neighbouring_bytes_are_no_race_but_the_same_byte_is():
    y = np.zeros(64, np.uint8)
    assert traced(RACES, "bytes", 1, 64, y=y, broken=0).findings == []
    assert y.tolist() == [0, 1] * 32
    found = race("bytes", 1, 64, y=y, broken=1)
    assert line_of(RACES, "spills over") in places(found) and "flags[" in found.text


def test_a_copy_into_what_is_still_read_is_a_race():
    given = {"x": np.ones(256, np.float32), "y": np.zeros(32, np.float32)}
    assert traced(RACES, "copies", 1, 32, **given, broken=0).findings == []
    assert (given["y"] == 2).all()
    found = race("copies", 1, 32, **given, broken=1)
    assert places(found) == {line_of(RACES, "copies"), line_of(RACES, "sums")}
    assert "row[" in found.text


# --- accesses that are wrong by themselves ---


def memory(name, broken, shared=0):
    x, y = np.arange(32, dtype=np.float32), np.zeros(32, np.float32)
    trace = traced(MEMORY, name, 1, 32, shared, x=x, y=y, broken=broken)
    assert (x == np.arange(32)).all()
    return trace.findings, y


@pytest.mark.parametrize(
    "name, kind, marker, what",
    [
        ("beyond_argument", "overrun", "reads x",
         "thread (31, 0, 0) of block (0, 0, 0) reads 4 bytes at x[32], which has 32 elements"),
        ("before_output", "overrun", "writes y",
         "writes 4 bytes at y[-1], which has 32 elements: 4 bytes before its start"),
        ("beyond_shared", "overrun", "reads row",
         "reads 4 bytes at row[33], which has 33 elements: 4 bytes beyond its end"),
        ("beyond_another_shared", "overrun", "writes other",
         "thread (31, 0, 0) of block (0, 0, 0) writes 4 bytes at other[33], which has 33"),
        ("beyond_dynamic", "overrun", "writes room",
         "writes 4 bytes at room[32], which has 32 elements"),
        ("far_away", "overrun", "writes far away", "far from every array"),
        ("unwritten", "unwritten", "reads half",
         "reads 4 bytes at half[31], which nobody in this block has written"),
        ("not_waited_for", "unwritten", "reads too soon", "], which nobody in this block"),
        ("constant", "write to const", "writes a constant",
         "writes 4 bytes at x[0], but x is declared const"),
        ("misaligned_pack", "misaligned", "loads a pack",
         "reads 16 bytes at an address that is no multiple of 16, x[1]"),
        ("misaligned_double", "misaligned", "loads a double",
         "reads 8 bytes at an address that is no multiple of 8, x[1]"),
        ("barrier_for_some", "barrier", "waits", "only 31 of its 32 threads reach the barrier"),
    ],
)
def test_a_wrong_access_is_reported_with_its_line_and_the_array(name, kind, marker, what):
    (found,), _ = memory(name, broken=1, shared=128)
    assert (found.kind, found.place) == (kind, line_of(MEMORY, marker))
    assert what in found.text and f"// {marker}" in found.text


@pytest.mark.parametrize("name", list(kernels_of(MEMORY)))
def test_what_is_right_is_not_reported(name):
    found, y = memory(name, broken=0, shared=128)
    assert found == [] and y.any()


def test_an_overrun_does_not_change_what_lies_beyond():
    whole = np.zeros(64, np.float32)
    x = np.ones(32, np.float32)
    traced(MEMORY, "before_output", 1, 32, x=x, y=whole[32:], broken=1)
    assert whole.tolist() == [0] * 32 + [1] * 31 + [0]


def test_arrays_that_share_memory_do_so_while_they_are_traced():
    text = """
    extern "C" __global__ void doubled(const double* x, double* y) {
        y[threadIdx.x] = 2 * x[threadIdx.x];
    }"""
    x = np.arange(8.0)
    assert traced(text, "doubled", 1, 8, x=x, y=x).findings == []
    assert x.tolist() == [2 * v for v in range(8)]
    (found,) = traced(text, "doubled", 1, 7, x=x[:7], y=x[1:]).findings
    assert found.kind == "race" and "x/y[" in found.text


def test_lines_of_headers_are_told_as_such():
    text = """#include "warp.cuh"
    extern "C" __global__ void total(const float* x, float* y, int words) {
        extern __shared__ float partial[];
        y[threadIdx.x] = block_sum(x[threadIdx.x], partial);
    }"""
    given = {"x": np.ones(64, np.float32), "y": np.zeros(64, np.float32), "words": 1}
    assert traced(text, "total", 1, 64, shared=128, **given).findings == []
    (found,) = traced(text, "total", 1, 64, shared=4, **given).findings[:1]
    assert found.kind == "overrun" and found.place.startswith("warp.cuh:")
    assert "partial[1], which has 1 elements" in found.text and "partial[warp]" in found.text


def test_a_kernel_built_from_another_folder_is_watched_all_the_same(monkeypatch, tmp_path):
    text = """
    extern "C" __global__ void past(const float* x, float* y) { y[0] = x[1]; }"""
    given = {"x": np.zeros(1, np.float32), "y": np.zeros(1, np.float32)}
    assert len(traced(text, "past", 1, 1, **given).findings) == 1
    monkeypatch.chdir(tmp_path)
    watched.cache_clear()
    (found,) = traced(text, "past", 1, 1, **given).findings
    assert found.place == "text.cu:2"


def test_lines_of_headers_are_found_in_another_checkout_too(monkeypatch, tmp_path):
    text = """#include "warp.cuh"
    extern "C" __global__ void sums(const float* x, float* y) {
        __shared__ float partial[1];
        y[threadIdx.x] = block_sum(x[threadIdx.x], partial);
    }"""
    given = {"x": np.ones(64, np.float32), "y": np.zeros(64, np.float32)}
    shutil.copytree(folder(), tmp_path / "kernels")
    for where in (folder(), tmp_path / "kernels"):
        for module in (source, building, watching):
            monkeypatch.setattr(module, "folder", lambda where=where: where)
        source.whole_text.cache_clear()
        building._built.clear()
        watched.cache_clear()
        first = traced(text, "sums", 1, 64, **given).findings[0]
        assert first.kind == "overrun" and first.place.startswith("warp.cuh:")


def test_a_kernel_can_be_traced_after_one_that_failed():
    memory("far_away", broken=1)
    memory("barrier_for_some", broken=1)
    found, y = memory("beyond_argument", broken=0)
    assert found == [] and (y == np.arange(32)).all()


def test_findings_can_be_raised():
    with tracing() as trace:
        launch(kernels_of(MEMORY)["constant"], 1, 32, x=np.zeros(32, np.float32),
               y=np.zeros(32, np.float32), broken=1)
    with pytest.raises(KernelError, match=r"constant is wrong: 1 finding\n.*write to const at"):
        trace.raise_findings()
    trace.findings.clear()
    trace.raise_findings()


def test_no_more_findings_are_kept_than_asked_for():
    with tracing(max_findings=1) as trace:
        for name in ("constant", "beyond_argument"):
            launch(kernels_of(MEMORY)[name], 1, 32, x=np.zeros(32, np.float32),
                   y=np.zeros(32, np.float32), broken=1)
    assert [finding.kind for finding in trace.findings] == ["write to const"]


def test_without_a_table_of_lines_tracing_says_what_to_install(monkeypatch):
    import_as_ever = builtins.__import__

    def without_elftools(name, *args, **kwargs):
        if name.startswith("elftools"):
            raise ImportError(name)
        return import_as_ever(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_elftools)
    for kept in (watched, addresses.line_table):
        kept.cache_clear()
    with pytest.raises(DeviceError, match=r"pip install 'minidl\[kernels\]'"):
        memory("constant", broken=0)
    addresses.line_table.cache_clear()


# --- traffic ---


def costs(name, marker, grid=1, block=32, path=TRAFFIC, **arguments):
    """Of one line: by space and access, the requests, and what each moves and should."""
    trace = traced(path, name, grid, block, **arguments)
    assert trace.findings == []
    at = int(line_of(path, marker).rpartition(":")[2])
    return {
        (t.space, t.access, t.size): (t.requests, t.moved_each, t.ideal_each)
        for t in trace.traffic[name] if t.line == at
    }


@pytest.mark.parametrize("step, moved", [(1, 4), (2, 8), (3, 12), (8, 32), (0, 1)])
def test_steps_between_lanes_cost_the_sectors_that_they_touch(step, moved):
    x, y = np.zeros(256, np.float32), np.zeros(32, np.float32)
    trace = traced(TRAFFIC, "steps", 1, 32, x=x, y=y, step=step)
    load, store = trace.traffic["steps"]
    assert (load.access, load.requests, load.moved) == ("load", 1, moved)
    assert load.ideal == (4 if step else 1)
    assert (store.access, store.size, store.moved, store.ideal) == ("store", 4, 4, 4)


def test_an_array_that_starts_amid_a_sector_costs_one_more():
    x, y = np.zeros(40, np.float32), np.zeros(32, np.float32)
    trace = traced(TRAFFIC, "steps", 1, 32, x=x[4:], y=y, step=1)
    assert [t.moved for t in trace.traffic["steps"]] == [5, 4]


def test_columns_cost_a_sector_for_each_lane():
    x, y = np.zeros((32, 32)), np.zeros(128)
    found = costs("columns", "a column", x=x, y=y)
    assert found == {("global", "load", 8): (4, 32, 8), ("global", "store", 8): (4, 8, 8)}


def test_a_line_of_the_table_tells_it_all():
    given = {"x": np.zeros(256, np.float32), "y": np.zeros(256, np.float32)}
    trace = traced(TRAFFIC, "packs", 2, 32, **given)
    line = next(i for i, text in enumerate(TRAFFIC.read_text().splitlines(), 1)
                if "reinterpret_cast<Four*>(y)[threadIdx.x] =" in text)
    cost = "16B, 2 requests, 16.00 sectors moved, 16.00 ideal"
    assert trace.table().splitlines() == [
        "packs",
        f"    trace_traffic.cu:{line} global load {cost}",
        f"    trace_traffic.cu:{line} global store {cost}",
    ]


@pytest.mark.parametrize("name, turns", [("turned", 32), ("turned_padded", 1)])
def test_a_column_of_a_tile_takes_32_turns_and_with_padding_one(name, turns):
    x, y = np.arange(1024, dtype=np.float32), np.zeros(1024, np.float32)
    found = costs(name, "down a column", x=x, y=y)
    assert found == {("shared", "load", 4): (32, turns, 1), ("global", "store", 4): (32, 4, 4)}
    assert (y.reshape(32, 32) == x.reshape(32, 32).T).all()


@pytest.mark.parametrize(
    "marker, cost",
    [
        ("neighbours of 8 bytes", {("shared", "store", 8): (1, 2, 2)}),
        ("every second of 8 bytes", {("shared", "load", 8): (1, 4, 2)}),
        ("one for all", {("shared", "load", 8): (1, 2, 2)}),
        ("every fourth word", {("shared", "store", 4): (4, 4, 1)}),
        ("neighbours of 16 bytes",
         {("shared", "load", 16): (1, 4, 4), ("global", "store", 16): (1, 16, 16)}),
    ],
)
def test_wide_accesses_to_shared_memory_are_served_by_parts_of_a_warp(marker, cost):
    assert costs("wide", marker, x=np.ones(32), y=np.zeros(96)) == cost


def test_lanes_that_leave_a_loop_early_are_left_out_of_its_requests():
    x, y = np.ones(256, np.int32), np.zeros(32, np.int32)
    found = costs("different_ways", "one for those who are there", x=x, y=y)
    assert found == {("global", "load", 4): (32, 1, 1)}


def test_lanes_that_meet_ask_together_again():
    x, y = np.ones(32, np.int32), np.zeros(32, np.int32)
    found = costs("halves", "by halves", x=x, y=y)
    assert found == {("global", "load", 4): (3, (4 + 1 + 1) / 3, (4 + 1 + 1) / 3)}


def test_atomics_on_one_word_take_turns():
    counts = np.zeros(32, np.int32)
    assert costs("atomics", "eight at one", counts=counts) == {("shared", "atomic", 4): (1, 8, 1)}
    assert costs("atomics", "one each", counts=counts) == {("global", "atomic", 4): (1, 4, 4)}
    assert (counts == 2).all()


def test_traffic_is_summed_over_the_launches_of_a_kernel():
    x, y = np.zeros(64, np.float32), np.zeros(32, np.float32)
    with tracing() as trace:
        for step in (1, 2):
            launch(kernels_of(TRAFFIC)["steps"], 1, 32, x=x, y=y, step=step)
    load, _ = trace.traffic["steps"]
    assert (load.requests, load.moved, load.ideal) == (2, 12, 8)
    assert len(trace.launches) == 2
