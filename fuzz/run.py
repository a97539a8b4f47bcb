"""Fuzzes the readers: a changed file is read or refused, soon, and within bounds of memory.

    python fuzz/run.py                                        all readers, 500 changes each
    python fuzz/run.py --reader mat --seed 1 --count 5000     one of them
    python fuzz/run.py --reader mat --seed 1 --again 1234     again what was found, here

A change is made of the reader's name, the seed and its number alone, so that it can be made
again. Every reader works in a process of its own, whose memory is capped. A finding is an end of
that process, an error other than minidl's own, more than the cap, or more than ten seconds.
fuzz/torch_files.py searches longer, and for .pth files only.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from fuzz.readers import FAULTY, READERS, Seed  # noqa: E402

CAP = 1024
"""The memory that a reader may take for one file, in MiB."""
PATIENCE = 10.0
"""Seconds that a reader may take for one file."""
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 40_000)
"""Numbers that are put where others were."""
READY = "ready"
"""The line that a process prints before its first change."""
ENDED = "its process ended"
"""The finding that a process has come to an end that was not its own."""
WORDS = (b"nan", b"1e308", b"-1", b"99999999999", b"\xff\xfe", b"[[[", b":")
"""Texts that are put where others were."""


# --- changes ---


def changed(seeds: list[Seed], reader: str, seed: int, number: int) -> tuple[bytes, str]:
    """Make change ``number``: the file's bytes, and the ending of its name."""
    rng = random.Random(f"{reader} {seed} {number}")
    chosen = rng.choice(seeds)
    data = bytearray(chosen.data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        _change(data, rng, seeds)
    return chosen.wrap(bytes(data)), chosen.ending


def _change(data: bytearray, rng: random.Random, seeds: list[Seed]) -> None:
    at = rng.randrange(len(data) + 1)
    span = rng.choice((1, 2, 4, 8, rng.randrange(1, 65)))
    match rng.randrange(9):
        case 0 | 1 if at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        case 2 if at < len(data):
            data[at] = rng.randrange(256)
        case 3:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) % 256**width
            order = rng.choice(("little", "big"))
            data[at : at + width] = number.to_bytes(width, order)  # type: ignore[arg-type]
        case 4:
            del data[at : len(data) if rng.random() < 0.3 else at + span]
        case 5:
            data[at:at] = data[at : at + span] * rng.choice((1, 2, 100))
        case 6:
            data[at:at] = rng.randbytes(span)
        case 7:
            other = rng.choice(seeds).data
            begin = rng.randrange(len(other) + 1)
            data[at : at + span] = other[begin : begin + span]
        case _:
            digits = rng.choice(WORDS)
            data[at : at + len(digits)] = digits


# --- the process that reads ---


def read_all(reader: str, seed: int, first: int, count: int, cap: int, folder: Path) -> None:
    """Read changed files, and print of each what came of it and the memory that it took."""
    warnings.simplefilter("ignore")  # Pillow warns of much that is odd, and reads on
    from minidl.errors import MinidlError

    chosen = (READERS | FAULTY)[reader]
    made, read = chosen.seeds(), chosen.read
    for i, whole in enumerate(made):  # what is imported late is no memory of a change's
        path = folder / f"whole{i}{whole.ending}"
        path.write_bytes(whole.wrap(whole.data))
        with suppress(MinidlError):
            read(path)
    before = _memory("VmRSS")
    space = 2**20 * cap + 1024 * _status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(READY, flush=True)
    for number in range(first, first + count):
        data, ending = changed(made, reader, seed, number)
        path = folder / f"changed{ending}"
        path.write_bytes(data)
        Path("/proc/self/clear_refs").write_text("5")  # forget the largest memory so far
        try:
            read(path)
            result = "read"
        except MinidlError:
            result = "refused"
        except BaseException as error:
            result = f"leaked {type(error).__name__}: {error}"
        text = result.replace("\n", " ")[:200].encode("ascii", "replace").decode()
        print(f"{number}\t{max(0, _memory('VmHWM') - before)}\t{text}", flush=True)


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def _memory(name: str) -> int:
    """This process's memory, in MiB."""
    return _status(name) // 1024


# --- the process that watches ---


@dataclass
class Result:
    """What came of a reader's changes."""

    reader: str
    mutations: int = 0
    refused: int = 0
    read: int = 0
    memory: int = 0
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)


def fuzz(
    reader: str, seed: int, count: int, cap: int = CAP, patience: float = PATIENCE
) -> Result:
    """Read ``count`` changed files in processes that may fail."""
    result, next_one, started = Result(reader), 0, time.monotonic()
    while next_one < count:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--reader", reader, "--seed", str(seed), "--cap",
                       str(cap), "--count", str(count - next_one), "--inside", str(next_one),
                       "--folder", folder]
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
            with (open(Path(folder) / "last words", "w+b") as words,
                  subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True,
                                   env=environment, cwd=ROOT) as process):
                next_one = _watch(process, result, next_one, patience)
                if result.findings and result.findings[-1].endswith(ENDED):
                    words.seek(0)
                    result.findings[-1] += f" {words.read()[-200:]!r}"
        if len(result.findings) > 50:
            break
    result.seconds = time.monotonic() - started
    return result


def _watch(
    process: subprocess.Popen[str], result: Result, next_one: int, patience: float
) -> int:
    """Take a process's lines until it ends or hangs; the number of the next change."""
    lines: queue.Queue[str | None] = queue.Queue()
    assert process.stdout is not None
    listener = threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True)
    listener.start()
    wait = 60.0  # for its start
    while True:
        try:
            line = lines.get(timeout=wait)
        except queue.Empty:
            process.kill()
            listener.join()
            result.mutations += 1
            result.findings.append(f"{next_one}: it hangs")
            return next_one + 1
        wait = patience
        if line is None:
            if process.wait() == 0:
                return next_one
            result.mutations += 1
            result.findings.append(f"{next_one}: by {process.returncode} {ENDED}")
            return next_one + 1
        if line.startswith(READY):
            continue
        number, memory, what = line.rstrip("\n").split("\t")
        next_one = int(number) + 1
        result.mutations += 1
        result.memory = max(result.memory, int(memory))
        if what == "read":
            result.read += 1
        elif what == "refused":
            result.refused += 1
        else:
            result.findings.append(f"{number}: {what}")


def _pass_on(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def table(results: list[Result]) -> str:
    """The results, a reader a line."""
    rows = [("reader", "mutations", "refused", "read", "crashes", "worst memory", "seconds")]
    rows += [(r.reader, str(r.mutations), str(r.refused), str(r.read), str(len(r.findings)),
              f"{r.memory} MiB", f"{r.seconds:.0f}") for r in results]
    return "\n".join(f"{row[0]:<12}" + "".join(f"{cell:>14}" for cell in row[1:]) for row in rows)


def main() -> int:
    """Fuzz the readers that are asked for; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reader", choices=(*READERS, *FAULTY), action="append", metavar="NAME",
                        help=f"{', '.join(READERS)}; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=500, help="changes for each reader")
    parser.add_argument("--cap", type=int, default=CAP, help="MiB that one file may take")
    parser.add_argument("--again", type=int, help="read this change once more, in this process")
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    names = args.reader or list(READERS)
    if args.inside is not None:
        read_all(names[0], args.seed, args.inside, args.count, args.cap, args.folder)
        return 0
    if args.again is not None:
        data, ending = changed(READERS[names[0]].seeds(), names[0], args.seed, args.again)
        path = Path(tempfile.gettempdir()) / f"{names[0]}-{args.seed}-{args.again}{ending}"
        path.write_bytes(data)
        print(path, flush=True)
        print(READERS[names[0]].read(path))
        return 0
    results = []
    for name in names:
        results.append(fuzz(name, args.seed, args.count, args.cap))
        print(f"{name}: {results[-1].mutations} done", file=sys.stderr, flush=True)
    print(table(results))
    for result in results:
        for finding in result.findings:
            print(f"{result.reader} {finding}")
    return int(any(result.findings for result in results))


if __name__ == "__main__":
    sys.exit(main())
