"""Files that are there whole or not at all, whatever stops the program that writes them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Pathlike = str | os.PathLike[str]
"""A path, as text or as a ``Path``."""


@contextmanager
def replacing(path: Pathlike, mode: int | None = None) -> Iterator[Path]:
    """Replace a file by what the block writes, whole or not at all.

    Yields the name of an empty temporary file in the target's own folder. When the
    block ends it is renamed over the target; if the block raises, it is removed and
    the target is as it was. Missing folders are made. The file's ``mode`` is the usual one
    unless given.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with replacing(f"{folder}/notes.txt") as temporary:
    ...     _ = temporary.write_text("hello")
    >>> os.listdir(folder)
    ['notes.txt']
    """
    target = Path(os.path.realpath(path))  # a link stays a link, its target is replaced
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    mode = os.fstat(descriptor).st_mode & 0o777 if mode is None else mode
    os.close(descriptor)
    try:
        yield temporary
        os.chmod(temporary, mode)  # a writer may have put a file of its own in this place
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def remove_leftovers(path: Pathlike) -> None:
    """Remove temporary files that killed programs left beside this file.

    Nobody else may be writing it: a writer's temporary file looks like one that was left.
    """
    target = Path(os.path.realpath(path))
    if target.parent.is_dir():
        for other in target.parent.iterdir():
            if other.name.startswith(f".{target.name}.") and other.suffix == ".tmp":
                other.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Put a renaming in this folder on the disk; Windows does so unasked."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
