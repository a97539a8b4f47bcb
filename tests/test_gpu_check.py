"""`make gpu-check`, tried where there is no GPU: on stand-ins for CuPy, and on PyTorch's CPU.

No time is judged here, and none that is "measured" here means anything.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.gpu import (
    cases,
    check,
    correct,
    ladders,
    launch_once,
    report,
    sanitized,
    timing,
    tree,
)
from minidl.cuda import gpu
from minidl.cuda.ladder import Ladder, Rung
from minidl.kernels import ladders as kernels_ladders
from minidl.kernels.ladders import LADDERS
from tests import strict_cupy

QUICK = timing.Pace(rounds=2, burst=0.01, warm=0.0)


class Event:
    def record(self):
        self.time = time.perf_counter()

    def synchronize(self):
        pass


@pytest.fixture
def cupy(monkeypatch):
    """A GPU that is not there: CuPy's stand-in, with kernels run by the emulator."""
    fake = strict_cupy.install(monkeypatch)
    fake.from_dlpack = lambda t: strict_cupy.ndarray(np.from_dlpack(t))
    fake.random = SimpleNamespace(
        standard_normal=lambda n, dtype: strict_cupy.ndarray(np.ones(4, dtype))
    )
    about = {"name": b"Stand-in", "multiProcessorCount": 1, "l2CacheSize": 2, "totalGlobalMem": 3}
    fake.cuda.Event = Event
    fake.cuda.get_elapsed_time = lambda start, end: 1e3 * (end.time - start.time)
    fake.cuda.set_allocator = lambda allocator: None
    fake.cuda.runtime = SimpleNamespace(
        deviceSynchronize=lambda: None, getDevice=lambda: 0, driverGetVersion=lambda: 13000,
        getDeviceProperties=lambda number: about,
    )
    fake.get_default_memory_pool = lambda: SimpleNamespace(free_all_blocks=lambda: None)
    fake.__version__ = "0"
    monkeypatch.setattr(gpu, "run", strict_cupy.run_emulated)
    return fake


@pytest.fixture
def rows(tmp_path):
    return report.Rows(tmp_path / "rows.jsonl", "a step")


def written(rows):
    return report.read(rows.path)


# --- how steps are run ---


def test_checkout_without_an_installation_finds_all_of_minidl():
    code = (
        "import sys\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        f"sys.path.insert(0, {str(tree.ROOT)!r})\n"
        "from benchmarks.gpu import tree; tree.use()\n"
        "import minidl.models.vae, minidl.kernels.cases, minidl.cuda.ladder\n"
        "print(minidl.kernels.__file__)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert ran.stdout.strip() == str(tree.ROOT / "kernels" / "__init__.py"), ran.stderr


def test_rows_are_kept_at_once_and_a_torn_line_is_left_out(rows):
    rows.add("first", True, "good", error=np.float32(0.5), none=float("nan"))
    with rows.path.open("a") as file:
        file.write('{"step": "a st')
    (row,) = written(rows)
    assert row == {"step": "a step", "name": "first", "ok": True, "text": "good", "error": 0.5,
                   "none": None}
    assert rows.done() == {"first"}


def test_what_goes_wrong_is_a_failed_row_and_the_step_goes_on(rows):
    with rows.judged("bad"):
        raise ValueError("first line\nsecond")
    (row,) = written(rows)
    assert (row["ok"], row["text"], row["details"]) == (False, "ValueError: first line", ["second"])


def test_broken_gpu_context_asks_for_a_fresh_process(rows):
    with pytest.raises(SystemExit) as stopped, rows.judged("bad"):
        raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")
    assert stopped.value.code == report.AGAIN
    assert rows.done() == {"bad"}


def script(monkeypatch, tmp_path, text):
    """Steps run this script in place of check.py."""
    path = tmp_path / "script.py"
    path.write_text(text)
    monkeypatch.setattr(check, "__file__", str(path))


def test_step_is_started_again_until_it_is_done(monkeypatch, tmp_path):
    script(monkeypatch, tmp_path, (
        "import sys, pathlib\n"
        "count = pathlib.Path(sys.argv[0]).with_name('count')\n"
        "count.open('a').write('x')\n"
        f"sys.exit({report.AGAIN} if len(count.read_text()) < 3 else 0)\n"
    ))
    assert check.supervised("machine", 60, tmp_path) == "done"
    assert (tmp_path / "count").read_text() == "xxx"


def test_step_that_does_not_end_is_stopped_with_all_that_it_started(monkeypatch, tmp_path):
    monkeypatch.setattr(check, "GRACE", 0.5)
    script(monkeypatch, tmp_path, (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(sys.argv[0] + '.pid', 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    ))
    assert check.supervised("machine", 1, tmp_path) == "stopped at its time limit"
    pid = int((tmp_path / "script.py.pid").read_text())
    status = Path(f"/proc/{pid}/status")
    for _ in range(50):
        if not status.exists() or "State:\tZ" in status.read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail("its child is still there")


def test_failed_step_is_reported_with_its_status(monkeypatch, tmp_path):
    script(monkeypatch, tmp_path, "import sys; sys.exit(3)")
    assert check.supervised("machine", 60, tmp_path) == "ended with status 3"


def test_all_steps_exist_and_fit_into_ten_minutes():
    for module, function, _ in check.STEPS.values():
        path = tree.ROOT / "benchmarks" / "gpu" / f"{module}.py"
        assert f"\ndef {function}(rows" in path.read_text()
    assert sum(seconds for *_, seconds in check.STEPS.values()) <= 570


def test_summary_tells_predictions_failures_and_ends(tmp_path, rows):
    rows.add("a race", True, "1.2 ms", predicted=0.9, ratio=1.3, gpu="NVIDIA X")
    rows.add("a check", False, "off by 2")
    found, ends = written(rows), {"a step": "done", "another": "stopped at its time limit"}
    told = check.summary(found, ends)
    assert "0.90 ->  1.30  1.2 ms" in told
    assert "a step: a check: off by 2" in told
    assert told.splitlines()[-1].endswith("stopped at its time limit")
    assert check.failed(found, ends) and not check.failed(found[:1], {"a step": "done"})
    paths = [check.written(tmp_path, found, ends) for _ in "ab"]
    assert paths[0] != paths[1] and all(p.name.startswith("nvidia-x-") for p in paths)
    assert json.loads(paths[0].read_text())["rows"] == found


def test_missing_gpu_fails_every_step_and_is_told(tmp_path):
    ran = subprocess.run(
        [sys.executable, check.__file__, "--only", "models", "--out", str(tmp_path)],
        capture_output=True, text=True, timeout=120,
    )
    assert ran.returncode == 1
    assert "models: VAE, convolutional: DeviceError: cuda" in ran.stdout
    (path,) = tmp_path.iterdir()
    judged = len(cases.models()) + len(cases.answers())
    assert len(json.loads(path.read_text())["rows"]) == judged


# --- is it right ---


@pytest.fixture
def few_rungs(monkeypatch):
    """The ladder of gram_y, with a rung that is wrong."""
    right = LADDERS["gram_y"].rungs[:2]
    wrong = Rung("wrong", lambda name, a, b: right[0](a, b) * 1.001)
    ladder = Ladder("gram_y", [*right, wrong])
    monkeypatch.setattr(kernels_ladders, "LADDERS", {"gram_y": ladder})


@pytest.mark.usefixtures("with_compiler")
def test_every_rung_is_compared_with_numpy(cupy, rows, few_rungs):
    correct.kernels(rows)
    assert {row["name"]: row["ok"] for row in written(rows)} == {
        "gram_y_v1_naive": True, "gram_y_v2_packs": True, "gram_y_v3_wrong": False,
    }
    correct.kernels(rows)
    assert len(written(rows)) == 3, "what is done is not done again"


@pytest.mark.usefixtures("with_compiler")
def test_derivatives_on_the_gpu_are_compared_with_differences_on_the_cpu(cupy, rows, monkeypatch):
    import minidl.samples as samples

    chosen = [s for s in samples.all_samples() if s.op in ("conv_transpose2d", "take_along_axis")]
    half = lambda F, x, *rest: F.exp(x.detach() + x)  # noqa: E731
    broken = replace(chosen[0], setting="broken", call=half)
    monkeypatch.setattr(samples, "all_samples", lambda: [*chosen, broken])
    correct.gradients(rows)
    found = {row["name"]: row for row in written(rows)}
    assert {name for name, row in found.items() if not row["ok"]} == {broken.name}
    assert len(found) == len(chosen) + 1
    assert "the gradient of input 0 is wrong" in found[broken.name]["text"]


@pytest.mark.usefixtures("with_compiler")
def test_models_are_trained_on_both_devices(cupy, rows, monkeypatch):
    from minidl.models.autoencoder import mlp_autoencoder

    every = cases.models()
    chosen = {"small": cases.Trial(lambda: mlp_autoencoder((1, 28, 28), 2))}
    chosen |= {name: every[name] for name in ("SegNet-Basic", "ResNet-18", "CRN", "chairs")}
    monkeypatch.setattr(cases, "models", lambda: chosen)
    correct.models(rows)
    judged = [*chosen, *cases.answers()]
    assert [(row["name"], row["ok"]) for row in written(rows)] == [(name, True) for name in judged]


def test_every_model_file_is_tried_on_the_gpu():
    from minidl import models

    files = {path.stem for path in Path(models.__file__).parent.glob("*.py")}
    files -= {"__init__", "width"}
    text = inspect.getsource(cases.models) + inspect.getsource(cases.answers)
    assert all(f"minidl.models.{name} import" in text for name in files)


def test_each_rung_is_launched_once_for_the_sanitizer(cupy, capsys):
    launch_once.main(float("inf"))
    launched, all_ = capsys.readouterr().out.split()[1:4:2]
    assert launched == all_ == str(sum(map(len, LADDERS.values())))


@pytest.mark.parametrize(
    "memcheck, ok", [("========= ERROR SUMMARY: 0 errors", True),
                     ("========= ERROR SUMMARY: 3 errors", False), ("Device not supported", None)],
)
def test_what_compute_sanitizer_counts_is_read(memcheck, ok, tmp_path, monkeypatch, rows):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        "#!/bin/sh\necho launched 5 of 7 rungs\n"
        f'if [ "$2" = memcheck ]; then echo "{memcheck}"; else\n'
        'echo "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"; fi\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    sanitized.sanitizer(replace(rows, seconds=60))
    assert [(row["name"], row["ok"]) for row in written(rows)] == [
        ("memcheck", ok), ("racecheck", True),
    ]


# --- how fast ---


def test_sides_take_turns_and_the_ratio_is_taken_within_a_round():
    log, clock = [], iter(range(1, 100))

    def leg(name, factor):
        return lambda: (log.append(name), factor * next(clock))[1]

    found = timing.Race(timing.turns({"a": leg("a", 1), "b": leg("b", 2)}, timing.Pace(rounds=2)))
    assert "".join(log) == "abbaabba"
    assert found.times == {"a": [2.5, 6.5], "b": [5.0, 13.0]}
    assert found.ratio("a", "b")["ratio"] == 0.5
    assert found.fastest(["a", "b"]) == "a"


def test_times_that_vary_are_not_sound():
    steady, wild = [1.0, 1.01, 1.0, 0.99], [1.0, 3.0, 1.0, 2.0]
    race = timing.Race({"steady": steady, "wild": wild, "one": [1.0] * 4})
    assert race.ratio("steady", "one")["sound"] and not race.ratio("wild", "one")["sound"]


def test_buffers_exceed_the_cache():
    assert timing.sets_for(1e9) == 2
    assert timing.sets_for(20e6) * 20e6 >= timing.CACHE


class Stream:
    """Notes what is asked of it; a graph of it does again what was done while it captured."""

    capturing = False

    def __init__(self, non_blocking):
        assert non_blocking, "the default stream cannot be captured"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def synchronize(self):
        assert not self.capturing

    def begin_capture(self):
        self.capturing = Stream.capturing = True

    def end_capture(self):
        self.capturing = Stream.capturing = False
        return SimpleNamespace(launch=lambda stream: None)


def test_calls_are_captured_after_a_warm_up_and_with_memory_of_their_own(cupy):
    cupy.cuda.Stream, pools = Stream, []
    cupy.cuda.MemoryPool = lambda: SimpleNamespace(malloc="a pool's")
    cupy.cuda.using_allocator = lambda allocator: (pools.append(allocator), nullcontext())[1]
    calls = []
    replay = timing.graph(timing.Side("a", lambda i: calls.append((i, Stream.capturing))), 3)
    assert calls == [(0, False), (1, False), (0, True), (1, True), (2, True)]
    assert pools == ["a pool's"]
    assert replay() > 0 and len(calls) == 5, "a replay calls nothing"


@pytest.fixture
def torch(cupy, monkeypatch):
    """PyTorch's CPU in place of its GPU."""
    torch = pytest.importorskip("torch", reason="the rival of the benchmarks")
    from benchmarks.gpu import rival

    monkeypatch.setattr(rival, "DEVICE", "cpu")
    yield torch
    rival.use_mode("strict")


def test_convolutions_are_checked_then_timed(torch, rows, monkeypatch):
    from benchmarks.gpu import convolutions

    monkeypatch.setattr(timing, "CACHE", 1.0)
    small = [cases.Conv("small", 2, 4, 8, 6, 3, 1, 1, (1, 2, 3), (4, 5, 6)),
             cases.Conv("steps", 2, 3, 5, 8, 4, 2, 1, (1, 2, 3), (4, 5, 6))]
    monkeypatch.setattr(convolutions, "CONVOLUTIONS", small)
    monkeypatch.setattr(convolutions, "TF32", 1)
    convolutions.convolutions(rows, QUICK)
    found = {row["name"]: row for row in written(rows)}
    assert len(found) == 9
    for name, row in found.items():
        assert row["ratio"] > 0 and row["errors"]["minidl"] < 2e-3, name
    assert found["small, x, tf32"]["predicted"] == 5
    assert found["small, y, strict"]["errors"]["minidl"] < 1e-6
    assert "not in a graph" in found["small, y, strict"]["note"]


def test_wrong_convolution_is_not_timed(torch, rows, monkeypatch):
    from benchmarks.gpu import convolutions
    from minidl.kernels import conv

    right = conv.conv2d_y
    monkeypatch.setattr(conv, "conv2d_y", lambda *a, **k: right(*a, **k) * 1.1)
    monkeypatch.setattr(timing, "CACHE", 1.0)
    monkeypatch.setattr(convolutions, "TF32", 0)
    monkeypatch.setattr(convolutions, "CONVOLUTIONS", [
        cases.Conv("small", 2, 4, 8, 6, 3, 1, 1, (1, 2, 3), (4, 5, 6))])
    convolutions.convolutions(rows, QUICK)
    found = {row["name"]: row for row in written(rows)}
    assert found["small, y, strict"]["ok"] is False and "ms" not in found["small, y, strict"]


def test_layers_are_compared_then_timed(torch, rows, monkeypatch):
    from benchmarks.gpu import layers

    small = {64: 8, 256: 16, 128: 8, 65536: 6, 16: 2}

    def shrunk(case):
        sizes = {k: tuple(small.get(n, n) for n in shape) for k, shape in case.shapes.items()}
        return replace(case, shapes=sizes)

    chosen = [shrunk(case) for case in cases.LAYERS]
    monkeypatch.setattr(layers, "LAYERS", chosen)
    layers.layers(rows, QUICK)
    found = {row["name"]: (row["ok"], row["text"]) for row in written(rows)}
    assert {name: told for name, told in found.items() if not told[0]} == {}
    assert len(found) == len(chosen)


def test_training_steps_are_timed_on_both_sides(torch, rows, monkeypatch):
    from benchmarks.gpu import training
    from minidl.models.autoencoder import conv_autoencoder
    from minidl.models.vae import mlp_vae

    nets = {
        "conv": (lambda: conv_autoencoder((1, 8, 8), channels=(2, 3)), (2, 1, 8, 8), 1.0),
        "vae": (lambda: mlp_vae((1, 4, 4), 2, (5,)), (2, 1, 4, 4), 1.0),
    }
    monkeypatch.setattr(training, "networks", lambda: nets)
    monkeypatch.setattr(training, "STEPS", 1)
    training.training(rows, QUICK)
    for row in written(rows):
        assert row["ratio"] > 0 and "no graph" in row["note"], row
    assert len(written(rows)) == 2


def test_rivals_network_has_the_models_loss(torch):
    import minidl
    from benchmarks.gpu import rival
    from minidl.models.autoencoder import conv_autoencoder

    model = conv_autoencoder((1, 8, 8), channels=(2, 3))
    x = np.random.default_rng(0).random((2, 1, 8, 8), np.float32)
    theirs = rival.Network(model).loss(torch.from_numpy(x)).item()
    assert theirs == pytest.approx(model.loss(minidl.Tensor(x)).item(), rel=1e-5)


@pytest.mark.usefixtures("with_compiler")
def test_ladders_are_timed_and_their_tables_filled(cupy, rows, monkeypatch):
    from minidl.commands.kernels.bench import example

    chosen = {op: Ladder(op, ladder.rungs[:2]) for op, ladder in LADDERS.items() if "gram" in op}
    monkeypatch.setattr(kernels_ladders, "LADDERS", chosen)
    monkeypatch.setattr(ladders, "case_of", example)
    ladders.ladders(rows)
    found = [{**row, "step": "ladders"} for row in written(rows)]
    assert [row["name"] for row in found] == ["gram_y", "gram_a", "gram_b"]
    ((file, cells),) = ladders.tables(found).items()
    assert file == "gram.cu"
    assert all(text.count("Stand-in") == 1 for text in cells.values())
    assert cells["v1_naive"].split(" ms, ")[0].count(",") == 2
