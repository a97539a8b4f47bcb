"""Files that were made to hurt, or are only odd: upright once, read within bounds, or refused."""

from __future__ import annotations

import gzip
import os
import struct
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from fuzz import readers, run
from minidl import data
from minidl.commands.run import pictures
from minidl.data import images
from minidl.data.readers.isbi import read_stack
from minidl.data.readers.legend import VOC
from minidl.errors import CheckpointError, DataError
from minidl.files.matlab import Other, read_matlab
from minidl.files.pretrained import load_weights
from minidl.files.serialize import save_arrays
from minidl.models.rednet import REDNet
from minidl.models.srcnn import SRCNN
from minidl.models.vdsr import VDSR
from minidl.nn import BatchNorm2d, Conv2d, Sequential
from minidl.tasks.restoration import load_model, read_released
from tests.torch_writer import CONTAINERS, saved

WEIGHTS = Path(os.environ.get("MINIDL_DATA", Path(__file__).parents[2] / "shared" / "data"))
WEIGHTS = WEIGHTS / "weights"


class Peak:
    """The most memory that was taken in a block, in bytes."""

    def __enter__(self) -> Peak:
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


# --- upright, once ---

FORMATS = {
    "a.jpg": {"quality": 100, "subsampling": 0}, "a.png": {}, "a.webp": {"lossless": True},
    "a.tif": {}, "b.tif": {"compression": "tiff_lzw"}, "c.tif": {"compression": "packbits"},
}


def quarters(h: int = 16, w: int = 24) -> np.ndarray:
    """A picture of four even quarters, which no turn leaves as it is, and JPEG does."""
    grey = np.zeros((h, w, 3), np.uint8)
    grey[: h // 2, : w // 2], grey[: h // 2, w // 2 :], grey[h // 2 :, : w // 2] = 240, 160, 80
    return grey


def turned(path, orientation: int, pixels: np.ndarray, **options) -> np.ndarray:
    """Write a picture that says how it lies, and return it as it is meant to be seen."""
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    image = Image.fromarray(pixels)
    image.save(path, exif=exif, **options)
    image.getexif()[images.ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_reader_turns_a_picture_upright_once(name, orientation, tmp_path):
    path = tmp_path / "class" / name
    path.parent.mkdir()
    upright = turned(path, orientation, quarters(), **FORMATS[name]).transpose(2, 0, 1)
    assert upright.shape[1:] == ((16, 24) if orientation < 5 else (24, 16))
    labels = np.zeros(upright.shape[1:], np.uint8)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    read = {
        "read_image": data.read_image(path),
        "read_picture": pictures.read_picture(path).colours,
        "ImageFolder": data.ImageFolder(tmp_path)[0][0],
        "LabelledImages": data.LabelledImages([(path, tmp_path / "labels.png")], VOC)[0][0],
    }
    for reader, pixels in read.items():
        np.testing.assert_allclose(255 * pixels, upright, atol=1.01, err_msg=reader)
    grey = data.read_image(path, "L")[0]
    np.testing.assert_allclose(255 * grey, upright[0], atol=1.01)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_stacks_and_transparency_are_turned_as_pictures_are(orientation, tmp_path):
    labels = quarters()[..., 0] // 80
    upright = turned(tmp_path / "a.png", orientation, labels)
    np.testing.assert_array_equal(data.read_labels(tmp_path / "a.png", VOC), upright)
    turned(tmp_path / "a.tif", orientation, labels)
    np.testing.assert_array_equal(data.read_labels(tmp_path / "a.tif", VOC), upright)
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif"), upright[None])
    clear = np.concatenate([quarters(), quarters()[..., :1]], -1)
    for name in ("b.png", "b.tif", "b.webp"):
        options = {"lossless": True} if name.endswith("webp") else {}
        upright = turned(tmp_path / name, orientation, clear, **options)
        picture = pictures.read_picture(tmp_path / name)
        np.testing.assert_allclose(255 * picture.alpha, upright[..., 3], atol=1e-3)
        assert picture.colours.shape[1:] == picture.alpha.shape


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_exif_block_leaves_a_picture_as_it_lies(tmp_path):
    for block in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b"Exif\0\0"):
        Image.fromarray(quarters()).save(tmp_path / "a.jpg", exif=block)
        assert data.read_image(tmp_path / "a.jpg").shape == (3, 16, 24)


# --- formats ---

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("kind", ["EPS", "DDS", "JPEG2000", "TGA", "PCX", "ICO"])
def test_formats_that_are_none_of_ours_are_refused_whatever_they_are_called(
    kind, tmp_path, monkeypatch
):
    path = tmp_path / "photo.png"
    if kind == "EPS":
        path.write_bytes(EPS)
        starts = []
        monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *a, **k: starts.append(a))
    else:
        try:
            Image.fromarray(quarters()).save(path, kind)
        except (OSError, KeyError):
            pytest.skip(f"Pillow was built without {kind}")
    for read in (data.read_image, pictures.read_picture, read_stack,
                 lambda p: data.read_labels(p, VOC)):
        with pytest.raises(DataError, match=r"photo\.png' is not a whole image file"):
            read(path)
    assert kind != "EPS" or not starts


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, MemoryError, IndexError])
def test_whatever_pillow_raises_becomes_an_error_that_names_the_file(error, tmp_path, monkeypatch):
    Image.fromarray(quarters()).save(tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    for read in (data.read_image, pictures.read_picture, read_stack):
        with pytest.raises(DataError, match=r"a\.png' is not a whole image file: "):
            read(tmp_path / "a.png")


# --- bounds of images ---


def flat_png(width: int, height: int, bits: int) -> bytes:
    """A PNG file of zeros, grey of so many bits: a thousand times smaller than its pixels."""
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(
            ">I", zlib.crc32(kind + body))

    row = bytes(1 + (width * bits + 7) // 8)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">II5B", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_small_file_of_very_many_pixels_is_refused_before_it_is_unpacked(tmp_path):
    (tmp_path / "a.png").write_bytes(flat_png(10_000, 9_900, 8))
    (tmp_path / "b.png").write_bytes(flat_png(13_000, 13_000, 1))
    assert (tmp_path / "a.png").stat().st_size < 200_000
    for name in ("a.png", "b.png"):
        for read in (data.read_image, pictures.read_picture, read_stack,
                     lambda p: data.read_labels(p, VOC)):
            with Peak() as peak, pytest.raises(DataError, match=rf"{name}' is too large"):
                read(tmp_path / name)
            assert peak.bytes < 2**21


def test_labels_take_little_more_memory_than_they_have(tmp_path):
    (tmp_path / "a.png").write_bytes(flat_png(2000, 2000, 8))
    with Peak() as peak:
        labels = data.read_labels(tmp_path / "a.png", VOC)
    assert labels.nbytes == 32_000_000 and peak.bytes < 1.5 * labels.nbytes
    Image.fromarray(np.zeros((2000, 2000, 3), np.uint8)).save(tmp_path / "b.png")
    with Peak() as peak:
        data.read_labels(tmp_path / "b.png", VOC)
    assert peak.bytes < 4 * labels.nbytes


def pages_of(count: int) -> bytes:
    """A TIFF file of so many pages, all of which have the same pixel."""
    entries = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
               (273, 4, 1, 4), (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 1)]
    size = 2 + 12 * len(entries) + 4
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries)
    pages = [body + struct.pack("<I", 8 + (i + 1) * size if i + 1 < count else 0)
             for i in range(count)]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages)


def test_a_file_of_very_many_pages_is_refused_soon(tmp_path):
    (tmp_path / "a.tif").write_bytes(pages_of(5))
    assert read_stack(tmp_path / "a.tif").shape == (5, 1, 1)
    (tmp_path / "b.tif").write_bytes(pages_of(60_000))
    started = time.process_time()
    with pytest.raises(DataError, match=r"b\.tif' has more than 4096 pages"):
        read_stack(tmp_path / "b.tif")
    assert time.process_time() - started < 20


# --- MATLAB files ---

VDSR_LAYERS = {"weight": [np.ones((3, 3, 1, 2)), np.ones((3, 3, 2))],
               "bias": [np.zeros((2, 1)), np.zeros((1, 1))]}


def test_matlab_files_are_read_in_both_byte_orders_packed_and_plain(tmp_path):
    element = readers.matrix({"a": [np.arange(6.0).reshape(2, 3)], "b": np.ones((2, 1))}, "s")
    path = tmp_path / "a.mat"
    for content in (readers.HEAD + element, readers.packed(element)):
        path.write_bytes(content)
        found, names = read_matlab(path, ["s", "t"])
        assert names == ["s"] and list(found) == ["s"]
        np.testing.assert_array_equal(found["s"]["a"][0], np.arange(6).reshape(2, 3))
        np.testing.assert_array_equal(found["s"]["b"], [[1], [1]])
    # Big-endian: one double array, of one 16-bit integer, called x.
    body = (struct.pack(">II", 6, 8) + struct.pack(">II", 6, 0) + struct.pack(">IIii", 5, 8, 1, 1)
            + struct.pack(">HH", 1, 1) + b"x\0\0\0" + struct.pack(">HHhh", 2, 3, -7, 0))
    path.write_bytes(readers.HEAD[:126] + b"MI" + struct.pack(">II", 14, len(body)) + body)
    found, _ = read_matlab(path, ["x"])
    assert found["x"].dtype == np.float64 and found["x"].tolist() == [[-7]]


def plain_array(kind: int, stored: int, body: bytes, name: bytes = b"x") -> bytes:
    """An array of one number: its class, the type in which it is stored, and its bytes."""
    return readers.element(14, b"".join([
        readers.element(6, struct.pack("<II", kind, 0)),
        readers.element(5, struct.pack("<2i", 1, 1)),
        readers.element(1, name), readers.element(stored, body)]))


@pytest.mark.parametrize(("kind", "stored", "body", "value"), [
    (6, 3, struct.pack("<h", -7), -7.0),
    (7, 9, struct.pack("<d", 0.5), 0.5),
    (6, 9, struct.pack("<d", np.nan), np.nan),
    (8, 5, struct.pack("<i", 100), 100),
    (8, 5, struct.pack("<i", 300), None),  # int8
    (9, 9, struct.pack("<d", 1.5), None),  # uint8
    (7, 9, struct.pack("<d", 1e300), None),  # single
    (15, 12, struct.pack("<q", -1), None),  # uint64
])
def test_numbers_of_a_matlab_array_come_out_as_they_are_or_not_at_all(
    kind, stored, body, value, tmp_path
):
    path = tmp_path / "a.mat"
    path.write_bytes(readers.HEAD + plain_array(kind, stored, body))
    if value is None:
        with pytest.raises(DataError, match="numbers that do not fit into it"):
            read_matlab(path, ["x"])
    else:
        np.testing.assert_array_equal(read_matlab(path, ["x"])[0]["x"], [[value]])


def test_a_string_of_matlabs_among_the_variables_is_passed_over(tmp_path):
    """An opaque object has no sizes: its name follows the flags."""
    string = readers.element(14, b"".join([
        readers.element(6, struct.pack("<II", 17, 0)), readers.element(1, b"label"),
        readers.element(1, b"MCOS"), readers.element(1, b"string")]))
    path = tmp_path / "a.mat"
    for made in (readers.HEAD + string, readers.packed(string)):
        path.write_bytes(made + plain_array(6, 2, b"\x05"))
        found, names = read_matlab(path, ["x", "label"])
        assert names == ["label", "x"]
        assert found["label"] == Other("opaque object") and found["x"].item() == 5


def test_what_scipy_writes_is_read_as_scipy_reads_it(tmp_path):
    io_of = pytest.importorskip("scipy.io")
    cells = np.empty((1, 2), object)
    cells[0, :] = [np.ones((2, 2), np.float32), np.arange(3.0)]
    values = {"d": np.random.default_rng(0).standard_normal((2, 3, 4)), "u": np.uint8([[1, 2]]),
              "i": np.int64([[2**60]]), "e": np.zeros((0, 3)), "c": cells, "text": "words",
              "z": np.array([[1j]]), "s": {"f": np.float32([[1.5]])}}
    for packed in (False, True):
        io_of.savemat(tmp_path / "a.mat", values, do_compression=packed)
        found, names = read_matlab(tmp_path / "a.mat", values)
        assert sorted(names) == sorted(values)
        for name in ("d", "u", "i", "e"):
            theirs = io_of.loadmat(tmp_path / "a.mat")[name]
            assert found[name].dtype == theirs.dtype
            np.testing.assert_array_equal(found[name], theirs)
        assert found["text"] == Other("text") and found["z"] == Other("complex numbers")
        np.testing.assert_array_equal(found["c"][1], [[0, 1, 2]])
        assert found["s"]["f"].item() == 1.5


def test_every_flipped_bit_of_a_matlab_file_is_refused_or_changes_numbers_only(tmp_path):
    whole = readers.HEAD + readers.matrix(VDSR_LAYERS, "model")
    path, refused = tmp_path / "a.mat", 0
    for place in range(128, 500, 3):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            try:
                assert read_released(path).convolutions[0].weight.shape == (2, 1, 3, 3)
            except DataError:
                refused += 1
    assert refused > 200


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="neither MINIDL_DATA nor shared/data has them")
@pytest.mark.parametrize(("name", "place", "value"), [
    ("srcnn_9-5-5_ImageNet__x3.mat", 0x91, None), ("srcnn_9-5-5_ImageNet__x3.mat", 0xC1, 68),
    ("srcnn_9-1-5_91_images__x3.mat", 0x91, None), ("srcnn_9-1-5_91_images__x3.mat", 0xC1, 68),
    ("VDSR_Official.mat", 0xD64, 127),
])
def test_the_authors_files_with_a_byte_changed_are_refused(name, place, value, tmp_path):
    """SciPy's reader ended the program on these."""
    content = bytearray((WEIGHTS / name).read_bytes())
    content[place] = content[place] ^ 8 if value is None else value
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mat"):
        read_released(tmp_path / "a.mat")


def test_matlab_bombs_are_refused_within_bounds(tmp_path):
    deep = readers.matrix(np.ones((1, 1)))
    head = (readers.element(6, struct.pack("<II", 1, 0))
            + readers.element(5, struct.pack("<2i", 1, 1)))
    for level in reversed(range(2000)):
        name = readers.element(1, b"" if level else b"model")
        deep = readers.element(14, head + name + deep)
    wide = readers.matrix({"weight": [np.ones((3, 3, 1, 300))] * 20, "bias": [np.ones(300)] * 20},
                          "model")
    zeros = readers.element(14, readers.matrix(np.zeros((2, 2)), "model")[8:] + bytes(2**26))
    many = readers.element(14, b"".join([
        readers.element(6, struct.pack("<II", 1, 0)),
        readers.element(5, struct.pack("<2i", 1, 2**30)),
        readers.element(1, b"model")]))
    empty = readers.element(14, b"".join([
        readers.element(6, struct.pack("<II", 6, 0)),
        readers.element(5, struct.pack("<4i", 0, *[2**31 - 1] * 3)),
        readers.element(1, b"model"), readers.element(9, b"")]))
    path = tmp_path / "a.mat"
    for content, reason in ((readers.packed(deep), "nested deeper"),
                            (readers.packed(wide), "shape"),
                            (readers.packed(zeros), "unpacks to more"),
                            (readers.packed(many), "cells"), (readers.HEAD + empty, "sizes"),
                            (readers.packed(b""), "ends within"),
                            (readers.packed(wide)[:-20], "fewer are there")):
        path.write_bytes(content)
        with Peak() as peak, pytest.raises(DataError, match=rf"a\.mat'(.|\n)*{reason}"):
            read_released(path)
        assert peak.bytes < 100 * 2**20


# --- weights ---


def test_a_small_file_cannot_ask_for_a_large_network(tmp_path):
    path = tmp_path / "a.safetensors"
    wide = {f"convolutions.{i}.weight": np.zeros((3000, 1, 1, 1), np.float32) for i in range(20)}
    upper = {f"deconvolutions.{i}.weight": np.zeros((1, 1, 1, 1), np.float32) for i in range(20)}
    for state in (wide, wide | upper):
        save_arrays(path, state)
        with Peak() as peak, pytest.raises(CheckpointError, match="such a network has"):
            load_model(path)
        assert peak.bytes < 2**21
    save_arrays(path, {"convolutions.0.weight": np.zeros((), np.float32)})
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load_model(path)


@pytest.mark.parametrize("model", [SRCNN("9-1-5"), VDSR(3, 4), REDNet(4, 3)])
@pytest.mark.parametrize("container", CONTAINERS)
def test_networks_of_restoration_are_read_from_pytorchs_files(model, container, tmp_path):
    state = {name: saved(np.asarray(value)) for name, value in model.state_dict().items()}
    for i, held in enumerate((state, {"epoch": 3, "state_dict": state},
                              {"model": {f"module.{name}": v for name, v in state.items()}})):
        path = tmp_path / f"{i}.pth"
        path.write_bytes(CONTAINERS[container](held))
        loaded = load_model(path)
        assert type(loaded) is type(model)
        for name, value in loaded.state_dict().items():
            np.testing.assert_array_equal(value, model.state_dict()[name])


def test_weights_are_found_in_checkpoints_under_prefixes_and_without_counters(tmp_path):
    model, other = (Sequential(Conv2d(1, 2, 3), BatchNorm2d(2)) for _ in range(2))
    state = {name: saved(np.asarray(value)) for name, value in model.state_dict().items()
             if not name.endswith("num_batches_tracked")}
    held = {"epoch": 1, "optimizer": {"state": {}}, "state_dict": {
        f"module.{name}": value for name, value in state.items()}}
    (tmp_path / "a.pth").write_bytes(CONTAINERS["zip"](held))
    report = load_weights(other, tmp_path / "a.pth", strict=True)
    assert not report.missing_keys and not report.unexpected_keys
    np.testing.assert_array_equal(other[0].weight.data, model[0].weight.data)

    class Wrapped(Sequential):
        """A model whose own names begin with module."""

        def __init__(self) -> None:
            super().__init__()
            self.module = Conv2d(1, 2, 3)

    wrapped = Wrapped()
    names = {f"module.{n}": saved(np.asarray(v)) for n, v in model[0].state_dict().items()}
    (tmp_path / "b.pth").write_bytes(CONTAINERS["zip"](names))
    load_weights(wrapped, tmp_path / "b.pth")
    np.testing.assert_array_equal(wrapped.module.weight.data, model[0].weight.data)


# --- IDX ---


def test_a_small_packed_file_of_many_numbers_is_refused_before_they_are_unpacked(tmp_path):
    path = tmp_path / "a.gz"
    with gzip.open(path, "wb") as file:
        file.write(bytes([0, 0, 0x0E, 1]) + struct.pack(">I", 2**23))
        for _ in range(64):
            file.write(bytes(2**20))
    assert path.stat().st_size < 100_000
    with Peak() as peak, pytest.raises(DataError, match=r"a\.gz' ends within the numbers"):
        data.read_idx(path)
    assert peak.bytes < 2**21


def test_numbers_of_another_byte_order_take_no_second_memory(tmp_path):
    data.write_idx(tmp_path / "a.idx", np.arange(10**6, dtype=np.float64))
    with Peak() as peak:
        array = data.read_idx(tmp_path / "a.idx")
    assert array[-1] == 10**6 - 1 and array.dtype == np.float64 and array.flags.writeable
    assert peak.bytes < 1.6 * array.nbytes


# --- the fuzzer ---


@pytest.mark.skipif(sys.platform != "linux", reason="it reads memory from /proc")
@pytest.mark.parametrize("reader", readers.READERS)
@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_changed_files_are_read_or_refused_within_bounds(reader, count):
    result = run.fuzz(reader, seed=0, count=count)
    assert not result.findings
    assert result.mutations == result.refused + result.read == count
    assert result.refused > count // 20 and result.memory < run.CAP


@pytest.mark.parametrize("reader", readers.READERS)
def test_the_fuzzers_seeds_are_whole_files(reader, tmp_path):
    seeds, read = readers.READERS[reader]
    for i, seed in enumerate(seeds()):
        if reader == "json" and seed.data.startswith(b"[["):
            continue  # a bomb
        path = tmp_path / f"{i}{seed.ending}"
        path.write_bytes(seed.wrap(seed.data))
        read(path)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads memory from /proc")
@pytest.mark.parametrize(("fault", "words"), [
    ("crash", "by -6 its process ended"), ("hang", "it hangs"),
    ("leak", "leaked ValueError: planted"), ("memory", "leaked MemoryError"),
])
def test_the_fuzzer_finds_what_is_planted(fault, words):
    result = run.fuzz(fault, seed=0, count=2, cap=256, patience=2)
    assert result.mutations == len(result.findings) == 2
    assert all(words in finding for finding in result.findings)


def test_the_fuzzers_changes_can_be_made_again_and_the_table_has_all_readers():
    seeds = readers.READERS["idx"].seeds()
    made = [run.changed(seeds, "idx", 3, n) for n in range(50)]
    assert made == [run.changed(seeds, "idx", 3, n) for n in range(50)] and len(set(made)) > 40
    assert made != [run.changed(seeds, "idx", 4, n) for n in range(50)]
    rows = run.table([run.Result("idx", 10, 7, 2, 5, 1.0, ["3: leaked"])]).splitlines()
    assert rows[1].split() == ["idx", "10", "7", "2", "1", "5", "MiB", "1"]
