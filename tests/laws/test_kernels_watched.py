"""Law: no rung races, overruns, or reads what nobody wrote; tracing and the sanitizers looked."""

from __future__ import annotations

import pytest

from minidl.commands.kernels.check import SANITIZERS, check
from minidl.cuda.emulator import sanitize
from minidl.cuda.ladder import Rung
from minidl.kernels.ladders import LADDERS

RUNGS = [rung for ladder in LADDERS.values() for rung in ladder]


@pytest.mark.parametrize("sanitizers", [(), pytest.param(SANITIZERS, marks=pytest.mark.slow)],
                         ids=["traced", "sanitized"])
@pytest.mark.parametrize("rung", RUNGS, ids=[rung.name for rung in RUNGS])
def test_nothing_is_found_in_a_rung(rung: Rung, sanitizers: tuple[str, ...]):
    result = check(rung, sanitizers)
    assert not result.problems
    assert result.cases > 0 and result.requests > 0
    assert result.sanitized == [mode for mode in sanitizers if not sanitize.available(mode)]


def test_tracing_and_both_sanitizers_find_a_barrier_that_was_taken_out(monkeypatch, tmp_path):
    """So that a law which finds nothing is known to look."""
    from minidl.cuda import prepare
    from minidl.cuda.source import Source, folder, kernels_of, shipped

    source = folder() / "gram.cu"
    first, *rest = source.read_text().split("        __syncthreads();\n")
    broken = kernels_of(Source(source, first + "\n" + "        __syncthreads();\n".join(rest)))
    monkeypatch.setattr(prepare, "shipped", lambda: shipped() | broken)
    (rung,) = (rung for rung in RUNGS if rung.name == "gram_a_v3_shared_tile")
    found = check(rung, ("thread",)).problems
    assert any("gram_a_v3_shared_tile: race" in problem for problem in found)
    assert any("(thread sanitizer)" in problem for problem in found) or sanitize.available("thread")
