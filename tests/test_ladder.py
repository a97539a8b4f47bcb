"""Ladders: which rung runs, and what is said when none does."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import kernels
from minidl.commands.kernels.header import header_of, path_of
from minidl.compute import reference
from minidl.compute.dispatch import launchers, run
from minidl.compute.windows import windows_over
from minidl.cuda import emulator
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import executing, launch_each
from minidl.cuda.source import folder, kernels_of, shipped
from minidl.errors import ArgumentError
from minidl.kernels.ladders import LADDERS, use_rung


class Steps:
    """A ladder of four rungs for the op `twice`, and what ran on it, in order."""

    def __init__(self):
        self.ran = []
        self.ladder = Ladder("twice", [
            Rung("naive", self.run),
            Rung("fours", self.run, fits=self.fours),
            Rung("rough", self.run, optional=True),
            Rung("tensor", self.run, slow_emulated=True),
        ])
        self.climb, self.use_rung = self.ladder.climb, self.ladder.use_rung

    def run(self, name, x):
        self.ran.append(name)
        return x * 2

    @staticmethod
    def fours(x):
        return "" if x.size % 4 == 0 else "not a multiple of 4"


@pytest.fixture
def steps():
    return Steps()


class ElsewhereArray:
    """What is not NumPy's is taken to be a GPU's."""

    size = 4
    shape = (4,)
    dtype = np.dtype(np.float32)

    def __mul__(self, by):
        return self


def test_names_follow_from_op_place_and_idea(steps):
    assert [(rung.level, rung.name) for rung in steps.ladder] == [
        (1, "twice_v1_naive"), (2, "twice_v2_fours"), (3, "twice_v3_rough"), (4, "twice_v4_tensor"),
    ]
    assert len(steps.ladder) == 4 and {rung.op for rung in steps.ladder} == {"twice"}


def test_highest_rung_that_fits_runs(steps):
    assert steps.climb(np.ones(8)).tolist() == [2.0] * 8
    steps.climb(np.ones(7))
    assert steps.ran == ["twice_v2_fours", "twice_v1_naive"]


def test_rungs_that_are_slow_to_emulate_run_on_a_gpu_alone(steps):
    steps.climb(ElsewhereArray())
    assert steps.ran == ["twice_v4_tensor"]


def test_optional_rungs_run_only_when_asked_for(steps):
    with steps.use_rung(3):
        steps.climb(np.ones(8))
        steps.climb(ElsewhereArray())
    assert steps.ran == ["twice_v3_rough"] * 2


def test_a_forced_rung_that_does_not_fit_is_refused_with_the_reason(steps):
    with steps.use_rung(2), pytest.raises(ArgumentError) as error:
        steps.climb(np.ones(7))
    text = str(error.value)
    assert "rung 2, twice_v2_fours, does not fit" in text and "not a multiple of 4" in text
    assert "(7,), float64" in text
    assert steps.ran == []


def test_forced_rungs_are_nested_and_end_with_their_block(steps):
    with steps.use_rung(2):
        with steps.use_rung(1):
            steps.climb(np.ones(8))
        steps.climb(np.ones(8))
    with pytest.raises(KeyError), steps.use_rung(1):
        raise KeyError
    steps.climb(np.ones(8))
    assert steps.ran == ["twice_v1_naive", "twice_v2_fours", "twice_v2_fours"]


def test_forcing_one_ladder_leaves_the_others_alone(steps):
    with use_rung("gram_y", 1), Steps().use_rung(1):
        assert steps.ladder.rung_for(np.ones(8)).level == 2


def test_a_rung_on_two_ladders_has_a_place_on_each(steps):
    again = Ladder("thrice", steps.ladder.rungs[1:])
    assert again.rungs[0].name == "thrice_v1_fours"
    assert steps.ladder.rungs[1].name == "twice_v2_fours"


@pytest.mark.parametrize("level", [0, 5, -1, "2", None])
def test_rungs_that_do_not_exist_are_refused(level, steps):
    with pytest.raises(ArgumentError, match=r"twice has no rung[\s\S]*2: twice_v2_fours"):
        steps.use_rung(level).__enter__()


def test_ops_without_a_ladder_are_refused_with_those_of_a_similar_name():
    with pytest.raises(ArgumentError, match=r"'conv2d_z'[\s\S]*conv2d_x"):
        use_rung("conv2d_z", 1).__enter__()
    with pytest.raises(ArgumentError, match=r"'nonsense'[\s\S]*gram_y"):
        use_rung("nonsense", 1).__enter__()


def test_a_ladder_on_which_nothing_fits_says_so():
    never = Ladder("never", [Rung("naive", lambda name, x: x, fits=lambda x: "never")])
    with pytest.raises(ArgumentError, match="never: no rung fits"):
        never.climb(np.ones(1))


def test_kernels_of_ones_own_have_a_ladder_of_their_own():
    """As a user's file has it: the text of the kernels, their launch, and the table."""
    text = """
        extern "C" __global__ void scale_v1_naive(const real* x, real* y, real by, int N) {
            const int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < N) y[i] = by * x[i];
        }
        extern "C" __global__ void scale_v2_two_each(const real* x, real* y, real by, int N) {
            const int i = 2 * (blockIdx.x * blockDim.x + threadIdx.x);
            if (i < N) y[i] = by * x[i], y[i + 1] = by * x[i + 1];
        }
    """
    mine = kernels_of(f'#include "minidl.cuh"\n{text}')

    def scale(name, x, by, each=1):
        y = np.zeros_like(x)
        launch_each(mine[name], x.size // each, x=x, y=y, by=by, N=x.size)
        return y

    def even(x, by):
        return "an odd size" if x.size % 2 else ""

    ladder = Ladder("scale", [
        Rung("naive", scale),
        Rung("two_each", scale, each=2, fits=even),
    ])
    for size, level in ((5, 1), (3000, 2)):
        x = np.arange(size, dtype=np.float32)
        assert ladder.rung_for(x, by=3.0).level == level
        np.testing.assert_array_equal(ladder.climb(x, by=3.0), 3 * x)


# --- the kernels' own ladders ---


def test_every_op_that_the_kernels_offer_has_a_ladder_and_a_reference():
    assert {*LADDERS} == {*kernels.__all__}
    assert all(ladder.op == op for op, ladder in LADDERS.items())
    assert launchers() == {
        getattr(reference, op): getattr(kernels, op) for op in LADDERS
    }


@pytest.mark.parametrize("path", sorted(folder().glob("*.cu")), ids=lambda path: path.name)
def test_kernels_and_tables_of_a_file_are_the_rungs_of_its_ladders(path):
    """The same names in the same order: in Python, among the kernels, and in the comment."""
    here = {op: [rung for rung in ladder if path_of(rung) == path]
            for op, ladder in LADDERS.items()}
    assert any(here.values())
    rows = header_of(path).rows
    for op, rungs in here.items():
        names = [rung.name for rung in rungs]
        declared = [name for name in kernels_of(path) if re.match(rf"{op}_v\d", name)]
        listed = [f"{op}_{row.rung.split()[-1]}" for row in rows
                  if any(row.is_of(rung) for rung in rungs)]
        assert names == declared == listed
    told = {row.rung for row in rows if any(row.is_of(rung) for rungs in here.values()
                                            for rung in rungs)}
    assert told == {row.rung for row in rows}


def test_every_kernel_that_is_numbered_is_a_rung():
    names = {rung.name for ladder in LADDERS.values() for rung in ladder}
    assert names == {name for name in shipped() if re.search(r"_v\d", name)}


def launched(code, **rungs):
    """The kernels that conv2d launches, in a block with this code."""
    names = []

    def noted(launch):
        names.append(launch.kernel.name)
        emulator.run(launch)

    x, w = np.ones((1, 4, 5, 5), np.float32), np.ones((4, 4, 3, 3), np.float32)
    with minidl.use_kernels(code), executing(noted):
        for op, level in rungs.items():
            with use_rung(op, level):
                y = F.conv2d(x, w).data
        if not rungs:
            y = F.conv2d(x, w).data
    np.testing.assert_allclose(y, 36.0)
    return names


def test_codes_choose_whether_kernels_run():
    assert launched("emulated") == ["conv2d_y_v6_vectorised"]
    assert launched("numpy") == launched("reference") == []


def test_a_rung_can_be_asked_for_through_the_public_functions():
    assert launched("emulated", conv2d_y=1) == ["conv2d_y_v1_naive"]
    assert launched("emulated", conv2d_y=9) == ["conv2d_y_v9_tf32x3_async"]


def test_packs_and_depthwise_choose_their_rungs():
    windows = windows_over("test", (5, 5), (3, 3))

    def chosen(c, o, groups=1, dtype=np.float32):
        x, w = np.ones((1, c, 5, 5), dtype), np.ones((o, c // groups, 3, 3), dtype)
        return LADDERS["conv2d_y"].rung_for(x, w, windows=windows, groups=groups).level

    assert [chosen(8, 3), chosen(6, 3), chosen(6, 3, dtype=np.float64)] == [6, 5, 6]
    assert chosen(6, 6, groups=6) == 1


def test_functions_without_kernels_are_the_references():
    with minidl.use_kernels("emulated"):
        assert run(lambda x: x + 1, np.ones(1)).tolist() == [2.0]
