"""Training: what a run leaves behind, and that it goes on bit for bit after any stop."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import types
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import functional as F
from minidl import nn
from minidl.data import ArrayDataset, DataLoader
from minidl.errors import ArgumentError, CheckpointError, DataError, MissingExtraError
from minidl.files.serialize import load_tree, save_tree
from minidl.optim import Adam
from minidl.train import (
    DivergenceError,
    History,
    JsonLines,
    TensorBoard,
    fit,
    load_checkpoint,
    plot_history,
    save_checkpoint,
)
from minidl.train.history import TIME_COLUMN
from minidl.train.interrupt import held_interrupt

# --- a small run: a network with dropout, Adam, and shuffled batches ---

EPOCHS, BATCHES = 3, 7


class Net(nn.Module):
    """Two layers with dropout, so that the random numbers matter."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1)
        )

    def forward(self, x):
        return self.layers(x)


def make_parts(seed: int = 0):
    """A model, its loader and its optimiser; the last batch is smaller than the others."""
    minidl.manual_seed(seed)
    points = np.random.default_rng(1).standard_normal((4 * BATCHES - 1, 5)).astype(np.float32)
    model = Net()
    dataset = ArrayDataset(points[:, :4], points[:, 4:])
    loader = DataLoader(dataset, 4, shuffle=True, workers=2)
    return model, loader, Adam(model.parameters(), lr=0.01)


class Decay:
    """Multiplies the learning rate after each step; its state is part of the run."""

    def __init__(self, optimizer):
        self.optimizer, self.steps = optimizer, 0

    def step(self):
        self.steps += 1
        set_rate(self.optimizer, 0.01 * 0.97**self.steps)

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def set_rate(optimizer, rate):
    optimizer.param_groups[0]["lr"] = rate


def rate_of(optimizer):
    return optimizer.param_groups[0]["lr"]


def squared_error(model, batch):
    x, y = batch
    return F.square(model(x) - y).mean()


def validate(model):
    assert not model.training
    # Drawn from the same random numbers, so that a resume has to restore them.
    return {
        "val": np.float32(squared_error(model, (minidl.randn(3, 4), minidl.zeros((3, 1)))).item())
    }


def train(out, loss=squared_error, parts=None, **settings):
    model, loader, optimizer = parts or make_parts()
    settings = {
        "epochs": EPOCHS, "every": 2, "checkpoint_every": 3, "resume": True, "progress": False,
        "validate": validate, "schedule": Decay(optimizer), **settings,
    }
    return model, fit(model, loader, optimizer, loss, out=out, **settings)


def metrics(out):
    """The metrics file, byte for byte but for what the clock said."""
    return re.sub(rb', "seconds": [0-9.e-]+', b"", Path(out, "metrics.jsonl").read_bytes())


def untimed(history):
    """The rows without wall-clock times: equal for a run and its repetition."""
    return [{key: row[key] for key in row if key != TIME_COLUMN} for row in history]


def weights(model):
    return {name: np.asarray(value).tobytes() for name, value in model.state_dict().items()}


def stop_at(step):
    """A loss that raises in the middle of a step, the first step being 1."""
    calls = iter(range(1, 10**9))

    def loss(model, batch):
        if next(calls) == step:
            raise RuntimeError("pulled the plug")
        return squared_error(model, batch)

    return loss


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole")
    model, history = train(out)
    return types.SimpleNamespace(out=out, weights=weights(model), history=history)


# --- the loop ---


def test_training_lowers_the_loss_and_records_every_epoch(whole):
    assert whole.history.column("epoch") == [1, 2, 3]
    assert whole.history.column("step") == [7, 14, 21]
    losses = whole.history.column("loss")
    assert losses[-1] < 0.8 * losses[0]
    assert all(type(value) is float for value in whole.history.column("val"))


def test_metrics_hold_every_other_step_and_every_epoch(whole):
    rows = [json.loads(line) for line in metrics(whole.out).splitlines()]
    assert [r["step"] for r in rows if r["event"] == "step"] == list(range(2, 22, 2))
    assert [r["epoch"] for r in rows if r["event"] == "step"] == [1] * 3 + [2] * 4 + [3] * 3
    epochs = [{k: v for k, v in r.items() if k != "event"} for r in rows if r["event"] == "epoch"]
    assert epochs == untimed(whole.history)


def test_the_loss_of_an_epoch_is_the_mean_over_its_steps(tmp_path):
    rows = []
    train(tmp_path, every=1, callbacks=[rows.append])
    for epoch in (1, 2, 3):
        steps = [r["loss"] for r in rows if r["event"] == "step" and r["epoch"] == epoch]
        (row,) = [r for r in rows if r["event"] == "epoch" and r["epoch"] == epoch]
        assert len(steps) == BATCHES
        assert row["loss"] == pytest.approx(np.mean(steps), rel=1e-12)


def test_a_step_is_the_handwritten_one(tmp_path):
    model, loader, optimizer = make_parts()
    for batch in loader:
        optimizer.zero_grad()
        squared_error(model, batch).backward()
        optimizer.step()
    other = make_parts()
    fit(*other, squared_error, epochs=1, progress=False)
    assert weights(other[0]) == weights(model)


def test_the_mode_is_evaluation_only_while_validating():
    model, loader, optimizer = make_parts()
    modes = []

    def loss(model, batch):
        modes.append(model.training)
        return squared_error(model, batch)

    def check(model):
        modes.append(model.training)
        return {"graph": squared_error(model, next(iter(make_parts()[1]))).requires_grad}

    history = fit(model, loader, optimizer, loss, epochs=2, validate=check, progress=False)
    assert modes == [*[True] * BATCHES, False] * 2
    assert model.training
    assert history.column("graph") == [0, 0]


def test_a_model_whose_validation_fails_is_back_in_training_mode():
    model, loader, optimizer = make_parts()

    def validate(model):
        assert not model.training
        raise OSError("the validation images are gone")

    with pytest.raises(OSError, match="are gone"):
        fit(model, loader, optimizer, squared_error, epochs=1, validate=validate, progress=False)
    assert model.training


def test_the_seconds_of_an_epoch_count_its_batches_its_steps_and_its_validation(monkeypatch):
    model, loader, optimizer = make_parts()
    batches, clock = list(loader), [0.0]

    class Slow:
        """Batches that take 10 seconds each to come."""

        def __iter__(self):
            for batch in batches:
                clock[0] += 10
                yield batch

    def loss(model, batch):
        clock[0] += 1
        return squared_error(model, batch)

    def validate(model):
        clock[0] += 100
        return {}

    monkeypatch.setattr("minidl.train.loop.time.perf_counter", lambda: clock[0])
    history = fit(model, Slow(), optimizer, loss, epochs=2, validate=validate, progress=False)
    assert history.column("seconds") == [11 * len(batches) + 100] * 2


def test_clip_sees_the_gradients_before_the_step():
    model, loader, optimizer = make_parts()
    before = [p.data.copy() for p in model.parameters()]

    def erase(parameters):
        for p in parameters:
            assert p.grad is not None
            p.grad.data[...] = 0

    fit(model, loader, optimizer, squared_error, epochs=1, clip=erase, progress=False)
    assert all(np.array_equal(p.data, b) for p, b in zip(model.parameters(), before, strict=True))


def test_the_schedule_moves_after_every_step():
    model, loader, optimizer = make_parts()
    rates = []

    def loss(model, batch):
        rates.append(rate_of(optimizer))
        return squared_error(model, batch)

    fit(model, loader, optimizer, loss, epochs=1, schedule=Decay(optimizer), progress=False)
    assert rates == pytest.approx([0.01 * 0.97**i for i in range(BATCHES)])


def test_a_run_is_silent_when_told(capsys):
    model, loader, optimizer = make_parts()
    fit(model, loader, optimizer, squared_error, epochs=1, progress=False)
    assert capsys.readouterr() == ("", "")


def test_off_a_terminal_a_run_ends_with_a_line(capsys):
    model, loader, optimizer = make_parts()
    fit(model, loader, optimizer, squared_error, epochs=30)
    told = capsys.readouterr()
    assert told.out == "" and re.fullmatch(r"epoch 30/30: loss [0-9.]+, seconds .*\n", told.err)


def test_off_a_terminal_a_long_run_says_now_and_then_how_far_it_is(capsys, monkeypatch):
    clock = iter(range(0, 10**6, 4))
    monkeypatch.setattr("minidl.train.progress.time.monotonic", lambda: next(clock))
    model, loader, optimizer = make_parts()
    fit(model, loader, optimizer, squared_error, epochs=2)
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"epoch 1/2, step 3/7: loss [0-9.e-]+", lines[0])
    assert 3 <= len(lines) <= 6 and lines[-1].startswith("epoch 2/2: loss")


def test_on_a_terminal_there_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    model, loader, optimizer = make_parts()
    fit(model, loader, optimizer, squared_error, epochs=2)
    told = capsys.readouterr().err
    assert "epoch 2/2: 100%" in told and "epoch 2/2: loss" not in told


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"every": 0}, "every must be at least 1"),
        ({"epochs": 2.5}, "at least 1, and whole, received 2.5"),
        ({"epochs": math.nan}, "received nan"),
        ({"epochs": math.inf}, "received inf"),
        ({"checkpoint_every": -1}, "checkpoint_every must be at least 1"),
        ({"out": None}, "need a folder"),
        ({"validate": lambda model: {"loss": 1.0}}, "'val_loss'"),
        ({"loss": lambda model, batch: model(batch[0])}, r"shape \(4, 1\)"),
        ({"loss": lambda model, batch: 3.0}, "returned float"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words, tmp_path):
    with pytest.raises(ArgumentError, match=words):
        train(**{"out": tmp_path, **settings})


def test_a_loader_without_batches_is_refused(tmp_path):
    model, _, optimizer = make_parts()
    with pytest.raises(DataError, match="no batch"):
        train(tmp_path, parts=(model, [], optimizer))


# --- resuming ---


@pytest.mark.parametrize("stop", [1, 4, 6, 7, 8, 14, 15, 21])
def test_a_resumed_run_ends_bit_for_bit_as_one_that_never_stopped(stop, tmp_path, whole):
    with pytest.raises(RuntimeError, match="plug"):
        train(tmp_path, stop_at(stop))
    minidl.manual_seed(999)
    model, history = train(tmp_path, parts=None)
    assert weights(model) == whole.weights
    assert untimed(history) == untimed(whole.history)
    assert metrics(tmp_path) == metrics(whole.out)


def test_a_resumed_run_takes_everything_from_the_checkpoint(tmp_path, whole):
    with pytest.raises(RuntimeError, match="plug"):
        train(tmp_path, stop_at(12))
    parts = make_parts(seed=5)  # other weights, and other random numbers from here on
    set_rate(parts[2], 123.0)
    with pytest.warns(UserWarning, match=r"optimizer: lr = 123.0 was given, and 0.01, the check"):
        model, history = train(tmp_path, parts=parts)
    assert weights(model) == whole.weights
    assert untimed(history) == untimed(whole.history)


def test_a_resumed_run_says_from_where(tmp_path, capsys):
    train(tmp_path, epochs=1)
    train(tmp_path, epochs=2, progress=True)
    first = capsys.readouterr().err.splitlines()[0]
    assert first == f"resuming from {tmp_path / 'last.safetensors'}: 1 epochs, 7 steps done"


@pytest.mark.parametrize("every", [None, 1, 7, 100])
def test_any_interval_of_checkpoints_gives_the_same_run(every, tmp_path, whole):
    with pytest.raises(RuntimeError, match="plug"):
        train(tmp_path, stop_at(16), checkpoint_every=every)
    model, _ = train(tmp_path, checkpoint_every=every)
    assert weights(model) == whole.weights
    assert metrics(tmp_path) == metrics(whole.out)


def test_a_crash_while_validating_loses_no_row_and_doubles_none(tmp_path, whole):
    def crash(model):
        raise RuntimeError("pulled the plug")

    with pytest.raises(RuntimeError, match="plug"):
        train(tmp_path, validate=crash)
    model, _ = train(tmp_path)
    assert weights(model) == whole.weights
    assert metrics(tmp_path) == metrics(whole.out)


def test_a_finished_run_is_not_trained_further_and_can_be_prolonged(tmp_path, whole):
    train(tmp_path, epochs=2)
    again, history = train(tmp_path, stop_at(1), epochs=2)  # not one step is taken
    assert history.column("epoch") == [1, 2]
    model, history = train(tmp_path)
    assert untimed(history) == untimed(whole.history)
    assert weights(model) == whole.weights != weights(again)


def test_a_loader_may_begin_the_next_epoch_with_its_last_batch(tmp_path):
    # Where a loader stands between its last batch and its end is its own affair.
    class Eager:
        def __init__(self, batches):
            self.batches, self.epoch, self.position = batches, 0, 0

        def __len__(self):
            return len(self.batches)

        def __iter__(self):
            for i in range(self.position, len(self)):
                batch = self.batches[(i + self.epoch) % len(self)]
                self.position = i + 1
                if self.position == len(self):
                    self.epoch, self.position = self.epoch + 1, 0
                yield batch

        def state_dict(self):
            return {"epoch": self.epoch, "position": self.position}

        def load_state_dict(self, state):
            self.epoch, self.position = state["epoch"], state["position"]

    def run(folder, validate=validate):
        model, loader, optimizer = make_parts()
        parts = (model, Eager(list(loader)), optimizer)
        return train(tmp_path / folder, parts=parts, checkpoint_every=1, validate=validate)

    def crash(model):
        raise RuntimeError("pulled the plug")

    model, history = run("whole")
    with pytest.raises(RuntimeError, match="plug"):
        run("parts", crash)
    resumed, again = run("parts")
    assert weights(resumed) == weights(model)
    assert untimed(again) == untimed(history)


def test_a_plain_list_of_batches_resumes_too(tmp_path):
    def run(folder, loss=squared_error):
        model, loader, optimizer = make_parts()
        return train(tmp_path / folder, loss, parts=(model, list(loader), optimizer))

    model, history = run("whole")
    with pytest.raises(RuntimeError, match="plug"):
        run("parts", stop_at(12))
    resumed, again = run("parts")
    assert weights(resumed) == weights(model)
    assert untimed(again) == untimed(history)


def test_a_new_run_keeps_what_it_finds_under_another_name(tmp_path):
    train(tmp_path, epochs=1)
    old = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(RuntimeError, match="plug"):
        train(tmp_path, stop_at(2), resume=False)
    assert (tmp_path / "previous.safetensors").read_bytes() == old
    # Nothing is left to resume from by mistake: the new run had no checkpoint yet.
    assert not (tmp_path / "last.safetensors").exists()
    assert (tmp_path / "previous.jsonl").exists()


def test_files_that_a_killed_run_left_half_written_are_removed(tmp_path):
    for name in (".last.safetensors.0123abcd.tmp", ".last.json.0123abcd.tmp"):
        (tmp_path / name).write_text("half")
    train(tmp_path, epochs=1)
    assert sorted(os.listdir(tmp_path)) == ["last.json", "last.safetensors", "metrics.jsonl"]


def test_another_config_at_a_resume_is_reported(tmp_path):
    train(tmp_path, epochs=1, config={"lr": 0.01, "sizes": (4, 8)})
    train(tmp_path, epochs=1, config={"lr": 0.01, "sizes": (4, 8)})  # a tuple is no change
    told = r"another config .*\n.*lr is 0.1 now, and was 0.01\n.*new is 1 now, and was None"
    with pytest.warns(UserWarning, match=told):
        train(tmp_path, epochs=1, config={"lr": 0.1, "sizes": (4, 8), "new": 1})


def test_lost_metrics_are_reported(tmp_path):
    train(tmp_path, epochs=1)
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.warns(UserWarning, match=r"metrics\.jsonl has lost"):
        train(tmp_path, epochs=1)


# --- checkpoints ---


def test_a_summary_for_people_lies_beside_the_checkpoint(tmp_path):
    train(tmp_path, config={"lr": 0.01, "note": "first"})
    summary = json.loads((tmp_path / "last.json").read_text())
    assert summary["config"] == {"lr": 0.01, "note": "first"}
    assert (summary["step"], summary["epoch"]) == (21, 3)
    assert summary["metrics"]["epoch"] == 3
    assert summary["versions"]["minidl"] == minidl.__version__
    assert sorted(os.listdir(tmp_path)) == ["last.json", "last.safetensors", "metrics.jsonl"]


def test_a_checkpoint_gives_back_all_that_it_was_given(tmp_path):
    path = tmp_path / "here.safetensors"
    model, loader, optimizer = make_parts()
    fit(model, loader, optimizer, squared_error, epochs=1, progress=False)
    next(iter(loader))
    save_checkpoint(
        path, model=model, optimizer=optimizer, loader=loader, step=8, epoch=1,
        config={"lr": 0.01}, history=[{"epoch": 1, "loss": float("nan")}], progress={"x": [1]},
    )
    drawn = minidl.randn(3).tolist()
    others = dict(zip(("model", "loader", "optimizer"), make_parts(seed=3), strict=True))
    back = load_checkpoint(path, **others)
    assert minidl.randn(3).tolist() == drawn
    assert weights(others["model"]) == weights(model)
    assert others["loader"].state_dict() == loader.state_dict()
    assert (back.step, back.epoch, back.config, back.progress) == (8, 1, {"lr": 0.01}, {"x": [1]})
    assert np.isnan(back.history.column("loss")[0])
    save_tree(tmp_path / "a.safetensors", optimizer.state_dict())
    save_tree(tmp_path / "b.safetensors", others["optimizer"].state_dict())
    assert str(load_tree(tmp_path / "a.safetensors")) == str(load_tree(tmp_path / "b.safetensors"))


def test_a_model_can_be_taken_from_a_checkpoint_alone(tmp_path, whole):
    model = make_parts(seed=3)[0]
    before = minidl.random.get_state()
    load_checkpoint(whole.out / "last.safetensors", model=model, restore_random=False)
    assert weights(model) == whole.weights
    assert minidl.random.get_state() == before


def test_a_checkpoint_without_what_is_asked_for_changes_nothing(tmp_path):
    path = tmp_path / "here.safetensors"
    model, loader, optimizer = make_parts()
    save_checkpoint(path, model=make_parts(seed=3)[0])
    before = weights(model)
    with pytest.raises(CheckpointError, match="no state of: optimizer, loader"):
        load_checkpoint(path, model=model, optimizer=optimizer, loader=loader)
    assert weights(model) == before


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    save_tree(tmp_path / "tree.safetensors", {"a": 1})
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "tree.safetensors")
    save_tree(tmp_path / "new.safetensors", {"format": 99, "versions": {"minidl": "7.0"}})
    with pytest.raises(CheckpointError, match=r"newer minidl(.|\n)*install minidl 7\.0"):
        load_checkpoint(tmp_path / "new.safetensors")
    with pytest.raises(ArgumentError, match=r"must end in \.safetensors"):
        save_checkpoint(tmp_path / "a.json", model=make_parts()[0])


def test_a_damaged_checkpoint_is_not_resumed_from(tmp_path):
    train(tmp_path, epochs=1)
    path = tmp_path / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"last\.safetensors"):
        train(tmp_path)


def test_a_failing_disk_leaves_the_checkpoint_before_it(tmp_path, monkeypatch, whole):
    replace, calls = os.replace, iter(range(100))

    def fail(source, target):
        if next(calls) == 5:
            raise OSError("the disk is gone")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(CheckpointError, match=r"last\.(.|\n)*gone\n.*before it is whole"):
        train(tmp_path)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
    model, _ = train(tmp_path)
    assert weights(model) == whole.weights


# --- stops of every kind ---


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_spoils_nothing(value, tmp_path):
    calls = iter(range(1, 100))

    def loss(model, batch):
        return squared_error(model, batch) * (value if next(calls) == 9 else 1.0)

    with pytest.raises(DivergenceError, match=r"loss is (nan|inf) at step 9\n.*untouched"):
        train(tmp_path, loss, checkpoint_every=4)
    model = make_parts()[0]
    assert load_checkpoint(tmp_path / "last.safetensors", model=model).step == 8
    assert all(np.isfinite(weight).all() for weight in model.state_dict().values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    calls = iter(range(1, 100))

    def spoil(parameters):
        if next(calls) == 6:  # the loss of this step was finite, and a checkpoint is due
            parameters[0].grad.data[...] = np.nan

    with pytest.raises(DivergenceError, match=r"weight of shape .* after step 6\n.*untouched"):
        train(tmp_path, clip=spoil)
    assert load_checkpoint(tmp_path / "last.safetensors", model=make_parts()[0]).step == 3


def test_the_first_interrupt_is_held_and_the_second_is_not():
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), held_interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert interrupt
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with held_interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
        assert not interrupt  # a background job stays deaf
    finally:
        signal.signal(signal.SIGINT, usual)


def start(function, out):
    """This file's function in another Python, on a folder."""
    here = Path(__file__)
    paths = [str(here.parent), str(here.parents[1])]
    code = f"import sys; sys.path[:0] = {paths}; import {here.stem} as t; t.{function}(sys.argv[1])"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )


def train_slowly(out):
    """For another process: says when it is on its way."""
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def loss(model, batch):
        print("step", flush=True)
        time.sleep(0.02)
        return squared_error(model, batch)

    train(out, loss, checkpoint_every=None)


def test_an_interrupt_finishes_the_step_saves_and_then_stops(tmp_path, whole):
    process = start("train_slowly", tmp_path)
    for _ in range(4):
        assert process.stdout.readline() == "step\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors, errors
    assert process.returncode not in (0, None)
    # No epoch was over, so only the interrupt can have saved this.
    assert 4 <= load_checkpoint(tmp_path / "last.safetensors", model=make_parts()[0]).step < 7
    model, history = train(tmp_path)
    assert weights(model) == whole.weights
    assert untimed(history) == untimed(whole.history)
    assert metrics(tmp_path) == metrics(whole.out)


TRACED = {
    "loop": ("train/loop.py", "train/folder.py", "train/log.py", "train/checkpoint.py"),
    "files": ("minidl/files/serialize.py",),
}


def train_killed(out):
    """For another process: runs that SIGKILL themselves again and again until one ends.

    A run dies after a number of executed lines, drawn from a seed: lines of the loop,
    or of the code that writes files, so that it dies in the middle of a checkpoint, too.
    """
    for seed in range(4):
        draw = np.random.default_rng(seed)
        status = None
        while status != 0:
            place = ("loop", "files")[draw.integers(2)]
            lines = int(draw.integers(20, {"loop": 700, "files": 4000}[place]))
            child = os.fork()
            if child == 0:
                sys.settrace(kill_after(lines, place))
                train(Path(out, str(seed)))
                os._exit(0)
            status = os.waitpid(child, 0)[1]
            print("ended by signal", os.WTERMSIG(status), flush=True)


def kill_after(lines, place):
    left = lines

    def trace(frame, event, argument):
        nonlocal left
        if not frame.f_code.co_filename.endswith(TRACED[place]):
            return None
        left -= 1
        if left == 0:
            os.write(1, f"killed in {place}: {frame.f_code.co_qualname}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the runs that it kills")
def test_runs_that_are_killed_again_and_again_end_as_one_that_never_was(tmp_path, whole):
    process = start("train_killed", tmp_path)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert output.count(f"ended by signal {signal.SIGKILL.value}\n") >= 8, output
    assert output.count("killed in loop") >= 3, output
    assert output.count("killed in files") >= 3, output
    for seed in "0123":
        out = tmp_path / seed
        assert metrics(out) == metrics(whole.out)
        model, history = train(out, stop_at(1))  # takes no step, as the run is over
        assert weights(model) == whole.weights
        assert untimed(history) == untimed(whole.history)
        assert sorted(os.listdir(out)) == ["last.json", "last.safetensors", "metrics.jsonl"]


# --- records ---


def test_every_line_is_in_the_file_as_soon_as_it_is_written(tmp_path):
    with closing(JsonLines(tmp_path / "deep/m.jsonl")) as lines:
        lines.write({"a": np.float32(0.5), "b": float("nan")})
        assert (tmp_path / "deep/m.jsonl").read_text() == '{"a": 0.5, "b": null}\n'
        length = lines.sync()
        lines.write({"a": 2})
    with closing(JsonLines(tmp_path / "deep/m.jsonl", keep=length)) as lines:
        lines.write({"a": 3})
    assert History.read(tmp_path / "deep/m.jsonl").column("a") == [0.5, 3]


def test_columns_and_files_of_a_history_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ArgumentError, match=r"no column 'val'\n.*\['epoch', 'loss'\]"):
        History([{"epoch": 1, "loss": 0.5}]).column("val")
    assert History([{"a": 1}, {}]).column("a") == [1, None]
    with pytest.raises(DataError, match="cannot read"):
        History.read(tmp_path / "none.jsonl")
    for line in ("[1]", '{"a": '):
        (tmp_path / "m.jsonl").write_text('{"a": 1}\n' + line)
        with pytest.raises(DataError, match="line 2 of"):
            History.read(tmp_path / "m.jsonl")


def test_tensorboard_receives_every_number_at_its_step(monkeypatch):
    calls = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            calls.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            calls.append((name, value, step))

        def flush(self):
            pass

        def close(self):
            calls.append("closed")

    module = types.SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    board = TensorBoard("runs", first_step=3)
    board({"event": "step", "epoch": 1, "step": 5, "loss": 0.5})
    board({"epoch": 1, "step": 7, "loss": 0.25, "val": 2.0})
    board.close()
    assert calls == [
        ("runs", 3),
        ("step/loss", 0.5, 5),
        ("epoch/loss", 0.25, 7),
        ("epoch/val", 2.0, 7),
        "closed",
    ]


def test_tensorboard_itself_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboardX")
    board = TensorBoard(tmp_path)
    board.write({"epoch": 1, "step": 7, "loss": 0.25})
    board.close()
    (file,) = tmp_path.iterdir()
    assert b"epoch/loss" in file.read_bytes()


@pytest.mark.parametrize(
    ("module", "extra", "call"),
    [
        ("tensorboardX", "tensorboard", lambda path: TensorBoard(path)),
        ("matplotlib.figure", "plots", lambda path: plot_history([{"step": 1, "a": 1}], path)),
    ],
)
def test_a_missing_package_is_named_with_its_extra(module, extra, call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'minidl\[{extra}\]'"):
        call(tmp_path / "x")


def test_a_history_and_its_file_are_drawn(tmp_path, whole):
    pytest.importorskip("matplotlib")
    from PIL import Image

    plot_history(whole.history, tmp_path / "history.png")
    plot_history(whole.out / "metrics.jsonl", tmp_path / "file.png")
    plot_history(History([{"step": 1, "loss": 1.0, "val": None}]), tmp_path / "one.png")
    sizes = {}
    for name in ("history", "file", "one"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.format == "PNG" and len(np.unique(np.asarray(image.convert("L")))) > 10
            sizes[name] = image.size
    assert sizes["history"] == sizes["file"]
    with pytest.raises(ArgumentError, match="no columns to draw"):
        plot_history(History(), tmp_path / "none.png")
