"""Write torch_zip.pth and torch_legacy.pth by PyTorch: run where it is installed.

    python -m tests.golden.make_torch_files
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> None:
    """Write both files."""
    import torch

    whole = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 8
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    with torch.no_grad():
        model[0].weight.copy_(whole)
        model[0].bias.fill_(-1)
    content = {
        "model": model.state_dict(),
        "parameter": model[0].bias,
        "transposed": whole.T,
        "part": whole[1:, ::2],
        "half": whole.half(),
        "bfloat16": whole.bfloat16(),
        "mask": whole > 1,
        "number": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "integers": [torch.arange(-1, 2, dtype=d) for d in (torch.int8, torch.int16, torch.int64)],
        "epoch": 7,
        "note": ("seven", 0.5, None, True),
    }
    torch.save(content, FOLDER / "torch_zip.pth")
    torch.save(content, FOLDER / "torch_legacy.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
