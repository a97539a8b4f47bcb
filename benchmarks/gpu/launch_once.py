"""Launches every rung once, for compute-sanitizer to look at: see sanitized.py.

CuPy's pool would hide overruns: many arrays lie in one allocation. So there is none here, and each
array is an allocation with guards of its own.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


from benchmarks.gpu import tree


def main(seconds: float) -> None:
    """Launch each rung, and say how many were launched."""
    tree.use()
    import cupy

    from minidl.kernels.ladders import LADDERS

    cupy.cuda.set_allocator(None)
    start, count = time.monotonic(), 0
    rungs = [rung for ladder in LADDERS.values() for rung in ladder]
    for rung in rungs:
        if time.monotonic() - start > seconds:
            break
        call = largest(rung)
        if call is not None:  # none where this GPU lacks what the rung needs
            rung(*call[0], **call[1])
            cupy.cuda.runtime.deviceSynchronize()
            count += 1
    print(f"launched {count} of {len(rungs)} rungs", flush=True)


def largest(rung: Any) -> Any:
    """The call of the case with the most elements, on the GPU, of those that the rung fits."""
    from minidl.kernels.cases import cases_of, moved

    made = [case.call("float32") for case in cases_of(rung.op)]
    made.sort(key=lambda call: -sum(a.size for a in call[0]))
    calls = (moved(call, "cuda") for call in made)
    return next((call for call in calls if not rung.why_not(*call[0], **call[1])), None)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else float("inf"))
