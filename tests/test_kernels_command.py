"""`minidl kernels`: what it lists, checks, explains and times."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import date
from html.parser import HTMLParser
from importlib import import_module

import numpy as np
import pytest

from minidl.__main__ import main
from minidl.commands.kernels import bench, check, drawing, header, launches, sizing
from minidl.commands.kernels.list import used
from minidl.commands.kernels.names import chosen, families, one
from minidl.commands.kernels.occupancy import occupancy
from minidl.commands.kernels.page import page
from minidl.commands.kernels.record import explain, fitting_case
from minidl.commands.kernels.source_page import heat
from minidl.cuda import nvrtc
from minidl.cuda.emulator import sanitize
from minidl.cuda.emulator.findings import Finding
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import launch
from minidl.cuda.source import folder, kernels_of
from minidl.errors import ArgumentError, DeviceError, KernelError
from minidl.kernels.ladders import LADDERS

RUNGS = [rung for ladder in LADDERS.values() for rung in ladder]


def run(capsys, *arguments):
    """The status and what was printed."""
    status = main(["kernels", *arguments])
    return status, capsys.readouterr().out


def rung_named(name):
    return next(rung for rung in RUNGS if rung.name == name)


# --- headers ---


@pytest.mark.parametrize("rung", RUNGS, ids=[rung.name for rung in RUNGS])
def test_every_rung_has_an_idea_in_the_table_of_its_file(rung):
    row = header.header_of(header.path_of(rung)).row(rung)
    assert len(row.idea.split()) >= 2 and row.measured


@pytest.mark.parametrize("path", sorted(folder().glob("*.cu")), ids=lambda path: path.name)
def test_every_row_of_a_table_is_that_of_a_rung(path):
    here = [rung for rung in RUNGS if header.path_of(rung) == path]
    for row in header.header_of(path).rows:
        assert any(row.is_of(rung) for rung in here), row


@pytest.mark.parametrize(
    "rung", [r for r in RUNGS if r.level > 1], ids=[r.name for r in RUNGS if r.level > 1]
)
def test_every_rung_above_the_first_says_what_it_changes(rung):
    case = fitting_case(rung, "float32")
    kernels = [launch.kernel for launch in launches.caught(rung, case.call("float32"))]
    assert header.changes(kernels)


def test_changes_of_two_launches_are_told_together_and_each_once():
    norm, names = kernels_of(folder() / "norm.cu"), ("normalize_moments", "normalize_v5_split")
    told = header.changes(norm[name] for name in names)
    assert told.startswith("several blocks share a statistic")
    assert "the moments of its part of the values ... then, knowing those of all parts" in told
    twice = [kernels_of(folder() / "resample.cu")["resample_v3_two_passes"]] * 2
    assert header.changes(twice).count("one axis at a time") == 1


@pytest.mark.parametrize("path", sorted(folder().glob("*.cu")), ids=lambda path: path.name)
def test_header_starts_with_a_formula(path):
    parts = header.paragraphs(header.header_of(path).about)
    assert any(kind == "formula" for kind, _ in parts[:2])


def test_a_file_without_a_table_is_refused():
    with pytest.raises(KernelError, match=r"mine\.cu has no table"):
        header.parse("// Mine.\n\nint a;\n", "mine.cu")


@pytest.fixture
def copied(tmp_path):
    return shutil.copy(folder() / "pool.cu", tmp_path / "pool.cu")


def test_measurements_are_written_into_their_rows_alone(copied):
    before = copied.read_text().splitlines()
    header.write_measured(copied, {"pick v4_four": "0.2 ms, GPU", "put v3_bins": "0.3 ms, GPU"})
    after = copied.read_text().splitlines()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert [b for _, b in changed] == [
        a.replace("not yet", f"0.{n} ms, GPU") for n, (a, _) in enumerate(changed, 2)
    ]
    rows = {row.rung: row for row in header.header_of(copied).rows}
    assert rows["pick v4_four"].measured == "0.2 ms, GPU"
    assert rows["put v1_naive"].measured == "not yet"
    assert list(kernels_of(copied)) == list(kernels_of(folder() / "pool.cu"))


def test_measurements_written_again_replace_the_old(copied):
    for told in ("a long text about a measurement, 2026-01-01", "short"):
        header.write_measured(copied, {"put v3_bins": told})
    assert header.header_of(copied).rows[-1].measured == "short"
    assert "measurement" not in copied.read_text()


def test_a_measurement_of_no_row_is_refused_and_nothing_written(copied):
    before = copied.read_text()
    with pytest.raises(ArgumentError, match="no row 'v9_none'"):
        header.write_measured(copied, {"put v3_bins": "1 ms", "v9_none": "1 ms"})
    assert copied.read_text() == before


# --- names ---


def test_names_are_ops_rungs_families_and_all():
    assert [rung.op for rung in chosen(["gram_a"])] == ["gram_a"] * 4
    assert [rung.name for rung in chosen(["gram_a_v3_shared_tile"])] == ["gram_a_v3_shared_tile"]
    assert {rung.op for rung in chosen(["pool.cu"])} == set(families()["pool"])
    assert chosen(["all"]) == chosen(families()) == RUNGS


def test_a_wrong_name_is_answered_with_near_ones(capsys):
    assert main(["kernels", "list", "cnv2d_y"]) == 2
    assert "did you mean conv2d_y" in capsys.readouterr().err


def test_a_family_is_too_much_to_explain():
    with pytest.raises(ArgumentError, match="pool is more than one op"):
        one("pool")


# --- list ---


def test_list_names_every_rung_with_its_idea(capsys):
    status, out = run(capsys, "list")
    assert status == 0
    for rung in RUNGS:
        short = rung.name.removeprefix(f"{rung.op}_")
        assert re.search(rf"{short} +{re.escape(header.idea(rung))}", out)


def test_list_of_an_op_says_when_rungs_do_not_fit(capsys):
    _, out = run(capsys, "list", "conv2d_y")
    assert "does not fit: channels per group must be multiples of 4 (float32)" in out
    assert "used only when asked for" in out and "conv2d_x" not in out


def test_list_as_json_marks_what_is_used_where(capsys):
    _, out = run(capsys, "list", "conv2d_y", "--json")
    rows = {row["level"]: row for row in json.loads(out)}
    assert [n for n, row in rows.items() if row["default_on_gpu"]] == [9]
    assert [n for n, row in rows.items() if row["default_on_emulator"]] == [6]
    assert [rung.level for rung in used(LADDERS["conv2d_y"])] == [9, 6]


def test_output_that_nobody_reads_on_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "minidl", "kernels", "list"],
        stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60,
    )
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("command", ["list", "check", "explain", "bench"])
def test_help_of_each_command_has_examples(command, capsys):
    with pytest.raises(SystemExit):
        main(["kernels", command, "--help"])
    assert f"minidl kernels {command} " in capsys.readouterr().out.partition("examples:")[2]


# --- check ---


@pytest.mark.usefixtures("with_compiler")
def test_check_finds_nothing_wrong_with_a_right_rung(capsys):
    status, out = run(capsys, "check", "gram_y_v3_shared_tile", "--fast")
    assert status == 0
    assert "nothing found" in out and "float64" in out and "Rungs: 1, with findings: 0" in out


@pytest.mark.parametrize("mode", check.SANITIZERS)
def test_sanitizers_look_too(mode):
    if sanitize.available(mode):
        pytest.skip(sanitize.available(mode))
    result = check.check(rung_named("gram_y_v3_shared_tile"), (mode,))
    assert result.sanitized == [mode] and not result.problems


@pytest.mark.usefixtures("with_compiler")
def test_check_reports_a_result_that_differs(monkeypatch, capsys):
    rung = rung_named("gram_b_v1_naive")
    monkeypatch.setattr(check, "in_double", lambda op, *call: (2 * rung(*call[0]),))
    status, out = run(capsys, "check", rung.name, "--fast")
    assert status == 1 and "differs from the reference by 5.0e-01" in out


@pytest.mark.usefixtures("with_compiler")
def test_check_quotes_what_the_tracer_finds(monkeypatch, capsys):
    finding = Finding("race", "gram_y_v3_shared_tile", "gram.cu:150", "threads 1 and 2 meet")

    def found(result, *call):
        check._note(result, [finding])
        return 1

    monkeypatch.setattr(check, "_compare", found)
    status, out = run(capsys, "check", "gram_y_v3_shared_tile", "--fast")
    assert status == 1
    assert "gram_y_v3_shared_tile: race at gram.cu:150\nthreads 1 and 2 meet" in out
    assert out.count("threads 1 and 2 meet") == 1


@pytest.mark.usefixtures("with_compiler")
def test_what_this_machine_lacks_is_no_fault_of_a_kernel(monkeypatch, capsys):
    def lacking(*given):
        raise DeviceError("there is no compiler")

    monkeypatch.setattr(check, "_compare", lacking)
    assert main(["kernels", "check", "gram_y_v3_shared_tile", "--fast"]) == 2
    told = capsys.readouterr()
    assert "DeviceError: there is no compiler" in told.err and "with findings" not in told.out


TOO_FAR = """
extern "C" __global__ void too_far(
    const real* a, const real* b, real* y, int I, int J, int P) {
    const int index = blockIdx.x * blockDim.x + threadIdx.x;  // and no: if (index >= size) return
    const int j = index % J, i = index / J % I, n = index / J / I;
    real sum = 0;
    for (int p = 0; p < P; p++) sum += a[(n * I + i) * P + p] * b[(n * J + j) * P + p];
    y[index] = sum;
}
"""


def test_check_finds_an_overrun_that_leaves_the_results_right():
    kernel = kernels_of(TOO_FAR)["too_far"]

    def too_far(name, a, b):
        (n, i, p), j = a.shape, b.shape[1]
        y = np.zeros((n, i, j), a.dtype)
        if y.size:
            launch(kernel, -(-y.size // 32), 32, a=a, b=b, y=y, I=i, J=j, P=p)
        return y

    (rung,) = Ladder("gram_y", [Rung("too_far", too_far)])
    result = check.check(rung)
    assert any(re.match(r"too_far: overrun at text\.cu:8\n.* y\[30\]", p) for p in result.problems)
    assert not any("differs from the reference" in problem for problem in result.problems)


def test_an_error_while_checking_is_a_problem_and_not_the_end(monkeypatch):
    def broken(*call):
        raise KernelError("it stands still")

    monkeypatch.setattr(check, "_compare", broken)
    result = check.check(rung_named("gram_y_v1_naive"))
    assert all("it stands still" in problem for problem in result.problems)
    assert len(result.problems) > 1


@pytest.mark.parametrize(
    "found, expected, answer",
    [
        ([1.0, 2.0], [1.0, 2.0], 0),
        ([1.0, 2.5], [1.0, 2.0], 0.25),
        ([np.nan, 1.0], [np.nan, 1.0], 0),
        ([np.nan, 1.0], [2.0, 1.0], np.inf),
        ([np.inf, 1.0], [np.inf, 1.0], 0),
        ([1.0], [1.0, 1.0], np.inf),
        ([1.0], [0.0], np.inf),
        ([], [], 0),
    ],
)
def test_difference_is_relative_to_the_largest_and_knows_nan(found, expected, answer):
    assert check.difference(np.array(found), np.array(expected)) == answer


# --- explain ---


def test_blocks_that_fit_by_each_limit():
    # 128 registers of 256 threads: 16 warps in 64 K registers, two blocks of 8.
    assert occupancy("sm_90", 256, 128, 0).blocks == 2
    assert occupancy("sm_90", 256, 128, 0).limited_by == "registers"
    # 100 KB of shared memory and the kilobyte of the system, twice in 228.
    assert occupancy("sm_90", 256, 16, 100 * 1024).limits["shared memory"] == 2
    assert occupancy("sm_89", 256, 16, 50 * 1024).blocks == 1
    assert occupancy("sm_80", 1024, 16, 0).blocks == 2
    assert occupancy("sm_90", 32, 16, 0).limited_by == "blocks"
    assert occupancy("sm_90a", 256, 64, 0).share == 0.5
    assert occupancy("sm_35", 256, 64, 0) is None


def test_tile_of_a_block_is_what_it_writes():
    rung = rung_named("gram_a_v4_register_tile")
    case = sizing.sized("gram_a", {"N": 1, "I": 64, "P": 128})
    (found,) = launches.owners(rung, case.call("float32"))
    assert (found.array, found.shape, found.blocks) == ("a", (1, 64, 128), 2)
    expected = np.repeat([[0, 1]], 64, axis=1).repeat(64, axis=0)
    np.testing.assert_array_equal(found.owner, expected)


def test_launches_looked_at_for_their_tiles_compute_what_they_should():
    rung = rung_named("put_windows_v3_bins")
    call = fitting_case(rung, "float32").call("float32")
    ranges, put = launches.owners(rung, call)
    # The second launch finds its bins only by what the first left whole.
    assert (ranges.owner >= 0).all() and (put.owner >= 0).all()
    assert set(np.unique(put.owner)) == set(range(put.blocks))


@pytest.mark.parametrize("op", LADDERS)
def test_every_op_can_be_called_by_sizes(op):
    case = sizing.sized(op, {"N": 1})
    for dtype in ("float32", "float64"):
        arrays, settings = case.call(dtype)
        assert arrays[0].dtype == dtype
        assert LADDERS[op].rungs[0](*arrays, **settings) is not None
    assert sizing.large(op).op == op


def test_sizes_are_read_and_wrong_ones_refused():
    assert sizing.read("resample", ["H=5", "mode=bicubic"]) == {"H": 5, "mode": "bicubic"}
    for wrong in ("Q=3", "H", "H=x", "H=0", "H=-1", "mode=cubic"):
        with pytest.raises(ArgumentError, match="--set"):
            sizing.read("resample", [wrong])
    _, settings = sizing.sized("conv2d_y", {"H": 9, "K": 5}).call("float32")
    assert settings["windows"].kernel == (5, 5)
    with pytest.raises(ArgumentError, match="groups=3 does not divide"):
        sizing.sized("conv2d_y", {"groups": 3}).call("float32")


@pytest.mark.usefixtures("with_compiler")
def test_explain_as_text_has_formula_launch_traffic_and_ladder(capsys):
    status, out = run(capsys, "explain", "gram_b", "--set", "N=1", "I=20", "P=40")
    assert status == 0
    assert "b[n, j, p] = sum over i" in out
    assert "gram_b_v4_register_tile: " in out and "Changes: a thread computes 4 x 4" in out
    assert re.search(r"1 blocks \(1, 1, 1\) of 256 threads", out)
    assert re.search(r"global load 4 B, [\d,]+ requests", out)
    assert re.search(r"v1_naive +[\d.]+ ", out.partition("The ladder")[2])
    if nvrtc.available():
        assert re.search(r"gram_b_v4_register_tile +float +\d+", out)


@pytest.mark.usefixtures("with_compiler")
def test_explaining_goes_on_where_nvrtc_is_missing(monkeypatch, capsys):
    from minidl.commands.kernels import record

    def missing(*given):
        raise record.DeviceError("NVRTC is not here")

    monkeypatch.setattr(record, "_compiled", missing)
    status, out = run(capsys, "explain", "pick_windows_v1_naive")
    assert status == 0 and "Not compiled: NVRTC is not here" in out and "Traffic of" in out


@pytest.mark.usefixtures("with_compiler")
def test_explaining_a_rung_that_does_not_fit_says_why(capsys):
    given = ["explain", "conv2d_y_v6_vectorised", "--set", "C=3"]
    assert main(["kernels", *given]) == 2
    assert "channels per group must be multiples of 4" in capsys.readouterr().err


def test_a_rung_that_does_not_fit_the_example_is_explained_on_a_case_it_fits():
    rung = rung_named("normalize_v6_columns")
    arrays, settings = fitting_case(rung, "float32").call("float32")
    assert not rung.why_not(*arrays, **settings)


def test_heat_rises_with_the_excess():
    levels = [heat(excess) for excess in (1, 1.01, 1.1, 1.5, 1.6, 2, 3, 5, 9, 32)]
    assert levels == sorted(levels) and levels[0] == 0 and levels[-1] == 5


class Reader(HTMLParser):
    """Reads a page: which tags are open, what it links to, what it would load."""


    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.loads = [], [], [], []

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        if tag != "meta":  # the one that is never closed
            self.open.append(tag)
        self.ids += [known["id"]] if "id" in known else []
        self.links += [known["href"]] if "href" in known else []
        if tag in {"script", "link", "img", "iframe"} or "src" in known:
            self.loads.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written():
    rung = rung_named("gram_y_v5_register_tile")
    case = sizing.sized("gram_y", {"N": 1, "I": 20, "P": 600})
    return page(explain(rung, case, "float32", "sm_90", ladder=True))


def test_page_is_whole_and_needs_nothing_beside_it(written):
    reader = Reader()
    reader.feed(written)
    reader.close()
    assert reader.open == [] and reader.loads == []
    assert "http" not in written and "url(" not in written and "@import" not in written
    assert len(reader.ids) == len(set(reader.ids)) > 0
    assert {link.removeprefix("#") for link in reader.links} <= set(reader.ids)


def test_page_shows_every_line_with_traffic_and_the_launches(written):
    assert "gram_y_v5_register_tile" in written and "gram_y_add_slices" in written
    assert "prefers-color-scheme: dark" in written
    number = next(n for n, line in enumerate((folder() / "gram.cu").read_text().splitlines(), 1)
                  if "gram_y_add_slices(" in line)
    assert f'<span class="n">{number}</span>' in written
    assert re.search(r'id="gram\.cu-\d+"><summary class="row h\d"', written)


@pytest.mark.usefixtures("with_compiler")
def test_page_is_written_whole_to_the_file(tmp_path, capsys):
    path = tmp_path / "pages" / "pick.html"
    assert main(["kernels", "explain", "pick_windows_v4_four", "--html", str(path)]) == 0
    assert path.read_text().startswith("<!doctype html>") and path.read_text().endswith("</html>\n")


def test_squares_of_a_request_are_those_moved():
    picture = drawing.request(moved=4.5, ideal=2)
    assert picture.count('class="quiet"') == 2 and picture.count('class="excess"') == 3
    assert 'width="4.5"' in picture  # half a square


# --- bench ---


@pytest.mark.usefixtures("with_compiler")
def test_bench_times_every_rung_on_the_emulator(capsys):
    status, out = run(capsys, "bench", "pick_windows", "--repeats", "1", "--json")
    rows = json.loads(out)
    assert status == 0 and [row["level"] for row in rows] == [1, 2, 3, 4]
    assert all(row["milliseconds"] > 0 and row["device"] == "the emulator" for row in rows)


@pytest.mark.usefixtures("with_compiler")
def test_bench_says_what_its_times_are_and_why_a_rung_is_left_out(capsys):
    sizes = ["--set", "N=1", "C=3", "H=6", "O=2"]
    _, out = run(capsys, "bench", "conv2d_y", "--repeats", "1", *sizes)
    assert "no hint of a GPU's" in out
    assert "conv2d_y_v6_vectorised does not fit: channels per group must be" in out


def test_only_times_of_a_gpu_are_written(capsys):
    assert main(["kernels", "bench", "gram_y", "--write"]) == 2
    assert "--write is for times of a GPU" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, written",
    [
        (["--device", "cuda"], True),
        (["--device", "cuda", "--no-write"], False),
        (["--device", "cuda", "--set", "I=8"], False),
        (["--device", "cuda", "--set", "I=8", "--write"], True),
        ([], False),
    ],
)
def test_times_of_a_gpu_go_into_the_file_unless_they_are_of_other_sizes(
    flags, written, monkeypatch, capsys
):
    paths = []
    monkeypatch.setattr(bench, "write_measured", lambda path, cells: paths.append(path.name))
    monkeypatch.setattr(bench, "bench", lambda rungs, case, args: [
        bench.Timed(rung, case, "float32", "a GPU", 1.0) for rung in rungs
    ])
    assert main(["kernels", "bench", "gram_y", *flags]) == 0
    assert paths == (["gram.cu", "gram_packs.cu"] if written else [])


def test_ops_that_share_a_row_are_written_side_by_side():
    case = sizing.large("conv2d_y")
    timed = [
        bench.Timed(rung_named(f"conv2d_{corner}_v1_naive"), case, "float32", "a GPU", time)
        for corner, time in zip("yxw", (1.25, 2.5, None), strict=True)
    ]
    cells = bench.cells(timed, date(2026, 1, 2))
    assert cells == {"v1_naive": "1.25, 2.5 ms, a GPU, 2026-01-02"}


@pytest.mark.gpu
def test_bench_times_rungs_on_a_gpu(capsys):
    status, out = run(capsys, "bench", "gram_y", "--device", "cuda", "--repeats", "2",
                      "--no-write", "--json")
    assert status == 0 and all(row["milliseconds"] > 0 for row in json.loads(out))


@pytest.mark.parametrize("command", [["explain", "gram"], ["check", "gram", "--fast"]])
def test_what_is_missing_is_said_before_anything_is_built(command, monkeypatch, capsys):
    def never(*args, **settings):
        raise AssertionError("work was done before the packages were looked for")

    for module, name in (("check", "chosen"), ("explain", "one"), ("explain", "explain")):
        found = import_module(f"minidl.commands.kernels.{module}")
        monkeypatch.setattr(found, name, never)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "elftools", None)
        assert main(["kernels", *command]) == 2
    assert "pip install 'minidl[kernels]'" in capsys.readouterr().err
    monkeypatch.setattr(check, "compiler", raised(DeviceError("a C++ compiler is needed")))
    assert main(["kernels", *command]) == 2
    assert "a C++ compiler is needed" in capsys.readouterr().err


def raised(error):
    def function():
        raise error

    return function
