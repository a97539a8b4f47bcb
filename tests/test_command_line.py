"""The command line, as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import minidl
from minidl import __main__ as command_line
from minidl.commands import doctor
from minidl.commands import run as run_command
from minidl.commands.run import lecture_examples, superres
from minidl.errors import ArgumentError
from minidl.models.srcnn import SRCNN
from minidl.models.vdsr import VDSR


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "minidl", *arguments],
        capture_output=True, text=True, timeout=120,
    )


def test_help_names_every_command():
    ran = call("--help")
    assert ran.returncode == 0
    assert all(name in ran.stdout for name in command_line.COMMANDS)


def test_version_is_the_packages():
    assert call("--version").stdout.split() == ["minidl", minidl.__version__]


def test_an_error_of_ours_is_one_line_and_status_2():
    ran = call("demo", "--data", "mnist")
    assert ran.returncode == 2
    assert ran.stderr.startswith("ArgumentError: --data mnist needs a folder")
    assert "Traceback" not in ran.stderr


def test_mnist_that_is_not_there_is_hinted_at_by_what_can_be_typed(tmp_path):
    ran = call("demo", "--data", "mnist", "--root", str(tmp_path))
    assert ran.returncode == 2 and ran.stderr.startswith("DataError: --root '")
    assert f"mnist('{tmp_path}', train=False, download=True)" in ran.stderr


def test_no_command_prints_the_help():
    ran = call()
    assert ran.returncode == 0 and "usage: minidl" in ran.stdout and ran.stderr == ""
    assert ran.stdout == call("--help").stdout


def test_an_unknown_command_is_refused_with_the_usage():
    ran = call("tarin")
    assert ran.returncode == 2 and "usage: minidl" in ran.stderr and "tarin" in ran.stderr


def test_the_notes_of_an_error_are_printed(monkeypatch, capsys):
    def broken(args):
        error = ArgumentError("no")
        error.add_note("in layer 3")
        raise error

    monkeypatch.setattr(doctor, "main", broken)
    assert command_line.main(["doctor"]) == 2
    assert capsys.readouterr().err == "ArgumentError: no\n    in layer 3\n"


@pytest.mark.parametrize("name", ["x3.mat", "srcnn_9-5-5__X3.safetensors", "a_x3_b.mat"])
def test_an_srcnn_of_another_scale_is_refused(name, capsys):
    with pytest.raises(ArgumentError, match=r"an SRCNN for x3.*\n.*x2\n.*--scale 3"):
        superres.check_scale(SRCNN(), Path(name), 2)
    superres.check_scale(SRCNN(), Path(name), 3)
    assert capsys.readouterr() == ("", "")


def test_a_scale_that_nobody_vouches_for_gets_a_word(capsys):
    superres.check_scale(SRCNN(), Path("max3.safetensors"), 2)
    assert "does not tell which" in capsys.readouterr().err
    net = VDSR(depth=3, width=2)
    superres.check_scale(net, Path("vdsr.mat"), 2.5)
    assert capsys.readouterr() == ("", "")
    superres.check_scale(net, Path("vdsr.mat"), 5)
    assert "x2, x3 and x4; x5 is beyond" in capsys.readouterr().err


def test_run_lists_every_topic_and_example_with_its_summary():
    ran = call("run")
    names = [line.split()[0] for line in ran.stdout.splitlines() if line.startswith("  ")]
    assert ran.returncode == 0
    assert names == [*run_command.TOPICS, *(path.stem for path in lecture_examples.paths())]
    assert "by hand, by finite differences" in ran.stdout


@pytest.mark.parametrize("name", ["00", "00_first_gradient", "00_first_gradient.py"])
def test_run_runs_an_example_by_number_or_name(tmp_path, capsys, name):
    before = list(sys.argv)
    assert command_line.main(["run", name, "--dry-run", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "metrics.json").exists()
    assert sys.argv == before


def test_run_refuses_what_there_is_not(capsys):
    assert command_line.main(["run", "99"]) == 2
    assert "no '99'" in capsys.readouterr().err


def test_ctrl_c_ends_with_status_130(monkeypatch, capsys):
    def stopped(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "main", stopped)
    assert command_line.main(["doctor"]) == 130


def test_doctor_says_what_there_is_and_how_to_get_the_rest():
    ran = call("doctor")
    assert ran.returncode == 0 and ran.stderr == ""
    assert minidl.__version__ in ran.stdout and "NumPy" in ran.stdout


def test_doctors_json_explains_everything_that_is_missing():
    groups = json.loads(call("doctor", "--json").stdout)
    findings = [f for group in groups.values() for f in group]
    assert {"BLAS", "CuPy", "matplotlib"} <= {f["name"] for f in findings}
    assert all(f["gives"] and f["get"] for f in findings if not f["found"])


def test_doctor_takes_a_broken_driver_calmly(monkeypatch):
    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert doctor.accelerator()[0].found == ""


@pytest.mark.parametrize("command", ["demo", "check", "run", "weights", "doctor"])
def test_every_command_has_help(command):
    assert call(command, "--help").returncode == 0
