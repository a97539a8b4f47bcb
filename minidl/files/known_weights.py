"""Weight files that others have published: known by name, found, fetched when asked, verified.

Wherever a weight file is taken, the name of a known one will do:

    load_features("vgg16")          load_weights(resnet18(), "resnet18")
    minidl run style photo.jpg painting.jpg --weights vgg16

``find`` looks for it in the folders of ``folders()``. Nothing is fetched unless ``download`` is
called, or ``minidl weights fetch``. Their names carry the beginning of their SHA-256,

    vgg16-397923af.pth

and a file whose contents do not begin so is refused, whatever it is called and wherever it came
from. Eight digits are proof against accidents and damage, not against a forger; no more are
published.

Sources: torchvision's ``models/vgg.py`` and ``models/resnet.py`` (names of files, sizes, what their
weights were made from), and its README (terms).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from minidl.cuda.cache import cache_folder
from minidl.errors import ArgumentError, CheckpointError, DataError, import_extra, message
from minidl.files.whole import Pathlike, replacing

SOURCE = "https://download.pytorch.org/models/"
"""The address of torchvision's weight files."""

TERMS = {
    "torchvision": "torchvision is BSD-3-Clause, ImageNet for research and teaching that are not "
    "commercial: whether your use is allowed is for you to find out",
    "oxford": "CC BY 4.0, Visual Geometry Group, University of Oxford; ported by ssd.pytorch (MIT)",
}
"""What may be done with a file, by whose it is."""


class Known(NamedTuple):
    """A published file of weights."""

    file: str
    """Its name at ``SOURCE``, with the beginning of its SHA-256."""
    size: float
    """Its size in MiB."""
    holds: str
    terms: str = "torchvision"
    """A key of ``TERMS``."""
    others: tuple[str, ...] = ()
    """Names of other files with the same weights, which do as well if they are there."""


KNOWN = {
    "vgg16": Known("vgg16-397923af.pth", 527.8, "VGG-16"),
    "vgg16_caffe": Known(
        "vgg16_features-amdegroot-88682ab5.pth", 527.8, "VGG-16's convolutions, for Caffe's inputs",
        "oxford", ("vgg16_caffe_conv.safetensors", "vgg16-00b39a1b.pth"),
    ),
    "vgg16_bn": Known("vgg16_bn-6c64b313.pth", 527.9, "VGG-16 with batch norm"),
    "vgg19": Known("vgg19-dcbb9e9d.pth", 548.1, "VGG-19"),
    "vgg19_bn": Known("vgg19_bn-c79401a0.pth", 548.1, "VGG-19 with batch norm"),
    "resnet18": Known("resnet18-f37072fd.pth", 44.7, "ResNet-18"),
    "resnet34": Known("resnet34-b627a593.pth", 83.3, "ResNet-34"),
}
"""Files by the names that may be given instead of them; all were learned from ImageNet."""

_PREFIX = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")
_LEFT = 3600.0  # seconds without a byte after which nobody is still downloading


# --- where they are ---


def weights_folder() -> Path:
    """The folder that weights are fetched into: ``weights`` in the cache, see MINIDL_CACHE."""
    return cache_folder() / "weights"


def folders() -> list[Path]:
    """All folders that are looked through: the cache's, MINIDL_DATA's, and PyTorch's own cache."""
    data = os.environ.get("MINIDL_DATA")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch = Path(os.environ.get("TORCH_HOME") or caches / "torch")
    return [
        weights_folder(),
        *([Path(data) / "weights"] if data else []),
        torch / "hub" / "checkpoints",  # torchvision puts the same files there
    ]


def here(name: str) -> Path | None:
    """Look for a known file; None if no folder has it."""
    names = (KNOWN[name].file, *KNOWN[name].others)
    places = (folder / file for file in names for folder in folders())
    return next((path for path in places if path.is_file()), None)


def find(given: Pathlike) -> Path:
    """Find a weight file by its path, or by a name: of ``KNOWN``, or of a file in ``folders()``.

    Parameters
    ----------
    given : str or path
        What is in ``KNOWN`` is such a name, in every folder; ``./vgg16`` is a file called so.

    Raises
    ------
    CheckpointError
        If it is not there; for a known name the message says what to type.
    """
    text = os.fspath(given)
    if text in KNOWN:
        found = here(text)
        if found is None:
            raise _absent(text)
        return found
    path = Path(given)
    if path.exists() or path.name != text:
        return path
    found = next((f / text for f in folders() if (f / text).is_file()), None)
    if found is None:
        raise CheckpointError(
            message(
                f"cannot load {text!r}: there is no such file",
                f"it is not in {', '.join(map(str, folders()))} either",
                hint=f"known by name are {', '.join(KNOWN)}: see `minidl weights list`.",
            )
        )
    return found


def _absent(name: str) -> CheckpointError:
    network = name.partition("_")[0]
    kin = [other for other in KNOWN if other.startswith(network) and here(other)]
    return CheckpointError(
        message(
            f"the weights of {name!r} are not here",
            f"looked for {KNOWN[name].file} in {', '.join(map(str, folders()))}",
            *([f"there is {', '.join(kin)}"] if kin else []),
            hint=f"`minidl weights fetch {name}` fetches them ({KNOWN[name].size:.0f} MiB, once).",
        )
    )


# --- whether they are what they should be ---


def digest(path: Pathlike) -> str:
    """Compute the SHA-256 of a file, 64 hexadecimal digits.

    Raises
    ------
    CheckpointError
        If it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise CheckpointError(f"cannot load {os.fspath(path)!r}: {cause.strerror}") from None


def promised(name: str) -> str:
    """The beginning of a SHA-256 that a file's name carries; "" if it carries none."""
    found = _PREFIX.search(name)
    return found[1] if found else ""


def verify(path: Pathlike, name: str = "") -> str:
    """Compare a file's contents with the SHA-256 prefix in its name.

    Parameters
    ----------
    path : str or path
    name : str
        Compare with the prefix in this name instead.

    Returns
    -------
    str
        The prefix; empty if the name has none, and nothing was compared.

    Raises
    ------
    CheckpointError
        If they differ, or the file cannot be read.
    """
    prefix = promised(name or Path(path).name)
    if not prefix:
        return ""
    found = digest(path)
    if not found.startswith(prefix):
        raise CheckpointError(
            message(
                f"cannot load {os.fspath(path)!r}",
                f"its name says that its SHA-256 begins with {prefix}",
                f"it is {found}",
                hint="take another copy; if these digits mean something else, rename it.",
            )
        )
    return prefix


# --- fetching ---


def download(name: str, folder: Pathlike | None = None, progress: bool = False) -> Path:
    """Fetch a known weight file, unless the folder has it, and verify it.

    It gets its name when it is there whole and is what it should be; else nothing stays.

    Parameters
    ----------
    name : str
        One of ``KNOWN``.
    folder : str or path, optional
        The folder to keep it in. Default: ``weights_folder()``.
    progress : bool
        Whether to show a bar on standard error.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ArgumentError
        If there is no such name.
    MissingExtraError
        If pooch is not installed (``minidl[data]``).
    DataError
        If the file cannot be fetched: no network, no room, no permission.
    CheckpointError
        If it is not what its name says.
    """
    if name not in KNOWN:
        raise ArgumentError(
            message(
                f"download: no weights are known for {name!r}",
                hint=f"choose one of {', '.join(KNOWN)}.",
            )
        )
    known = KNOWN[name]
    target = Path(weights_folder() if folder is None else folder) / known.file
    if target.exists():
        verify(target)
        return target
    pooch = import_extra("pooch", "data", "minidl.files.known_weights.download")
    fetch = pooch.HTTPDownloader(progressbar=progress)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        _check_room(target.parent, known.size)
        with replacing(target) as temporary:
            fetch(SOURCE + known.file, str(temporary), None)
            verify(temporary, known.file)  # before it gets its name
    except (OSError, ValueError) as cause:  # no connection; no such file there; no room
        raise DataError(
            message(
                f"download: {known.file} could not be fetched into '{target.parent}'",
                f"{type(cause).__name__}: {cause!s:.200}",
                hint=f"try again later, or take {SOURCE}{known.file} elsewhere and put it there.",
            )
        ) from cause
    return target


def _check_room(folder: Path, size: float) -> None:
    """Raise what a full disk raises, before the time is spent."""
    free = shutil.disk_usage(folder).free / 2**20
    if free < size:
        raise OSError(errno.ENOSPC, f"it has {size:.0f} MiB, and there is room for {free:.0f} MiB")


def _remove_leftovers(target: Path) -> None:
    """Remove what downloads that were killed have left; others may be fetching the same file."""
    for left in target.parent.glob(f".{target.name}.*.tmp"):
        if time.time() - left.stat().st_mtime > _LEFT:
            left.unlink(missing_ok=True)
