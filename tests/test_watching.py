"""Loops that take long say how far they are."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from minidl import data
from minidl.data import watching

DRAWN = {
    "street scenes": lambda **shown: data.street_scenes(3, (8, 12), **shown),
    "stereo scenes": lambda **shown: data.stereo_scenes(3, (8, 12), **shown),
    "pictures of cells": lambda **shown: data.cell_images(3, 24, **shown),
    "slices": lambda **shown: data.ct_slices(70, 16, **shown),
    "chairs": lambda **shown: data.chair_images(3, 8, azimuths=2, **shown),
}


@pytest.fixture
def clock(monkeypatch):
    """A clock on which a look takes four seconds."""
    seconds = iter(range(0, 10**6, 4))
    monkeypatch.setattr(watching.time, "monotonic", lambda: next(seconds))


def test_a_long_loop_says_a_line_each_ten_seconds_and_gives_all_its_items(clock, capsys):
    assert list(watching.watched("abcdefgh", "letters")) == list("abcdefgh")
    told = capsys.readouterr()
    assert told.err.splitlines() == ["letters: 2 of 8", "letters: 5 of 8"]
    assert not told.out


def test_a_quick_loop_and_one_that_is_not_to_be_shown_are_silent(clock, capsys, monkeypatch):
    assert list(watching.watched([1, 2], "numbers")) == [1, 2]
    assert list(watching.watched(range(99), "numbers", shown=False)) == list(range(99))
    monkeypatch.setattr(sys, "stderr", None)  # as in a program without a window of text
    assert list(watching.watched(range(99), "numbers")) == list(range(99))
    monkeypatch.undo()
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    slow = watching.watched(range(3), "numbers")
    assert list(slow) == [0, 1, 2] and not sys.stderr.getvalue()  # within a second, nothing
    real = watching.sys.modules["tqdm"].tqdm
    monkeypatch.setattr(watching.sys.modules["tqdm"], "tqdm",
                        lambda items, desc, delay: real(items, desc=desc, delay=0))
    assert list(watching.watched(range(3), "numbers")) == [0, 1, 2]
    assert "numbers: 100%" in sys.stderr.getvalue() and "3/3" in sys.stderr.getvalue()


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_is_told_and_the_same_whether_one_watches_or_not(
    name, monkeypatch, capsys
):
    quiet = DRAWN[name]()
    assert not capsys.readouterr().err
    monkeypatch.setattr(watching, "PAUSE", 0.0)
    told = DRAWN[name](progress=True)
    assert f"drawing {name}" in capsys.readouterr().err
    for a, b in zip(getattr(quiet, "arrays", quiet), getattr(told, "arrays", told), strict=True):
        np.testing.assert_array_equal(a, b)
