"""KITTI: rectified pairs from a car, as laid out by its authors; disparities and laser depths.

    raw           DATE/DATE_drive_NNNN_sync/image_02/data/0000000069.png   left, colour
                                           /image_03/data/                 right
                                           /velodyne_points/data/*.bin     float32 rows x y z r
                  DATE/calib_cam_to_cam.txt, DATE/calib_velo_to_cam.txt
    stereo 2015   training/image_2/000000_10.png, image_3, disp_noc_0 or disp_occ_0
                  (uint16, the disparity times 256; 0: unknown)

Images are about 1242x375, and not all of one size. The cameras' matrices P have B in them:
a camera at X has P[0, 3] = -f X, so B = P3[0, 3] / -P3[0, 0] - P2[0, 3] / -P2[0, 0], about 0.53 m.

Source: Geiger, Lenz, Stiller & Urtasun 2013, "Vision meets robotics: the KITTI dataset"; Menze &
Geiger 2015, "Object scene flow for autonomous vehicles". Read from folders that we wrote
ourselves: the data set itself was not at hand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minidl.data.dataset import Dataset, Example, JointTransform
from minidl.data.images import ENDINGS, read_image
from minidl.data.readers.isbi import read_stack
from minidl.errors import DataError, ShapeError, message
from minidl.files.whole import Pathlike

Calibration = dict[str, np.ndarray]
"""The matrices of a calibration file, by name."""
COUNTS = {
    re.compile(names): count
    for names, count in {
        r"P\d+|P_rect_\d+|Tr|Tr_\w+": 12, r"R|R_\d+|R_rect_\d+|R0_rect|K_\d+": 9, r"D_\d+": 5,
        r"T|T_\d+": 3, r"S_\d+|S_rect_\d+": 2,
    }.items()
}
"""How many numbers a matrix has, by its name."""
LARGEST = 1e6
"""Largest number of a calibration, and coordinate of a point in metres, that is believed."""
MAX_TEXT = 2**20
"""Largest number of characters of a calibration file."""
MIN_FORWARD = 2.0
"""Metres ahead of the laser, up to which its points are on the car itself, or beside the image."""


class StereoPairs(Dataset):
    """Files of rectified pairs: example i is left and right, (3, H, W) float32 in [0, 1].

    Parameters
    ----------
    files : sequence of (left path, right path)
    joint : callable, optional
        ``joint(left, right, rng)`` returns both changed: resized, cropped, flipped.

    Raises
    ------
    DataError
        If there are no files or one is missing; and, when an example is read, if a file is
        damaged or the views differ in size.
    """

    def __init__(
        self, files: Sequence[tuple[Pathlike, Pathlike]], joint: JointTransform | None = None
    ):
        self.files = [(Path(left), Path(right)) for left, right in files]
        self.joint = joint
        if not self.files:
            raise DataError("StereoPairs: there are no files")
        missing = [path for pair in self.files for path in pair if not path.is_file()]
        if missing:
            raise DataError(
                message(
                    f"StereoPairs: there is no file '{missing[0]}'",
                    f"{len(missing)} of {2 * len(self.files)} files are missing",
                )
            )

    def __len__(self) -> int:
        return len(self.files)

    def example(self, i: int) -> Example:
        left, right = map(read_image, self.files[i])
        if left.shape != right.shape:
            raise DataError(
                message(
                    "StereoPairs: the views of a pair differ in size",
                    f"'{self.files[i][0]}' is {left.shape}, the right one {right.shape}",
                )
            )
        return left, right

    def draw(self, i: int, rng: np.random.Generator) -> Example:
        left, right = self.example(i)
        return (left, right) if self.joint is None else self.joint(left, right, rng)


def kitti_drives(root: Pathlike) -> list[Path]:
    """The drives of a folder of raw data, ``DATE/DATE_drive_NNNN_sync``, sorted.

    Raises
    ------
    DataError
        If there are none.
    """
    found = sorted(p for p in Path(root).glob("*/*_drive_*_sync") if p.is_dir())
    if not found:
        raise DataError(
            message(
                f"kitti_drives: '{root}' has no drives in it",
                hint="it must hold folders like 2011_09_26/2011_09_26_drive_0001_sync.",
            )
        )
    return found


def kitti_raw(
    drives: Pathlike | Sequence[Pathlike], joint: JointTransform | None = None
) -> StereoPairs:
    """All pairs of some drives; a left image without a right one is an error.

    Parameters
    ----------
    drives : folder, or sequence of folders
        Drives, such as ``kitti_drives`` finds; or one folder, a drive or what holds all of them.
    joint : callable, optional
        As for ``StereoPairs``.

    Raises
    ------
    DataError
        If there are no pairs, or a right image is missing.
    """
    if isinstance(drives, str | os.PathLike):
        folder = Path(drives)
        drives = [folder] if (folder / "image_02").is_dir() else kitti_drives(folder)
    files = []
    for drive in map(Path, drives):
        left = drive / "image_02" / "data"
        for path in sorted(left.glob("*")) if left.is_dir() else []:
            if path.suffix.lower() in ENDINGS:
                files.append((path, drive / "image_03" / "data" / path.name))
    return StereoPairs(files, joint)


def kitti_stereo(root: Pathlike, occluded: bool = False) -> list[tuple[Path, Path, Path]]:
    """Stereo 2015's training pairs: (left, right, disparity) files, for ``read_disparity``.

    Parameters
    ----------
    root : folder
        Holds ``training``.
    occluded : bool
        Whether disparities are wanted also of places that the right view does not show.

    Raises
    ------
    DataError
        If there are none, or one is missing.
    """
    folder = Path(root) / "training"
    truth = folder / ("disp_occ_0" if occluded else "disp_noc_0")
    names = sorted(p.name for p in truth.glob("*_10.png"))
    files = [(folder / "image_2" / n, folder / "image_3" / n, truth / n) for n in names]
    missing = [path for each in files for path in each if not path.is_file()]
    if not files or missing:
        lacks = f"there is no file '{missing[0]}'" if missing else f"'{truth}' has no *_10.png"
        raise DataError(f"kitti_stereo: {lacks}")
    return files


def read_disparity(path: Pathlike) -> np.ndarray:
    """Read 16-bit disparities, or depths, times 256: (H, W) float32, NaN where unknown.

    Raises
    ------
    DataError
        If it is missing, damaged, or not grey of 16 bits.
    """
    pages = read_stack(path)
    if pages.dtype != np.uint16 or len(pages) != 1:
        raise DataError(
            message(
                f"read_disparity: '{path}' is not one grey image of 16 bits",
                f"it holds {len(pages)} of {pages.dtype}",
            )
        )
    values = pages[0].astype(np.float32) / 256
    values[pages[0] == 0] = np.nan
    return values


def read_calibration(path: Pathlike) -> Calibration:
    """Read the lines "name: numbers" of a calibration file; other lines are passed over.

    Twelve numbers become (3, 4), nine (3, 3).

    Raises
    ------
    DataError
        If the file is missing or has no such line; or, naming the line, if a matrix is there
        twice, has another number of numbers than it should, or holds numbers that no camera has.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(MAX_TEXT + 1)
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError(f"read_calibration: '{path}' cannot be read: {cause}") from None
    if len(text) > MAX_TEXT:
        raise DataError(f"read_calibration: '{path}' has more than {MAX_TEXT:,} characters")
    found: Calibration = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, colon, rest = line.partition(":")
        name, words = name.strip(), rest.split()
        expected = next((n for names, n in COUNTS.items() if names.fullmatch(name)), None)
        try:
            values = np.array([float(word) for word in words])
        except ValueError:
            if expected is None:
                continue  # the date it was measured
            values = np.array([np.nan])
        if not colon or not words:
            continue
        reason = ""
        if name in found:
            reason = f"{name} is there a second time"
        elif not np.isfinite(values).all() or np.abs(values).max() > LARGEST:
            reason = f"{name} holds something else than numbers, or numbers past {LARGEST:,.0f}"
        elif expected is not None and values.size != expected:
            reason = f"{name} has {values.size} numbers, not {expected}"
        elif expected == 12 and name.startswith("P") and (values[0] <= 0 or values[5] <= 0):
            reason = f"{name} has the focal lengths {values[0]:g} and {values[5]:g}"
        if reason:
            raise DataError(
                message(
                    f"read_calibration: line {number} of '{path}' is damaged",
                    reason,
                    f"received {line[:100]!r}",
                    hint="copy the file again.",
                )
            )
        shape = {12: (3, 4), 9: (3, 3)}.get(values.size, (values.size,))
        found[name] = values.reshape(shape)
    if not found:
        raise DataError(f"read_calibration: '{path}' has no lines of the form 'name: numbers'")
    return found


def focal_and_baseline(cameras: Calibration) -> tuple[float, float]:
    """The focal length in pixels, and the baseline in metres, of the two colour cameras.

    >>> p2 = np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0]])
    >>> p3 = np.array([[721.5, 0, 609.6, -339.5], [0, 721.5, 172.9, 2.2], [0, 0, 1, 0]])
    >>> [round(x, 3) for x in focal_and_baseline({"P_rect_02": p2, "P_rect_03": p3})]
    [721.5, 0.533]

    Raises
    ------
    DataError
        If a matrix is missing, is not (3, 4), or has no focal length.
    """
    who = "focal_and_baseline"
    left, right = (_entry(who, cameras, f"P_rect_0{i}", (3, 4)) for i in (2, 3))
    for name, matrix in (("P_rect_02", left), ("P_rect_03", right)):
        if not matrix[0, 0] > 0:
            raise DataError(f"{who}: {name} has the focal length {matrix[0, 0]:g}")
    places = [-p[0, 3] / p[0, 0] for p in (left, right)]
    return float(left[0, 0]), float(places[1] - places[0])


def read_points(path: Pathlike) -> np.ndarray:
    """Read a laser's points, (P, 3) float32 in metres: x forward, y left, z up.

    Raises
    ------
    DataError
        If it is missing or does not hold rows of four float32.
    """
    try:
        size = Path(path).stat().st_size
        values = np.fromfile(path, np.float32)
    except OSError as cause:
        raise DataError(f"read_points: '{path}' cannot be read: {cause}") from None
    if size % 16:
        raise DataError(f"read_points: '{path}' has {size} bytes, which is no multiple of 16")
    return values.reshape(-1, 4)[:, :3]


def laser_depth(
    points: np.ndarray, cameras: Calibration, laser: Calibration, size: tuple[int, int]
) -> np.ndarray:
    """The depth of the pixels of the left colour camera that a laser point falls on.

    (P, 3) -> (H, W) float32, in metres, NaN where there is none; the nearest of several counts.

    Parameters
    ----------
    points : array, shape (P, 3)
        As ``read_points`` gives them.
    cameras, laser : dict
        Contents of ``calib_cam_to_cam.txt`` and ``calib_velo_to_cam.txt``.
    size : (H, W)
        Size of the rectified image, in pixels.

    Raises
    ------
    DataError
        If the calibration lacks a matrix.
    ShapeError
        If the points are not (P, 3).
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ShapeError(f"laser_depth: points must be (P, 3), received {points.shape}")
    who = "laser_depth"
    rotation, shift = _entry(who, laser, "R", (3, 3)), _entry(who, laser, "T", (3,))
    rectify = _entry(who, cameras, "R_rect_00", (3, 3))
    project = _entry(who, cameras, "P_rect_02", (3, 4))
    real = (np.abs(points) < LARGEST).all(1)  # which NaN is not
    ahead = points[real & (points[:, 0] > MIN_FORWARD)]
    seen = (ahead @ rotation.T + shift) @ rectify.T @ project[:, :3].T + project[:, 3]
    h, w = size
    # Beside the image is decided without a division, whose result may be past all integers.
    inside = (seen[:, 2] > 0) & (seen[:, :2] >= -seen[:, 2:]).all(1)
    seen = seen[inside & (seen[:, :2] <= seen[:, 2:] * (w, h)).all(1)]
    depth = seen[:, 2]
    x, y = (np.rint(seen[:, i] / depth).astype(np.int64) for i in (0, 1))
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    nearest = np.full(h * w, np.inf)
    np.minimum.at(nearest, y[inside] * w + x[inside], depth[inside])
    nearest[np.isinf(nearest)] = np.nan
    return nearest.reshape(h, w).astype(np.float32)


def _entry(who: str, found: Calibration, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in found:
        raise DataError(
            message(
                f"{who}: the calibration has no {name}", f"it has {', '.join(sorted(found))}"
            )
        )
    if found[name].shape != shape or not np.isfinite(found[name]).all():
        raise DataError(
            message(
                f"{who}: {name} is not a matrix of {shape} finite numbers",
                f"it has shape {found[name].shape}",
            )
        )
    return found[name]
