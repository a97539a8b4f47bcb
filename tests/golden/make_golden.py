"""Write ``golden.npz``: PyTorch's values and gradients of every sample.

    python -m tests.golden.make_golden

Run it where PyTorch is installed, whenever samples change. The laws compare with
the file, so that the comparison runs everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.laws.pytorch import COMPARABLE, answers

TARGET = Path(__file__).with_name("golden.npz")


def main() -> None:
    arrays = {}
    for sample in COMPARABLE:
        for i, array in enumerate(answers(sample)):
            arrays[f"{sample.name}|{i}"] = array
    np.savez_compressed(TARGET, **arrays)
    print(f"{TARGET}: {len(COMPARABLE)} samples, {TARGET.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
