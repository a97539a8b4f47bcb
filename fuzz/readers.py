"""What the fuzzer reads: for every reader of minidl some small whole files, and how it is called.

A seed is what is changed, and what is done with it before it becomes a file: checksums are put
right, or it is packed, without which hardly any change would get past the first check.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import time
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tests.torch_writer import CONTAINERS, Pickle, Raw, saved

Wrap = Callable[[bytes], bytes]


class Seed(NamedTuple):
    """Bytes to change, and how a file is made of them."""

    data: bytes
    ending: str
    wrap: Wrap = bytes


class Reader(NamedTuple):
    """A reader: its seeds, and the call that reads a file."""

    seeds: Callable[[], list[Seed]]
    read: Callable[[Path], Any]


RNG = np.random.default_rng(0)


# --- weights ---


def zipped(content: Any) -> Seed:
    """A pickle that is put into PyTorch's zip container after it has been changed."""
    pickle = Pickle()

    def wrap(data: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("net/data.pkl", data)
            for key, storage in enumerate(pickle.storages):
                archive.writestr(f"net/data/{key}", storage.tobytes())
        return out.getvalue()

    return Seed(pickle.dump(content), ".pth", wrap)


def torch_seeds() -> list[Seed]:
    """Files of both containers, and bare pickles that are put into one."""
    whole = np.arange(6, dtype=np.float32).reshape(2, 3)
    shared = saved(whole, parameter=True)
    counter = Raw(b"ccollections\nCounter\n}X\1\0\0\0aK\2s\x85R")
    members = Raw(b"c__builtin__\nset\n](K\1X\1\0\0\0be\x85R")
    contents: list[Any] = [
        OrderedDict({"w": shared, "t": shared._replace(shape=(3, 2), strides=(1, 3))}),
        {"half": saved(whole.astype(np.float16)), "n": [1, 2.5, None, True, ("a", 2**40)]},
        {"state_dict": {"w": shared}, "c": counter, "s": members,
         "size": Raw(b"ctorch\nSize\nK\2K\3\x86\x85R"), "d": Raw(b"ctorch\nfloat32\n")},
    ]
    files = [Seed(write(c), ".pth") for write in CONTAINERS.values() for c in contents]
    return files + [zipped(content) for content in contents]


def read_torch(path: Path) -> Any:
    """Read a file of PyTorch."""
    from minidl.files.serialize import load

    return load(path)


def safetensors_seeds() -> list[Seed]:
    """Files of arrays as other programs write them: without a checksum of ours."""
    import safetensors.numpy as theirs

    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.zeros((), np.int64),
              "e": np.zeros((0, 3), np.float16)}
    return [Seed(theirs.save(arrays), ".safetensors"),
            Seed(theirs.save(arrays, {"note": "a" * 20}), ".safetensors")]


def read_safetensors(path: Path) -> Any:
    """Read a file of arrays."""
    from minidl.files.serialize import load

    return load(path)


def skeleton_file(skeleton: bytes) -> bytes:
    """A safetensors file with such a skeleton of a tree in it."""
    import safetensors.numpy as theirs

    text = skeleton.decode("utf-8", "replace")
    return theirs.save({"w": np.zeros(3, np.float32)}, {"minidl.tree": text})


def json_seeds() -> list[Seed]:
    """Skeletons of trees."""
    tree = {"a": [1, 2.5, None, {"$array": "w"}], "b": {"c": "text \u00e9", "d": [[]]}}
    return [Seed(json.dumps(tree).encode(), ".safetensors", skeleton_file),
            Seed(b"[" * 5000, ".safetensors", skeleton_file)]


def network_seeds() -> list[Seed]:
    """Weight files of small networks of restoration."""
    import safetensors.numpy as theirs

    from minidl.models.rednet import REDNet
    from minidl.models.vdsr import VDSR

    seeds = []
    for model in (VDSR(3, 2), REDNet(4, 2)):
        state = {name: np.asarray(value) for name, value in model.state_dict().items()}
        seeds.append(Seed(theirs.save(state), ".safetensors"))
        wrapped = {"state_dict": {f"module.{n}": saved(v) for n, v in state.items()}}
        seeds.append(Seed(CONTAINERS["legacy"](wrapped), ".pth"))
    return seeds


def read_network(path: Path) -> Any:
    """Load a network of restoration."""
    from minidl.tasks.restoration import load_model

    return load_model(path)


def element(kind: int, body: bytes) -> bytes:
    """An element of a MATLAB file."""
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)


def matrix(array: Any, name: str = "") -> bytes:
    """An array of floats, cells or a struct as an element of a MATLAB file."""
    held = array if isinstance(array, list | dict) else np.asarray(array, np.float32)
    code, shape = 7, held.shape if isinstance(held, np.ndarray) else (1, 1)
    if isinstance(held, list):
        code, shape = 1, (1, len(held))
        body = b"".join(map(matrix, held))
    elif isinstance(held, dict):
        code = 2
        body = struct.pack("<HHi", 5, 4, 8) + element(1, b"".join(
            key.encode().ljust(8, b"\0") for key in held)) + b"".join(map(matrix, held.values()))
    else:
        body = element(7, held.tobytes("F"))
    head = element(6, struct.pack("<II", code, 0)) + element(5, struct.pack(f"<{len(shape)}i",
                                                                              *shape))
    return element(14, head + element(1, name.encode()) + body)


HEAD = b"MATLAB 5.0 MAT-file, made for a test".ljust(124) + b"\0\1IM"


def packed(elements: bytes) -> bytes:
    """A MATLAB file of one packed element."""
    body = zlib.compress(elements)
    return HEAD + struct.pack("<II", 15, len(body)) + body


def matlab_seeds() -> list[Seed]:
    """Files of VDSR's and SRCNN's layout, packed and plain."""
    weights = [RNG.standard_normal(s) for s in ((3, 3, 1, 2), (3, 3, 2, 2), (3, 3, 2))]
    biases = [np.zeros((2, 1)), np.zeros((2, 1)), np.ones((1, 1))]
    vdsr = matrix({"weight": weights, "bias": biases}, "model")
    shapes = {"weights_conv1": (81, 64), "weights_conv2": (64, 1, 32), "weights_conv3": (32, 25),
              "biases_conv1": (64, 1), "biases_conv2": (32, 1), "biases_conv3": (1, 1)}
    srcnn = b"".join(matrix(RNG.standard_normal(s), n) for n, s in shapes.items())
    return [Seed(HEAD + vdsr, ".mat"), Seed(packed(vdsr), ".mat"), Seed(vdsr, ".mat", packed),
            Seed(HEAD + srcnn, ".mat"), Seed(vdsr, ".mat", lambda data: HEAD + data)]


def read_matlab(path: Path) -> Any:
    """Read the authors' weights."""
    from minidl.tasks.restoration import read_released

    return read_released(path)


# --- data ---


def idx_seeds() -> list[Seed]:
    """IDX files of several types, plain and packed."""
    heads = [(8, (2, 3), "u1"), (0x0E, (3,), ">f8"), (0x0B, (), ">i2"), (0x0D, (2, 0, 4), ">f4")]
    files = [bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
             + np.zeros(shape, dtype).tobytes() for code, shape, dtype in heads]
    return ([Seed(file, ".idx") for file in files]
            + [Seed(gzip.compress(files[1], mtime=0), ".gz"), Seed(files[0], ".gz", gzip.compress)])


def read_idx(path: Path) -> Any:
    """Read an IDX file."""
    from minidl.data import read_idx as read

    return read(path)


PIXELS = bytes(2 * 28 * 28)
IMAGES = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 28, 28) + PIXELS
LABELS = bytes([0, 0, 8, 1]) + struct.pack(">I", 2) + bytes([1, 9])


def digit_seeds() -> list[Seed]:
    """Files of two images, and of their labels: plain and packed."""
    head = IMAGES[: -len(PIXELS)]  # changed alone, as nearly all of the file is pixels
    return [
        Seed(IMAGES, ".images"), Seed(gzip.compress(IMAGES, mtime=0), ".images"),
        Seed(head, ".images", lambda data: data + PIXELS),
        Seed(head, ".images", lambda data: gzip.compress(data + PIXELS)),
        Seed(LABELS, ".labels"), Seed(LABELS, ".labels", gzip.compress),
    ]


def read_digits(path: Path) -> Any:
    """Read images with their labels, of which one file is changed, as EMNIST's and as MNIST's."""
    from minidl.data import emnist, mnist
    from minidl.errors import MinidlError

    root = path.parent / "digits"
    root.mkdir(exist_ok=True)
    files = {".images": ("images-idx3-ubyte", IMAGES), ".labels": ("labels-idx1-ubyte", LABELS)}
    for ending, (kind, whole) in files.items():
        for part in ("train", "emnist-letters-train"):
            content = path.read_bytes() if ending == path.suffix else whole
            (root / f"{part}-{kind}").write_bytes(content)
    with suppress(MinidlError):
        emnist(root, "letters")
    return mnist(root)


def picture(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a picture's file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_checked(data: bytes) -> bytes:
    """Put the checksums of a PNG file's chunks right."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + size
        if end + 4 > len(data):
            break
        out += data[at:end] + struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return out + data[at:]


def image_seeds() -> list[Seed]:
    """Pictures of every format, grey, coloured, transparent and turned."""
    noise = Image.fromarray(RNG.integers(0, 256, (11, 17, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = noise.copy()
    clear.putalpha(128)
    png = picture(clear, "PNG", exif=exif)
    seeds = [
        Seed(png, ".png"), Seed(png, ".png", png_checked),
        Seed(picture(noise.convert("P"), "PNG", transparency=3), ".png", png_checked),
        Seed(picture(noise.convert("I;16"), "PNG"), ".png", png_checked),
        Seed(picture(noise, "JPEG", exif=exif), ".jpg"),
        Seed(picture(noise, "JPEG", progressive=True), ".jpg"),
        Seed(picture(noise, "BMP"), ".bmp"), Seed(picture(noise.convert("P"), "BMP"), ".bmp"),
        Seed(picture(noise.convert("P"), "GIF", save_all=True, append_images=[noise]), ".gif"),
        Seed(picture(noise, "PPM"), ".ppm"), Seed(picture(noise, "WEBP", lossless=True), ".webp"),
        Seed(picture(noise, "WEBP", exif=exif), ".webp"),
    ]
    packings = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")
    return seeds + [Seed(picture(noise, "TIFF", compression=p, tiffinfo={0x0112: 3}), ".tif")
                    for p in packings]


def read_image(path: Path) -> Any:
    """Read a picture, as data sets and as the commands read it."""
    from minidl.commands.run.pictures import read_picture
    from minidl.data import read_image as read

    read(path, "L")
    return read_picture(path)


def label_seeds() -> list[Seed]:
    """Images of labels: by number, by colour and of one bit."""
    from minidl.data.readers.legend import VOC

    labels = RNG.integers(0, 21, (7, 9), np.uint8)
    colours = Image.fromarray(np.array(VOC.palette, np.uint8)[labels])
    images = [Image.fromarray(labels), colours, Image.fromarray(labels > 9)]
    files = [picture(image, "PNG") for image in images]
    return ([Seed(file, ".png", wrap) for file in files for wrap in (bytes, png_checked)]
            + [Seed(picture(image, "TIFF"), ".tif") for image in images])


def read_labels(path: Path) -> Any:
    """Read an image of labels."""
    from minidl.data import read_labels as read
    from minidl.data.readers.legend import VOC

    return read(path, VOC)


def stack_seeds() -> list[Seed]:
    """Stacks of pages."""
    seeds = []
    for dtype, packing in ((np.uint8, None), (np.uint16, "tiff_lzw"), (bool, "group4"),
                           (np.uint8, "tiff_adobe_deflate")):
        pages = [Image.fromarray(RNG.integers(0, 2, (6, 8)).astype(dtype)) for _ in range(3)]
        seeds.append(Seed(picture(pages[0], "TIFF", save_all=True, append_images=pages[1:],
                                  compression=packing), ".tif"))
    return seeds


def read_stack(path: Path) -> Any:
    """Read a stack of pages."""
    from minidl.data.readers.isbi import read_stack as read

    return read(path)


def kitti_seeds() -> list[Seed]:
    """Calibrations."""
    p = "7.2e+02 0 6.1e+02 4.5e+01 0 7.2e+02 1.7e+02 2e-01 0 0 1 0"
    text = (f"calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.95e-02\nP_rect_02: {p}\n"
            f"P_rect_03: {p}\nR_rect_00: 1 0 0 0 1 0 0 0 1\nR: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n")
    return [Seed(text.encode(), ".txt"), Seed(b"\xef\xbb\xbf" + text.encode(), ".txt")]


def read_kitti(path: Path) -> Any:
    """Read a calibration, and use it."""
    from minidl.data.readers import kitti

    found = kitti.read_calibration(path)
    kitti.focal_and_baseline(found)
    points = np.float32([[10, 0, 0], [5, 1, -1], [100, 3e6, 0]])
    return kitti.laser_depth(points, found, found, (8, 16))


def point_seeds() -> list[Seed]:
    """Points of a laser."""
    return [Seed(RNG.standard_normal((9, 4)).astype(np.float32).tobytes(), ".bin")]


def read_points(path: Path) -> Any:
    """Read a laser's points, and look where they fall."""
    from minidl.data.readers import kitti

    cameras = {"R_rect_00": np.eye(3), "P_rect_02": np.eye(3, 4)}
    laser = {"R": np.eye(3)[[1, 2, 0]], "T": np.zeros(3)}
    return kitti.laser_depth(kitti.read_points(path), cameras, laser, (8, 16))


def list_seeds() -> list[Seed]:
    """Lists of files."""
    path = "/JPEGImages/2007_000032.jpg /SegmentationClass/2007_000032.png\n"
    return [Seed(text.encode("utf-8-sig"), ".txt") for text in
            ("2007_000032\n2007_000032\n", "2007_000032 1\n2007_000032 -1\n", path * 2)]


def read_voc(path: Path) -> Any:
    """Read a list as VOC's and as CamVid's."""
    from minidl.data import camvid, voc2012
    from minidl.errors import MinidlError

    root = path.parent / "voc"
    for folder, name in (("JPEGImages", "2007_000032.jpg"),
                         ("SegmentationClass", "2007_000032.png")):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).touch()
    listing = root / "ImageSets" / "Segmentation" / "train.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_bytes(path.read_bytes())
    (root / "train.txt").write_bytes(path.read_bytes())
    with suppress(MinidlError):
        camvid(root)
    return voc2012(root)


# --- planted faults ---


def plant(fault: str) -> Reader:
    """A reader that does what none may, for the tests of the fuzzer."""
    def read(path: Path) -> Any:
        if not path.name.startswith("changed"):
            return None
        match fault:
            case "crash":
                os.abort()
            case "hang":
                time.sleep(60)
            case "leak":
                raise ValueError("planted")
        return np.ones(2**30, np.uint8)

    return Reader(lambda: [Seed(b"seed", ".txt")], read)


FAULTY = {fault: plant(fault) for fault in ("crash", "hang", "leak", "memory")}
"""The readers of planted faults, by what they do."""
READERS = {
    "pth": Reader(torch_seeds, read_torch),
    "safetensors": Reader(safetensors_seeds, read_safetensors),
    "json": Reader(json_seeds, read_safetensors),
    "network": Reader(network_seeds, read_network),
    "mat": Reader(matlab_seeds, read_matlab),
    "idx": Reader(idx_seeds, read_idx),
    "digits": Reader(digit_seeds, read_digits),
    "image": Reader(image_seeds, read_image),
    "labels": Reader(label_seeds, read_labels),
    "stack": Reader(stack_seeds, read_stack),
    "kitti": Reader(kitti_seeds, read_kitti),
    "points": Reader(point_seeds, read_points),
    "voc": Reader(list_seeds, read_voc),
}
"""The readers, by name."""
