"""Ladders: which rung runs, and what is said when none does."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.compute import reference
from minidl.compute.dispatch import run
from minidl.compute.windows import windows_over
from minidl.cuda import emulator, ladder
from minidl.cuda.ladder import climb, ladders, rung, rung_for, use_rung
from minidl.cuda.launch import executing
from minidl.errors import ArgumentError


@pytest.fixture
def steps(monkeypatch):
    """A ladder of four rungs for the op `twice`; what ran, in order."""
    monkeypatch.setattr(ladder, "_ladders", dict(ladder._ladders))
    ran = []

    def made(level, **options):
        def run(x):
            ran.append(level)
            return x * 2

        run.__name__ = f"twice_v{level}"
        rung("twice", level, **options)(run)

    made(3, optional=True)
    made(1)
    made(4, slow_emulated=True)
    made(2, fits=lambda x: "" if x.size % 4 == 0 else "not a multiple of 4")
    return ran


class ElsewhereArray:
    """What is not NumPy's is taken to be a GPU's."""

    size = 4
    shape = (4,)
    dtype = np.dtype(np.float32)

    def __mul__(self, by):
        return self


def test_highest_rung_that_fits_runs(steps):
    assert climb("twice", np.ones(8)).tolist() == [2.0] * 8
    climb("twice", np.ones(7))
    assert steps == [2, 1]


def test_rungs_that_are_slow_to_emulate_run_on_a_gpu_alone(steps):
    climb("twice", ElsewhereArray())
    assert steps == [4]


def test_optional_rungs_run_only_when_asked_for(steps):
    with use_rung("twice", 3):
        climb("twice", np.ones(8))
        climb("twice", ElsewhereArray())
    assert steps == [3, 3]


def test_a_forced_rung_that_does_not_fit_is_refused_with_the_reason(steps):
    with use_rung("twice", 2), pytest.raises(ArgumentError) as error:
        climb("twice", np.ones(7))
    text = str(error.value)
    assert "rung 2, twice_v2, does not fit" in text and "not a multiple of 4" in text
    assert "(7,), float64" in text
    assert steps == []


def test_forced_rungs_are_nested_and_end_with_their_block(steps):
    with use_rung("twice", 2):
        with use_rung("twice", 1):
            climb("twice", np.ones(8))
        climb("twice", np.ones(8))
    with pytest.raises(KeyError), use_rung("twice", 1):
        raise KeyError
    climb("twice", np.ones(8))
    assert steps == [1, 2, 2]


def test_forcing_one_op_leaves_the_others_alone(steps):
    with use_rung("gram_y", 1):
        assert rung_for("twice", np.ones(8)).level == 2


def test_rungs_that_do_not_exist_are_refused(steps):
    with pytest.raises(ArgumentError, match=r"twice has no rung 7[\s\S]*2: twice_v2"):
        use_rung("twice", 7).__enter__()
    with pytest.raises(ArgumentError, match=r"'conv2d_z'[\s\S]*conv2d_x"):
        climb("conv2d_z", np.ones(8))
    with pytest.raises(ArgumentError, match="'nonsense'"):
        use_rung("nonsense", 1).__enter__()


def test_two_rungs_of_one_level_are_refused(steps):
    with pytest.raises(ArgumentError, match="level 2 of twice is taken"):

        @rung("twice", 2)
        def another(x):
            return x


def test_a_ladder_on_which_nothing_fits_says_so(monkeypatch):
    monkeypatch.setattr(ladder, "_ladders", {})
    rung("never", 1, fits=lambda x: "never")(lambda x: x)
    with pytest.raises(ArgumentError, match="never: no rung fits"):
        climb("never", np.ones(1))


# --- the kernels' own ladders ---


def test_every_op_that_the_kernels_offer_is_in_the_reference():
    import minidl.kernels as kernels

    for op, rungs in ladders().items():
        assert callable(getattr(kernels, op)) and callable(getattr(reference, op))
        assert [r.level for r in rungs] == list(range(1, len(rungs) + 1))
        assert all(r.name.startswith(f"{op}_v{r.level}_") for r in rungs)
        assert all(r.op == op for r in rungs)


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
    assert launched("emulated") == ["conv2d_y_v4_vectorised"]
    assert launched("default") == launched("reference") == []


def test_a_rung_can_be_asked_for_through_the_public_functions():
    assert launched("emulated", conv2d_y=1) == ["conv2d_y_v1_naive"]
    assert launched("emulated", conv2d_y=7) == ["conv2d_y_v7_tf32x3_async"]


def test_packs_and_depthwise_choose_their_rungs():
    windows = windows_over("test", (5, 5), (3, 3))

    def chosen(c, o, groups=1, dtype=np.float32):
        x, w = np.ones((1, c, 5, 5), dtype), np.ones((o, c // groups, 3, 3), dtype)
        return rung_for("conv2d_y", x, w, windows=windows, groups=groups).level

    assert [chosen(8, 3), chosen(6, 3), chosen(6, 3, dtype=np.float64)] == [4, 3, 4]
    assert chosen(6, 6, groups=6) == 1


def test_functions_without_kernels_are_the_references():
    with minidl.use_kernels("emulated"):
        assert run(lambda x: x + 1, np.ones(1)).tolist() == [2.0]
