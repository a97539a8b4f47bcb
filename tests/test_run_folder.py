"""The folder of a run in a hostile world: two runs, lost folders, full disks, foreign states."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.data import ArrayDataset, DataLoader
from minidl.errors import ArgumentError, CheckpointError, DataError
from minidl.files.serialize import load_tree, save_tree
from minidl.optim import SGD, Adam, StepLR
from minidl.train import History, JsonLines, fit, load_checkpoint, save_checkpoint
from minidl.train import checkpoint as checkpoint_file
from minidl.train import folder as run_folder
from minidl.train import lock as lock_file
from minidl.train.lock import FolderLock


def make_parts(seed: int = 0, kind: type = Adam):
    """A model, its loader and its optimiser."""
    minidl.manual_seed(seed)
    model = nn.Linear(2, 1)
    points = np.random.default_rng(1).standard_normal((12, 2)).astype(np.float32)
    return model, DataLoader(ArrayDataset(points), 4), kind(model.parameters(), lr=0.01)


def loss_of(model, batch):
    return (model(batch[0]) ** 2).mean()


def train(out, loss=loss_of, parts=None, **settings):
    model, loader, optimizer = parts or make_parts()
    return fit(model, loader, optimizer, loss, out=out,
               **{"epochs": 2, "progress": False, **settings})


def bytes_of(model) -> list[bytes]:
    return [value.tobytes() for value in model.state_dict().values()]


# --- two runs in one folder ---


def test_a_second_run_in_a_folder_is_refused_with_the_process_of_the_first(tmp_path):
    def loss(model, batch):
        with pytest.raises(ArgumentError, match=rf"another run .*\n.*process is {os.getpid()}"):
            train(tmp_path)
        return loss_of(model, batch)

    history = train(tmp_path, loss)
    assert len(history) == 2 and ".lock" not in os.listdir(tmp_path)
    train(tmp_path)  # the folder is free again


HOLDER = """
import sys, time
from pathlib import Path
from minidl.train import lock as lock_file
from minidl.train.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("mine", flush=True)
time.sleep(60)
"""


def test_the_lock_of_a_killed_process_keeps_nobody_out(tmp_path):
    pytest.importorskip("fcntl")
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "mine\n"
        with pytest.raises(ArgumentError, match=f"its process is {holder.pid}, this one"):
            train(tmp_path)
        holder.kill()
    assert (tmp_path / ".lock").read_text() == f"{holder.pid}\n"
    train(tmp_path)
    assert not (tmp_path / ".lock").exists()


def test_a_lock_can_be_released_twice(tmp_path):
    lock = FolderLock(tmp_path)
    lock.release()
    lock.release()
    FolderLock(tmp_path).release()


class FakeMsvcrt:
    """Windows' locks, as far as a run's folder needs them, made of those of POSIX."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self):
        self.fcntl = pytest.importorskip("fcntl")

    def locking(self, descriptor, mode, count):
        # Nobody can read what is locked, and the process's number has to be read.
        assert (os.lseek(descriptor, 0, os.SEEK_CUR), count) == (lock_file.FAR, 1)
        if mode == self.LK_UNLCK:
            self.fcntl.flock(descriptor, self.fcntl.LOCK_UN)
            return
        try:
            self.fcntl.flock(descriptor, self.fcntl.LOCK_EX | self.fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(13, "Permission denied") from None


@pytest.fixture
def on_windows(monkeypatch):
    """Its locks; and no file is removed as long as it is open."""
    monkeypatch.setattr(lock_file, "msvcrt", FakeMsvcrt())
    monkeypatch.setattr(lock_file, "fcntl", None)
    unlink, opened = Path.unlink, set()
    os_open, os_close = os.open, os.close

    def remember(path, *args):
        descriptor = os_open(path, *args)
        opened.add(descriptor)
        return descriptor

    def forget(descriptor):
        opened.discard(descriptor)
        os_close(descriptor)

    def remove(path, missing_ok=False):
        inodes = {os.fstat(descriptor).st_ino for descriptor in opened}
        if path.exists() and path.stat().st_ino in inodes:
            raise PermissionError(13, "used by another process")
        unlink(path, missing_ok)

    monkeypatch.setattr(lock_file.os, "open", remember)
    monkeypatch.setattr(lock_file.os, "close", forget)
    monkeypatch.setattr(Path, "unlink", remove)


def test_a_folder_is_locked_on_windows_too(tmp_path, on_windows):
    lock = FolderLock(tmp_path)
    for _ in range(2):  # he who is refused leaves the other's lock as it was
        with pytest.raises(ArgumentError, match=f"its process is {os.getpid()}, this one"):
            FolderLock(tmp_path)
    lock.release()
    lock.release()
    assert not (tmp_path / ".lock").exists()
    (tmp_path / ".lock").write_text("4711, which was killed\n")
    next_one = FolderLock(tmp_path)
    assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    looking = lock_file.os.open(tmp_path / ".lock", os.O_RDONLY)
    next_one.release()  # somebody else has the file open: it stays, unlocked
    lock_file.os.close(looking)
    assert (tmp_path / ".lock").exists()
    FolderLock(tmp_path).release()


def test_without_any_locks_a_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_file, "fcntl", None)
    FolderLock(tmp_path).release()
    assert not (tmp_path / ".lock").exists()


# --- checkpoints that do not fit ---


def test_a_checkpoint_of_other_parts_changes_nothing(tmp_path):
    path = tmp_path / "a.safetensors"
    model, loader, optimizer = make_parts()
    schedule = StepLR(optimizer, 1)
    save_checkpoint(path, model=model, optimizer=optimizer, loader=loader, schedule=schedule)

    class Crooked(StepLR):
        def load_state_dict(self, saved):
            raise KeyError("momentum")

    cases = [
        (make_parts(1, SGD), StepLR, r"fit the optimizer; nothing(.|\n)*state of another optim"),
        (make_parts(1), Crooked, r"fit the schedule; nothing has been changed\n.*momentum"),
        ((nn.Linear(3, 1), *make_parts(1)[1:]), StepLR, r"fit the model; nothing(.|\n)*shape"),
    ]
    for (mine, its_loader, its_optimizer), kind, words in cases:
        its_schedule = kind(its_optimizer, 7)
        its_optimizer.param_groups[0]["lr"] = its_schedule.base_lrs[0] = 0.5
        drawn, before = minidl.random.get_state(), bytes_of(mine)
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(path, model=mine, optimizer=its_optimizer, loader=its_loader,
                            schedule=its_schedule)
        assert bytes_of(mine) == before and minidl.random.get_state() == drawn
        assert its_optimizer.param_groups[0]["lr"] == 0.5 and its_schedule.base_lrs == [0.5]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"states": None}, "no usable states"),
        ({"states": [1]}, "no usable states"),
        ({"history": {"a": 1}}, "no usable history"),
        ({"history": [1]}, "no usable history"),
        ({"step": "3", "random": None}, "no usable step, random"),
        ({"random": {"state": 1}}, "does not fit the random numbers; nothing"),
    ],
)
def test_a_file_without_what_a_checkpoint_has_is_refused(change, words, tmp_path):
    path = tmp_path / "a.safetensors"
    model = make_parts()[0]
    save_checkpoint(path, model=model)
    save_tree(path, {**load_tree(path), **change})
    other = make_parts(1)[0]
    before = bytes_of(other)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(path, model=other)
    assert bytes_of(other) == before


def test_a_checkpoint_that_fit_did_not_write_is_not_resumed_from(tmp_path):
    model, loader, optimizer = make_parts()
    parts = {"model": model, "optimizer": optimizer, "loader": loader}
    save_checkpoint(tmp_path / "last.safetensors", **parts, epoch=1)
    with pytest.raises(CheckpointError, match="does not say where in its training"):
        train(tmp_path, resume=True)


# --- disks and folders ---


def test_a_full_disk_is_named_with_the_file_and_the_checkpoint_before_it(tmp_path, monkeypatch):
    train(tmp_path, epochs=1)
    kept = (tmp_path / "last.safetensors").read_bytes()

    def full(path, tree):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_file, "save_tree", full)
    said = rf"'{re.escape(str(tmp_path))}/last.safetensors' could not be written\n.*No space left"
    with pytest.raises(CheckpointError, match=said + r".*\n.*the one before it is whole\n.*resume"):
        train(tmp_path, resume=True)
    assert (tmp_path / "last.safetensors").read_bytes() == kept
    with pytest.raises(CheckpointError, match="there was none before it"):
        train(tmp_path / "new")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_row_that_finds_no_room_is_named_with_its_file(tmp_path):
    lines = JsonLines(tmp_path / "m.jsonl")
    lines._file.close()
    lines._file = open("/dev/full", "ab")  # noqa: SIM115
    with pytest.raises(CheckpointError, match=r"m\.jsonl': a row .*\n.*No space left"):
        lines.write({"a": 1})
    lines.close()


@pytest.mark.parametrize("change", ["deleted", "moved", "replaced"])
def test_a_folder_that_goes_away_stops_the_run_at_the_next_step(change, tmp_path):
    out, steps = tmp_path / "run", []

    def loss(model, batch):
        steps.append(1)
        if len(steps) == 2:
            if change == "deleted":
                shutil.rmtree(out)
            else:
                out.rename(tmp_path / "elsewhere")
            if change == "replaced":
                shutil.copytree(tmp_path / "elsewhere", out)
        return loss_of(model, batch)

    with pytest.raises(CheckpointError, match="deleted, moved or replaced during the run"):
        train(out, loss)
    assert len(steps) == 2


@pytest.mark.parametrize("done", [1, 2])
def test_a_start_that_is_killed_between_two_renames_loses_no_metrics(done, tmp_path, monkeypatch):
    train(tmp_path)
    metrics = (tmp_path / "metrics.jsonl").read_bytes()
    replace, calls = os.replace, iter(range(100))

    def killed(source, target):
        if next(calls) == done:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    train(tmp_path, epochs=1)
    assert (tmp_path / "previous.jsonl").read_bytes() == metrics
    assert {"previous.safetensors", "previous.json"} < set(os.listdir(tmp_path))


@pytest.mark.parametrize(
    ("config", "words"),
    [({"out": Path("runs")}, "config/out is a"), ({"sizes": {3: 1}}, "config/sizes has the key 3")],
)
def test_a_config_that_cannot_be_stored_is_refused_before_the_first_step(config, words, tmp_path):
    def never(model, batch):
        raise AssertionError("a step was taken")

    with pytest.raises(ArgumentError, match=words):
        train(tmp_path / "run", never, config=config)
    assert not (tmp_path / "run").exists()


def test_a_link_in_the_place_of_the_metrics_is_not_written_through(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").symlink_to(precious)
    with pytest.raises(CheckpointError, match="is a link"):
        train(tmp_path / "run")
    assert precious.read_text() == "keep me"
    assert ".lock" not in os.listdir(tmp_path / "run")


def test_a_disk_that_keeps_nothing_is_named_with_the_file(tmp_path, monkeypatch):
    def broken(descriptor):
        raise OSError(5, "Input/output error")

    with closing(JsonLines(tmp_path / "m.jsonl")) as lines:
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(CheckpointError, match=r"m\.jsonl': .*not safely(.|\n)*Input/output"):
            lines.sync()


def test_a_row_that_has_lost_its_end_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "m.jsonl"
    with closing(JsonLines(path)) as lines:
        lines.write({"a": 1})
        lines.write({"a": 2})
        length = lines.sync()
    os.truncate(path, length - 3)
    with pytest.warns(UserWarning, match="has lost 3 of"):
        lines = JsonLines(path, length)
    with closing(lines):
        lines.write({"a": 3})
    assert History.read(path) == [{"a": 1}, {"a": 3}]


def test_a_line_of_other_json_is_quoted_wherever_its_letters_end(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('"' + "é" * 99 + '"\n', encoding="utf-8")
    with pytest.raises(DataError, match=r'line 1 of .* is not a row: "éé'):
        History.read(path)


def test_a_run_that_never_began_leaves_the_folder_to_others(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="not iterable"):
        train(tmp_path, callbacks=print)

    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "remove_leftovers", forbidden)
        with pytest.raises(PermissionError):
            train(tmp_path)
    assert len(train(tmp_path)) == 2


def test_a_config_of_arrays_and_of_dicts_is_compared_at_a_resume(tmp_path):
    config = {"weights": np.arange(3.0), "sizes": {"first": (4, 8)}, "rate": np.float32(0.5)}
    train(tmp_path, config=config)
    train(tmp_path, config=config, resume=True)  # a warning would be an error
    with pytest.warns(UserWarning, match="config: weights is") as told:
        train(tmp_path, config={**config, "weights": np.ones(3)}, resume=True)
    assert "sizes" not in str(told[0].message)


@pytest.mark.parametrize(("versions", "hint"), [({"minidl": "9.1"}, "minidl 9.1 or newer"),
                                                (None, "a newer minidl"), ([1], "a newer minidl")])
def test_a_checkpoint_of_the_future_says_what_reads_it(versions, hint, tmp_path):
    save_tree(tmp_path / "a.safetensors", {"format": 99, "versions": versions})
    with pytest.raises(CheckpointError, match=f"newer minidl\n(.|\n)*install {hint}"):
        load_checkpoint(tmp_path / "a.safetensors", model=make_parts()[0])


@pytest.mark.parametrize("line", [b'{"a": "\xe9"}', b"[" * 200_000, b'\xff\xfe{"a": 1}'])
def test_a_damaged_line_of_the_metrics_is_named(line, tmp_path):
    path = tmp_path / "metrics.jsonl"
    with closing(JsonLines(path)) as lines:
        lines.write({"a": 1})
    with open(path, "ab") as file:
        file.write(line + b"\n")
    with pytest.raises(DataError, match=r"line 2 of '.*metrics\.jsonl' is not JSON"):
        History.read(path)
