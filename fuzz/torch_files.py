"""Fuzzes the reader of PyTorch's weight files: any bytes are values, or refused, soon.

    pip install -e ".[fuzz]"
    python fuzz/torch_files.py                         until it is stopped, or finds something
    python fuzz/torch_files.py -max_total_time=60      a minute
    python fuzz/torch_files.py crash-0123abcd          again what it found

It starts from small files of both containers and steers by the branches that inputs
take (atheris, libFuzzer). An exception other than Refusal, more than five seconds,
or more than half a gigabyte is a finding. Zip members get their right checksums
back, without which hardly any change would reach the pickle.
"""

from __future__ import annotations

import io
import sys
import tempfile
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.torch_writer import CONTAINERS, Pickle, saved

LIMITS = ["-timeout=5", "-rss_limit_mb=1024", "-malloc_limit_mb=512", "-max_len=4096"]
ZIP_MARK = b"Z"
"""First byte of an input that is only the pickle, to be put into a zip container."""


def seeds() -> list[bytes]:
    """The files from which the fuzzer starts."""
    whole = np.arange(6, dtype=np.float32).reshape(2, 3)
    shared = saved(whole, parameter=True)
    contents = [
        OrderedDict({"w": shared, "t": shared._replace(shape=(3, 2), strides=(1, 3))}),
        {"half": saved(whole.astype(np.float16)), "n": [1, 2.5, None, True, ("a", 2**40)]},
    ]
    files = [write(content) for write in CONTAINERS.values() for content in contents]
    return files + [ZIP_MARK + Pickle().dump(content) for content in contents]


def one_input(data: bytes) -> None:
    """Read an input; anything but plain values or a Refusal is an exception."""
    from minidl.files import torch_files

    file = _zipped(data[1:]) if data.startswith(ZIP_MARK) else data
    try:
        torch_files.read(io.BytesIO(file))
    except torch_files.Refusal:
        return


def _zipped(pickle: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("net/data.pkl", pickle)
        archive.writestr("net/data/0", bytes(24))
    return out.getvalue()


def main() -> None:
    """Fuzz, with the arguments of libFuzzer."""
    import atheris

    with atheris.instrument_imports(include=["minidl.files.torch_files", "pickletools"]):
        import minidl.files.torch_files  # noqa: F401
    with tempfile.TemporaryDirectory() as corpus:
        for seed in seeds():
            Path(corpus, f"{zlib.crc32(seed):08x}").write_bytes(seed)
        given = sys.argv[1:]
        files = [argument for argument in given if not argument.startswith("-")]
        atheris.Setup([sys.argv[0], *LIMITS, *given, *([] if files else [corpus])], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
