"""Add to ``golden.npz`` what it lacks of PyTorch's values and gradients of every sample.

    python -m tests.golden.make_golden          what is missing
    python -m tests.golden.make_golden --all    everything anew

Run it where PyTorch is installed, whenever samples change; until then the comparison
skips new samples, and runs everywhere for all others. Arrays that are there stay as they
are, bit for bit. Those of samples that are gone are dropped. A sample whose line or numbers
have changed fails the comparison, and needs ``--all``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from minidl.files.whole import replacing
from minidl.samples import Sample
from tests.laws.pytorch import COMPARABLE, answers

TARGET = Path(__file__).with_name("golden.npz")
"""The file of golden values."""

Arrays = dict[str, np.ndarray]


def names(sample: Sample) -> list[str]:
    """The names of a sample's arrays: its value, then its gradient by each input."""
    return [f"{sample.name}|{i}" for i in range(1 + len(sample.shapes))]


def missing(held: Mapping[str, np.ndarray], samples: Sequence[Sample]) -> list[Sample]:
    """The samples that lack an array."""
    return [s for s in samples if not all(name in held for name in names(s))]


def stale(held: Mapping[str, np.ndarray], samples: Sequence[Sample]) -> list[str]:
    """The names of arrays that belong to no sample."""
    return sorted(set(held) - {name for s in samples for name in names(s)})


def updated(
    held: Arrays, samples: Sequence[Sample], compute: Callable[[Sample], list[np.ndarray]]
) -> Arrays:
    """Return the arrays without the stale ones, and with what ``compute`` gives for the missing."""
    gone = stale(held, samples)
    arrays = {name: array for name, array in held.items() if name not in gone}
    for sample in missing(held, samples):
        arrays.update(zip(names(sample), compute(sample), strict=True))
    return arrays


def load() -> Arrays:
    """Read the golden values."""
    with np.load(TARGET) as file:
        return dict(file)


def main() -> None:
    """Bring the file up to date, and say what was done."""
    parser = argparse.ArgumentParser(description="Add missing golden values, by PyTorch.")
    parser.add_argument("--all", action="store_true", help="compute all of them anew")
    held = {} if parser.parse_args().all else load()
    added, dropped = missing(held, COMPARABLE), stale(held, COMPARABLE)
    if added or dropped:
        arrays = updated(held, COMPARABLE, answers)
        with replacing(TARGET) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)
    for sample in added:
        print(f"added    {sample.name}")
    for name in dropped:
        print(f"dropped  {name}")
    print(f"{TARGET}: {len(COMPARABLE)} samples, of which {len(added)} are new; "
          f"{len(dropped)} arrays dropped, {TARGET.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
