"""Data: readers that trust no file, loaders that resume, transforms that repeat."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import struct
import sys
import threading
import time
import tracemalloc
import warnings
import zlib
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import minidl
from minidl import data
from minidl.data import transforms
from minidl.data.readers import mnist as mnist_files
from minidl.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    DtypeError,
    MinidlError,
    ShapeError,
)

# --- IDX ---


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ),
    st.sampled_from(["a.idx", "a.gz"]),
)
def test_idx_files_keep_every_array(tmp_path_factory, array, name):
    path = tmp_path_factory.mktemp("idx") / name
    data.write_idx(path, array)
    read = data.read_idx(path)
    assert read.dtype == array.dtype and read.shape == array.shape
    assert read.tobytes() == array.tobytes()


def header(code: int, *sizes: int) -> bytes:
    return bytes([0, 0, code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends within the header"),
        (b"\0\0", "ends within the header"),
        (b"\0\0\x08\x03\0\0", "ends within the sizes"),
        (header(0x08, 2, 3) + b"12345", "ends within the numbers"),
        (header(0x08, 2, 3) + b"1234567", "longer than its header says"),
        (header(0x0A, 2) + b"12", "unknown type of numbers 0x0a"),
        (b"\x89PNG" + b"x" * 20, "not an IDX file"),
        (gzip.compress(b"abcd", mtime=0), "begins with 61 62"),
        (header(0x0E, 2**31, 2**31), "claims to hold"),
        (header(0x08, 2**31 + 1), "claims to hold"),
        (header(0x08, *[1] * 70) + b"1", "NumPy cannot hold"),
        (header(0x08, 0, *[2**32 - 1] * 3), "NumPy cannot hold"),
    ],
)
def test_damaged_idx_files_are_refused_by_name_and_reason(tmp_path, content, reason):
    path = tmp_path / "file.idx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"file\.idx") as error:
        data.read_idx(path)
    assert reason in str(error.value)


def test_every_truncation_of_a_compressed_file_is_refused(tmp_path):
    path = tmp_path / "file.gz"
    data.write_idx(path, np.arange(50, dtype=np.uint8))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"file\.gz"):
            data.read_idx(path)


def test_a_changed_byte_in_a_compressed_file_is_found_by_its_checksum(tmp_path):
    path = tmp_path / "file.gz"
    data.write_idx(path, np.arange(50, dtype=np.uint8))
    whole = bytearray(path.read_bytes())
    whole[-6] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"file\.gz.*damaged"):
        data.read_idx(path)


def peak_bytes_of_refusing(path, reason: str) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=reason):
            data.read_idx(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_small_file_cannot_unpack_to_a_large_one(tmp_path):
    """The header says ten bytes; 64 MiB of zeros follow and are never unpacked."""
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        file.write(header(0x08, 10))
        for _ in range(64):
            file.write(bytes(2**20))
    assert peak_bytes_of_refusing(path, "longer than its header") < 2**22


@pytest.mark.parametrize("name", ["claim.idx", "claim.gz"])
def test_a_short_file_that_claims_much_takes_little_memory(tmp_path, name):
    path = tmp_path / name
    content = header(0x08, 2**31) + b"abc"
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert peak_bytes_of_refusing(path, "ends within the numbers") < 2**26


def test_a_folder_is_no_idx_file(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        data.read_idx(tmp_path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.idx"):
        data.read_idx(tmp_path / "nothing.idx")


def test_types_that_idx_lacks_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="complex"):
        data.write_idx(tmp_path / "a", np.zeros(2, complex))
    too_large = np.broadcast_to(np.uint8(0), (2**31 + 1,))
    with pytest.raises(ArgumentError, match="at most"):
        data.write_idx(tmp_path / "a", too_large)
    assert not (tmp_path / "a").exists()


def test_an_array_that_was_read_can_be_written_to(tmp_path):
    data.write_idx(tmp_path / "a", np.zeros(3, np.uint8))
    array = data.read_idx(tmp_path / "a")
    array[0] = 7
    assert array.tolist() == [7, 0, 0]


# --- MNIST, digits ---


def fake_mnist(root, images, labels):
    data.write_idx(root / "t10k-images-idx3-ubyte.gz", images)
    data.write_idx(root / "t10k-labels-idx1-ubyte", labels)


def test_mnist_reads_plain_and_compressed_files(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    assert not data.has_mnist(tmp_path, train=False)
    fake_mnist(tmp_path, images, np.arange(5, dtype=np.uint8))
    assert data.has_mnist(tmp_path, train=False) and not data.has_mnist(tmp_path)
    x, y = data.mnist(tmp_path, train=False).arrays
    assert (x.shape, x.dtype, y.dtype) == ((5, 1, 28, 28), np.float32, np.int64)
    np.testing.assert_array_equal((x[:, 0] * 255).round(), images)


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        (np.zeros((3, 28, 27), np.uint8), np.zeros(3, np.uint8), "not images"),
        (np.zeros((3, 28, 28), np.uint8), np.zeros(4, np.uint8), "belong together"),
        (np.zeros((3, 28, 28), np.uint8), np.full(3, 11, np.uint8), "no digit"),
    ],
)
def test_files_that_are_not_mnist_are_refused(tmp_path, images, labels, reason):
    fake_mnist(tmp_path, images, labels)
    with pytest.raises(DataError, match=reason):
        data.mnist(tmp_path, train=False)


@pytest.mark.parametrize(
    ("folder", "images", "labels"),
    [
        ("", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
        ("MNIST/raw", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"),
        ("raw", "t10k-images.idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
        ("EMNIST/raw", "emnist-digits-test-images-idx3-ubyte",
         "emnist-digits-test-labels-idx1-ubyte"),
        ("gzip", "emnist-mnist-test-images-idx3-ubyte.gz",
         "emnist-mnist-test-labels-idx1-ubyte.gz"),
    ],
)
def test_mnist_is_found_under_the_names_that_others_give_it(tmp_path, folder, images, labels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    data.write_idx(tmp_path / folder / images, pixels)
    assert not data.has_mnist(tmp_path, train=False)
    data.write_idx(tmp_path / folder / labels, np.arange(5, dtype=np.uint8))
    assert data.has_mnist(tmp_path, train=False)
    x, y = data.mnist(tmp_path, train=False).arrays
    upright = pixels.swapaxes(1, 2) if images.startswith("emnist") else pixels
    np.testing.assert_array_equal((x[:, 0] * 255).round(), upright)
    assert y.tolist() == [0, 1, 2, 3, 4] and x.flags.c_contiguous


# As in table II of the source, and its mapping files: ASCII codes of the classes.
EMNIST_LABELS = {
    "byclass": (62, {0: "0", 9: "9", 10: "A", 35: "Z", 36: "a", 61: "z"}),
    "bymerge": (47, {9: "9", 10: "A", 35: "Z", 36: "a", 37: "b", 38: "d", 42: "h", 46: "t"}),
    "balanced": (47, {0: "0", 12: "C", 39: "e", 43: "n", 44: "q", 45: "r"}),
    "letters": (26, {0: "A", 25: "Z"}),
    "digits": (10, {0: "0", 9: "9"}),
    "mnist": (10, {7: "7"}),
}


@pytest.mark.parametrize("split", EMNIST_LABELS)
@pytest.mark.parametrize("train", [True, False])
def test_emnist_is_turned_upright_and_its_labels_count_from_0(tmp_path, split, train):
    count, known = EMNIST_LABELS[split]
    assert len(data.EMNIST_CLASSES[split]) == count
    assert all(data.EMNIST_CLASSES[split][label] == sign for label, sign in known.items())
    stored = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
    first = 1 if split == "letters" else 0
    name = f"emnist-{split}-{'train' if train else 'test'}"
    (tmp_path / "gzip").mkdir()
    data.write_idx(tmp_path / "gzip" / f"{name}-images-idx3-ubyte.gz", stored)
    labels = tmp_path / "gzip" / f"{name}-labels-idx1-ubyte.gz"
    data.write_idx(labels, np.arange(first, first + count, dtype=np.uint8))
    x, y = data.emnist(tmp_path, split, train).arrays
    np.testing.assert_array_equal((x[:, 0] * 255).round(), stored.transpose(0, 2, 1))
    assert (y == np.arange(count)).all() and (x.dtype, y.dtype) == (np.float32, np.int64)
    with pytest.raises(DataError, match=f"does not hold emnist-{split}"):
        data.emnist(tmp_path, split, not train)
    data.write_idx(labels, np.full(count, first + count, np.uint8))
    with pytest.raises(DataError, match=f"those of '{split}' are {first} to {first + count - 1}"):
        data.emnist(tmp_path, split, train)


def test_emnist_has_splits_of_these_names_only(tmp_path):
    with pytest.raises(ArgumentError, match="byclass, bymerge, balanced, letters"):
        data.emnist(tmp_path, "train")
    small, name = np.zeros((1, 9, 9), np.uint8), "emnist-letters-test"
    data.write_idx(tmp_path / f"{name}-images-idx3-ubyte", small)
    data.write_idx(tmp_path / f"{name}-labels-idx1-ubyte", small[0, 0, :1])
    with pytest.raises(DataError, match=r"emnist: .* not images"):
        data.emnist(tmp_path, "letters", False)


def test_mnists_parts_are_no_names(tmp_path):
    with pytest.raises(ArgumentError, match=r"received 'test'(.|\n)*train=False"):
        data.mnist(tmp_path, "test")


@pytest.mark.parametrize("name", ["plain.gz", "packed.idx"])
def test_whether_a_file_is_compressed_its_bytes_say(tmp_path, name):
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    other = tmp_path / {"plain.gz": "a.idx", "packed.idx": "a.gz"}[name]
    data.write_idx(other, array)
    other.rename(tmp_path / name)
    np.testing.assert_array_equal(data.read_idx(tmp_path / name), array)


def test_missing_mnist_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="download=True"):
        data.mnist(tmp_path)


def fetch_with(monkeypatch, download) -> None:
    """Let pooch verify and move files as it does, but take the bytes from ``download(url)``."""
    pooch = pytest.importorskip("pooch", reason="downloads are pooch's")

    def choose(url, progressbar=False):
        def save(url, output_file, pooch):
            with open(output_file, "wb") as file:
                file.write(download(url))

        return save

    monkeypatch.setattr(pooch.core, "choose_downloader", choose)


def test_a_download_is_verified_and_read(tmp_path, monkeypatch):
    fake_mnist(tmp_path, np.ones((2, 28, 28), np.uint8), np.ones(2, np.uint8))
    images = tmp_path / "t10k-images-idx3-ubyte.gz"
    content = images.read_bytes()
    images.unlink()
    asked = []
    fetch_with(monkeypatch, lambda url: asked.append(url) or content)
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz could not be fetched"):
        data.mnist(tmp_path, train=False, download=True)
    assert not images.exists()  # what fails its checksum is not kept
    monkeypatch.setitem(mnist_files.MD5, images.name, hashlib.md5(content).hexdigest())
    assert len(data.mnist(tmp_path, train=False, download=True)) == 2
    assert set(asked) == {mnist_files.SOURCE + images.name}


def test_a_failed_connection_is_a_data_error(tmp_path, monkeypatch):
    def fail(url):
        raise ConnectionError("no route")

    fetch_with(monkeypatch, fail)
    with pytest.raises(DataError, match="no route"):
        data.mnist(tmp_path, download=True)


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("pooch", lambda folder: data.mnist(folder, download=True)),
        ("sklearn.datasets", lambda folder: data.digits()),
    ],
)
def test_a_missing_extra_is_named(tmp_path, monkeypatch, module, call):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MinidlError, match=r"minidl\[data\]"):
        call(tmp_path)


@pytest.mark.skipif("MINIDL_MNIST" not in os.environ, reason="MINIDL_MNIST names no folder")
def test_the_real_mnist_has_ten_thousand_test_digits():
    images, labels = data.mnist(os.environ["MINIDL_MNIST"], train=False).arrays
    assert images.shape == (10_000, 1, 28, 28)
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_digits_are_scikit_learns():
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    images, labels = data.digits().arrays
    assert (images.shape, images.dtype, labels.dtype) == ((1797, 1, 8, 8), np.float32, np.int64)
    assert images.min() == 0 and images.max() == 1 and set(labels) == set(range(10))


# --- image files ---


def test_images_are_read_as_colour_or_grey(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = data.read_image(tmp_path / "a.png")
    assert image.shape == (3, 4, 6) and image.dtype == np.float32
    np.testing.assert_array_equal((image * 255).round(), pixels.transpose(2, 0, 1))
    assert data.read_image(tmp_path / "a.png", mode="L").shape == (1, 4, 6)


def test_damaged_images_are_refused(tmp_path):
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:40], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.png"):
            data.read_image(path)
    with pytest.raises(DataError, match=r"b\.png"):
        data.read_image(tmp_path / "b.png")


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG file's header, and none of its pixels."""
    body = b"IHDR" + struct.pack(">II5B", width, height, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body
    return start + struct.pack(">I", zlib.crc32(body)) + struct.pack(">I", 9) + b"IDAT" + bytes(9)


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((300, 200), {"max_pixels": 59_999}),
        ((14_000, 9_000), {}),  # where Pillow warns
        ((60_000, 50_000), {}),  # where Pillow refuses
    ],
)
def test_images_too_large_are_refused_before_they_are_unpacked(tmp_path, size, settings):
    path = tmp_path / "large.png"
    path.write_bytes(png_that_claims(*size))
    with pytest.raises(DataError, match=r"large\.png.* is too large"):
        data.read_image(path, **settings)


def test_the_limit_of_pixels_may_be_raised_without_a_warning(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png_that_claims(14_000, 9_000))
    with pytest.raises(DataError, match="not a whole image"):  # so unpacking was tried
        data.read_image(path, max_pixels=200_000_000)


def test_threads_that_read_images_leave_the_warnings_filters_alone(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (2, 2)).save(path)
    before, interval = warnings.filters, sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: [data.read_image(path) for _ in range(60)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters is before


def test_sixteen_bits_of_grey_are_kept(tmp_path):
    Image.fromarray(np.array([[0, 300, 65535]], np.uint16)).save(tmp_path / "a.png")
    for mode, channels in (("L", 1), ("RGB", 3)):
        image = data.read_image(tmp_path / "a.png", mode)
        assert image.dtype == np.float32 and image.shape == (channels, 1, 3)
        np.testing.assert_allclose(image[-1, 0], [0, 300 / 65535, 1], rtol=1e-6)


def test_an_image_of_unknown_range_is_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif.*unknown range"):
        data.read_image(tmp_path / "a.tif")
    with pytest.raises(ArgumentError, match="CMYK"):
        data.read_image(tmp_path / "a.tif", mode="CMYK")


def test_transparency_of_a_palette_is_left_out_without_a_warning(tmp_path):
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "a.png", transparency=bytes([0, 9]))
    assert data.read_image(tmp_path / "a.png")[:, 0, 0].tolist() == [1, 0, 0]


def test_an_image_folder_has_a_class_per_folder(tmp_path):
    for name, count in (("dog", 1), ("cat", 2)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.new("RGB", (3, 2), "red").save(tmp_path / name / f"{i}.png")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"no image")
    folder = data.ImageFolder(tmp_path, transform=transforms.CenterCrop(2))
    assert folder.classes == ["cat", "dog"] and len(folder) == 3
    image, label = folder[2]
    assert image.shape == (3, 2, 2) and label == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        data.ImageFolder(tmp_path)
    with pytest.raises(DataError, match="no folders"):
        data.ImageFolder(tmp_path / "empty")
    with pytest.raises(DataError, match="no folder"):
        data.ImageFolder(tmp_path / "nowhere")


# --- datasets ---


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ShapeError, match="one length"):
        data.ArrayDataset(np.zeros(3), np.zeros(4))


def test_random_split_is_disjoint_and_complete():
    dataset = data.ArrayDataset(np.arange(10))
    for lengths, sizes in (
        ([7, 3], [7, 3]),
        (np.array([7, 3]), [7, 3]),
        ([0.75, 0.25], [8, 2]),
        ([1 / 3] * 3, [4, 3, 3]),
    ):
        parts = data.random_split(dataset, lengths, seed=1)
        assert [len(p) for p in parts] == sizes
        assert sorted(int(e[0]) for p in parts for e in p) == list(range(10))
    for lengths in ([7, 4], [11, -1], [7.9, 3.1], [np.int64(1), np.int64(0)]):
        with pytest.raises(ArgumentError, match="add up"):
            data.random_split(dataset, lengths)


def test_a_fraction_that_rounds_down_in_floats_still_gets_its_share():
    parts = data.random_split(data.ArrayDataset(np.arange(100)), [0.71, 0.29])
    assert [len(p) for p in parts] == [71, 29]


def test_shuffled_rounds_take_all_before_any_comes_again():
    dataset = data.ArrayDataset(np.arange(10))
    order = data.shuffled_rounds(dataset, 25, seed=1).indices
    assert [sorted(order[k : k + 10]) for k in (0, 10)] == [list(range(10))] * 2
    assert len(set(order[20:])) == 5
    assert order[:10].tolist() != order[10:20].tolist()
    assert data.shuffled_rounds(dataset, 25, seed=1).indices.tolist() == order.tolist()
    assert len(data.shuffled_rounds(dataset, 0)) == 0
    with pytest.raises(ArgumentError, match="empty"):
        data.shuffled_rounds(data.Subset(dataset, np.arange(0)), 1)


def test_random_split_follows_its_seed():
    first, again, other = (
        data.random_split(data.ArrayDataset(np.arange(50)), [25, 25], seed)[0].indices.tolist()
        for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("indices", "reason"),
    [
        ([10], "no example 10"),
        ([-1], "no example -1"),
        ([True] * 10, "flatnonzero"),
        ([0.5], "integers"),
        ([[1]], "integers"),
    ],
)
def test_a_subset_refuses_what_is_no_index(indices, reason):
    with pytest.raises(ArgumentError, match=reason):
        data.Subset(data.ArrayDataset(np.arange(10)), indices)


def test_a_dataset_gives_its_examples_by_number():
    dataset = data.ArrayDataset(np.arange(4.0), np.arange(4), transform=lambda x, rng: -x)
    assert dataset[1] == dataset[-3] == (-1.0, 1)
    assert data.Subset(dataset, [3, 1])[0] == (-3.0, 3)
    with pytest.raises(IndexError, match="no example 4 of 4"):
        dataset[4]
    with pytest.raises(ShapeError, match=r"shape \(N, \.\.\.\)"):
        data.ArrayDataset()


class Squares(data.Dataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, i):
        return i**2, 0.5


def test_a_dataset_may_write_getitem_instead_of_example():
    (x, y), *_ = data.DataLoader(Squares(), 3)
    assert x.data.tolist() == [0, 1, 4] and x.dtype == np.int64
    assert y.data.tolist() == [0.5] * 3 and y.dtype == np.float32
    (x, _), *_ = data.DataLoader(data.Subset(Squares(), [2]))
    assert x.data.tolist() == [4]


def test_a_dataset_without_examples_says_what_it_needs():
    class Bare(data.Dataset):
        def __len__(self):
            return 1

    with pytest.raises(NotImplementedError, match=r"Bare: a Dataset needs a method example"):
        Bare()[0]


# --- the loader ---


class Noisy(data.Dataset):
    """Its examples take unequal times, so that threads finish out of order."""

    def __init__(self, n: int, delay: float = 0.0):
        self.n, self.delay = n, delay
        self.transform = transforms.GaussianNoise(1.0)

    def __len__(self) -> int:
        return self.n

    def example(self, i):
        time.sleep(self.delay * ((i * 7) % 3))
        return np.full(2, float(i)), i


def batches(loader) -> list[list[bytes]]:
    return [[part.data.tobytes() for part in batch] for batch in loader]


def test_an_epoch_holds_every_example_once_in_a_new_order():
    loader = data.DataLoader(data.ArrayDataset(np.arange(10)), 3, shuffle=True, seed=4)
    first, second = ([int(v) for (b,) in loader for v in b.data] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert len(loader) == 4 and loader.epoch == 2


def test_the_last_batch_may_be_dropped():
    loader = data.DataLoader(data.ArrayDataset(np.arange(10)), 4, drop_last=True)
    assert [b.shape for (b,) in loader] == [(4,), (4,)] and len(loader) == 2


def test_the_order_is_that_of_seed_and_epoch():
    loader = data.DataLoader(data.ArrayDataset(np.arange(10)), 10, shuffle=True, seed=4)
    for epoch in range(2):
        ((batch,),) = loader
        expected = np.random.default_rng([4, epoch]).permutation(10)
        np.testing.assert_array_equal(batch.data, expected)


class Counted(np.ndarray):
    """Counts how often it is indexed."""

    reads = 0

    def __getitem__(self, key):
        Counted.reads += 1
        return np.asarray(self)[key]


def test_plain_arrays_are_batched_by_one_index_each():
    images = np.arange(24, dtype=np.float32).reshape(12, 2)
    dataset = data.ArrayDataset(images, np.arange(12))
    dataset.arrays = tuple(a.view(Counted) for a in dataset.arrays)
    (part,) = data.random_split(dataset, [12])
    for source, rows in (
        (dataset, np.arange(12)),
        (data.Subset(part, [5, 2]), part.indices[[5, 2]]),
    ):
        Counted.reads = 0
        ((x, y),) = data.DataLoader(source, 12)
        assert Counted.reads == 2
        np.testing.assert_array_equal(x.data, images[rows])
        assert (x.dtype, y.dtype, y.data.tolist()) == (np.float32, np.int64, rows.tolist())


def test_a_subclass_of_array_dataset_keeps_its_own_examples():
    class Negative(data.ArrayDataset):
        def example(self, i):
            return (-self.arrays[0][i],)

    ((x,),) = data.DataLoader(Negative(np.arange(3)), 3)
    assert x.data.tolist() == [0, -1, -2]


def test_examples_of_different_shapes_are_refused_with_their_shapes():
    class Ragged(Squares):
        def __getitem__(self, i):
            return np.zeros(i + 1), i

    with pytest.raises(ShapeError, match=r"part 0 .*\n.*\(1,\), \(2,\)"):
        batches(data.DataLoader(Ragged(), 2))


def test_collate_makes_the_batch():
    loader = data.DataLoader(data.ArrayDataset(np.arange(5)), 2, collate=len)
    assert list(loader) == [2, 2, 1]


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (2, 3)])
def test_threads_prepare_as_many_batches_ahead_as_allowed_and_no_more(workers, prefetch):
    started, ahead = [], workers * prefetch

    class Watched(Noisy):
        def example(self, i):
            started.append(i)
            return super().example(i)

    handed_out = iter(data.DataLoader(Watched(30), 1, workers=workers, prefetch=prefetch))
    for k in range(5):
        next(handed_out)
        deadline = time.perf_counter() + 5
        while len(started) < k + 1 + ahead and time.perf_counter() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)  # time enough to go too far
        assert len(started) == k + 1 + ahead
    handed_out.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(workers):
    alone = data.DataLoader(Noisy(12), 4, shuffle=True, seed=2)
    threaded = data.DataLoader(Noisy(12, 0.002), 4, shuffle=True, seed=2, workers=workers)
    for _ in range(2):
        assert batches(alone) == batches(threaded)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_a_loaded_position_continues_in_the_middle_of_an_epoch(workers, stop):
    def loader():
        return data.DataLoader(Noisy(11), 4, shuffle=True, seed=5, workers=workers)

    whole = loader()
    expected = batches(whole) + batches(whole)

    first = loader()
    seen = batches(first)
    handed_out = iter(first)
    for _ in range(stop):
        seen.append([part.data.tobytes() for part in next(handed_out)])
    position = first.state_dict()
    handed_out.close()

    second = loader()
    second.load_state_dict(json.loads(json.dumps(position)))
    assert position == {"epoch": 1, "position": stop, "seed": 5}
    rest = batches(second) if stop < 3 else []
    assert seen + rest == expected
    assert batches(second) == batches(whole)  # the epoch after it


def test_what_a_transform_draws_depends_on_seed_epoch_and_example():
    def noise(seed: int, epoch: int) -> np.ndarray:
        loader = data.DataLoader(Noisy(3), 3, seed=seed)
        loader.load_state_dict({"epoch": epoch, "position": 0, "seed": seed})
        ((x, i),) = loader
        return x.data - i.data[:, None]

    drawn = np.concatenate([noise(0, 0), noise(0, 1), noise(1, 0)])
    assert len(np.unique(drawn[:, 0])) == 9
    expected = [np.random.default_rng([0, 1, i]).standard_normal(2) for i in range(3)]
    np.testing.assert_allclose(noise(0, 1), expected, rtol=1e-9)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loop_that_was_left_starts_its_epoch_anew(workers):
    loader = data.DataLoader(Noisy(11), 4, shuffle=True, workers=workers)
    expected = batches(data.DataLoader(Noisy(11), 4, shuffle=True))
    for _ in loader:
        break
    assert batches(loader) == expected and loader.epoch == 1


def test_leaving_a_loop_early_leaves_no_thread_behind():
    before = threading.active_count()
    loader = data.DataLoader(Noisy(100, 0.001), 2, workers=3)
    for _ in loader:
        break
    assert threading.active_count() == before
    assert len(batches(loader)) == 50
    with pytest.raises(ZeroDivisionError):
        for _ in loader:
            _ = 1 / 0
    assert threading.active_count() == before


def test_leaving_a_loop_early_drops_the_batches_that_wait():
    started = []

    class Slow(Noisy):
        def example(self, i):
            started.append(i)
            time.sleep(0.01)
            return super().example(i)

    for _ in data.DataLoader(Slow(40), 1, workers=1, prefetch=39):
        break
    assert len(started) < 20


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_dataset_reaches_the_loop(workers):
    class Broken(Noisy):
        def example(self, i):
            if i == 5:
                raise DataError("example 5 is broken")
            return super().example(i)

    before, seen = threading.active_count(), 0
    with pytest.raises(DataError, match="example 5"):
        for _ in data.DataLoader(Broken(8), 2, workers=workers):
            seen += 1
    assert seen == 2  # the batches before it have been handed out
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ({"epoch": 0, "position": 9, "seed": 0}, "batch 9"),
        ({"epoch": -1, "position": 0, "seed": 0}, "epoch -1"),
        ({"epoch": 0, "position": 0, "seed": -1}, "seed is -1"),
        ({"epoch": 0}, "not a position"),
        ({"epoch": None, "position": 0, "seed": 0}, "not a position"),
    ],
)
def test_positions_that_cannot_be_are_refused(position, reason):
    loader = data.DataLoader(Noisy(8), 2)
    with pytest.raises(CheckpointError, match=reason):
        loader.load_state_dict(position)
    assert loader.state_dict() == {"epoch": 0, "position": 0, "seed": 0}


def test_the_position_of_an_empty_loader_stays():
    loader = data.DataLoader(Noisy(2), 4, drop_last=True)
    loader.load_state_dict(loader.state_dict())
    assert loader.epoch == 0 and len(loader) == 0


@pytest.mark.parametrize(
    "setting",
    [{"batch_size": 0}, {"batch_size": 2.5}, {"workers": -1}, {"prefetch": 0}, {"seed": -1}],
)
def test_impossible_settings_of_a_loader_are_named(setting):
    (name,) = setting
    with pytest.raises(ArgumentError, match=name):
        data.DataLoader(Noisy(8), **setting)


class Examples(data.Dataset):
    """Examples of any kind."""

    def __init__(self, *examples):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def example(self, i):
        return self.examples[i]


def test_a_batch_is_built_as_its_examples_are():
    pairs = [{"x": np.zeros(3, np.float32), "at": (i, 0.5), "name": f"n{i}"} for i in range(2)]
    (batch,) = data.DataLoader(Examples(*pairs), 2)
    assert batch["x"].shape == (2, 3) and batch["name"] == ["n0", "n1"]
    assert [part.tolist() for part in batch["at"]] == [[0, 1], [0.5, 0.5]]
    (alone,) = data.DataLoader(Examples(np.arange(3), np.arange(3)), 2)
    assert alone.tolist() == [[0, 1, 2], [0, 1, 2]]
    (numbers,) = data.DataLoader([4, 5, 6], 3)
    assert numbers.tolist() == [4, 5, 6]

    class View(NamedTuple):
        image: np.ndarray
        label: int

    (view,) = data.DataLoader(Examples(View(np.ones(2), 1), View(np.zeros(2), 0)), 2)
    assert type(view) is View and view.label.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        (None, "an example is neither an array nor a number\n.*received None"),
        ((1, None), "part 1 of the examples is neither"),
        ({"x": 1, "mask": None}, r"part \['mask'\] is neither"),
        ((1, {1, 2}), "received set"),
    ],
)
def test_what_cannot_be_stacked_is_refused_by_name(example, reason):
    with pytest.raises(DtypeError, match=reason):
        batches(data.DataLoader(Examples(example, example), 2))


def test_dicts_with_other_keys_are_refused():
    with pytest.raises(ShapeError, match=r"other keys\n.*\['x'\] and \['y'\]"):
        batches(data.DataLoader(Examples({"x": 1}, {"y": 1}), 2))


def test_a_transform_changes_the_whole_of_an_example_that_is_no_tuple():
    dataset = Examples(np.arange(3))
    dataset.transform = lambda x, rng: -x
    assert dataset[0].tolist() == [0, -1, -2]


def test_what_has_examples_by_number_is_a_dataset():
    class Theirs:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return float(i), i

    ((x, i),) = data.DataLoader(Theirs(), 3)
    assert x.tolist() == [0, 1, 2] and x.dtype == np.float32 and i.dtype == np.int64
    ((x, i),) = data.DataLoader(data.Subset(Theirs(), [2, 0]), 3)
    assert i.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((np.zeros((4, 2)), np.zeros(4)), r"tuple of arrays\n.*ArrayDataset\(X, Y\)"),
        ((minidl.zeros((4, 2)), np.zeros(4)), r"ArrayDataset\(X, Y\)"),
        ({"x": np.zeros(4)}, "received a dict"),
        (iter([1, 2]), r"received list_iterator\n.*list\(\.\.\.\)"),
    ],
)
def test_what_is_no_dataset_is_told_how_to_become_one(given, words):
    with pytest.raises(ArgumentError, match=words):
        data.DataLoader(given, 2)


def test_datasets_are_joined_and_keep_their_transforms():
    first = data.TensorDataset(np.arange(3.0), transform=lambda x, rng: -x)
    both = data.ConcatDataset([first, data.TensorDataset(minidl.arange(2)), [(9.0,)]])
    assert len(both) == 6 and both.cumulative_sizes == [3, 5, 6]
    assert [float(both[i][0]) for i in range(6)] == [0, -1, -2, 0, 1, 9]
    assert both[-1] == (9.0,)
    with pytest.raises(ArgumentError, match="one or more"):
        data.ConcatDataset([])


def test_pytorchs_names_of_the_loaders_parameters_are_taken():
    loader = data.DataLoader(
        data.TensorDataset(np.arange(5)), 2, num_workers=1, collate_fn=len, pin_memory=True,
        prefetch_factor=None,
    )
    assert list(loader) == [2, 2, 1] and loader.workers == 1
    with pytest.raises(ArgumentError, match="no parameter 'generator'"):
        data.DataLoader([1], generator=None)


def test_a_sampler_has_an_order_and_a_length_of_its_own():
    loader = data.DataLoader([10, 11, 12], 2, sampler=[2, 0, 2])
    assert [b.tolist() for b in loader] == [[12, 10], [12]] and len(loader) == 2
    with pytest.raises(ArgumentError, match="shuffle"):
        data.DataLoader([1, 2], shuffle=True, sampler=[0])


# --- transforms ---

IMAGE = np.random.default_rng(0).random((3, 6, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        (transforms.Normalize([0.1, 0.2, 0.3], 0.5), (3, 6, 8)),
        (transforms.RandomHorizontalFlip(), (3, 6, 8)),
        (transforms.RandomCrop(4, padding=2), (3, 4, 4)),
        (transforms.CenterCrop((2, 4)), (3, 2, 4)),
        (transforms.Resize((12, 3)), (3, 12, 3)),
        (transforms.GaussianNoise(0.1), (3, 6, 8)),
        (transforms.MaskNoise(0.5), (3, 6, 8)),
        (transforms.Compose(transforms.CenterCrop(4), transforms.MaskNoise(0.1)), (3, 4, 4)),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, tuple) else "",
)
def test_transform_repeats_itself_and_keeps_the_dtype(transform, shape):
    before = IMAGE.copy()
    results = [transform(IMAGE, np.random.default_rng(3)) for _ in range(2)]
    assert results[0].shape == shape and results[0].dtype == np.float32
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(IMAGE, before)


def test_transforms_do_what_they_say():
    rng = np.random.default_rng(0)
    assert (transforms.RandomHorizontalFlip(1.0)(IMAGE, rng) == IMAGE[..., ::-1]).all()
    share = (transforms.MaskNoise(0.3)(np.ones((1, 100, 100)), rng) == 0).mean()
    assert share == pytest.approx(0.3, abs=0.02)
    grey = transforms.ToFloat()(np.array([[0, 255]], np.uint8), rng)
    assert grey.tolist() == [[[0.0, 1.0]]]
    np.testing.assert_array_equal(transforms.CenterCrop((2, 4))(IMAGE, rng), IMAGE[:, 2:4, 2:6])
    normal = transforms.Normalize([0.0, 1.0, 2.0], 2.0)(IMAGE, rng)
    np.testing.assert_allclose(normal[2], (IMAGE[2] - 2) / 2, rtol=1e-6)
    flat = transforms.Resize((3, 5))(np.full((2, 6, 8), 0.25, np.float32), rng)
    np.testing.assert_allclose(flat, np.full((2, 3, 5), 0.25), rtol=1e-6)
    noise = transforms.GaussianNoise(0.5)(np.zeros((1, 100, 100), np.float32), rng)
    assert noise.std() == pytest.approx(0.5, rel=0.05)
    colour = transforms.ToFloat()(np.arange(24, dtype=np.uint8).reshape(2, 4, 3), rng)
    assert colour.shape == (3, 2, 4) and colour.dtype == np.float32
    assert (colour[1, 0] * 255).round().tolist() == [1, 4, 7, 10]


def test_random_crops_are_windows_of_the_framed_image():
    framed = np.pad(IMAGE, [(0, 0), (1, 1), (1, 1)])
    windows = [framed[:, h : h + 6, w : w + 8].tobytes() for h in range(3) for w in range(3)]
    crop, rng = transforms.RandomCrop((6, 8), padding=1), np.random.default_rng(0)
    assert {crop(IMAGE, rng).tobytes() for _ in range(200)} == set(windows)


@pytest.mark.parametrize(
    ("transform", "image", "error", "reason"),
    [
        (transforms.CenterCrop(7), IMAGE, ShapeError, "larger than the image"),
        (transforms.RandomCrop(9, padding=1), IMAGE, ShapeError, "larger than the image"),
        (transforms.Normalize([0, 0, 0], 1), IMAGE[:1], ShapeError, "number of channels"),
        (transforms.Normalize(0, 1), IMAGE[0], ShapeError, "number of channels"),
        (transforms.Resize(3), IMAGE[0], ShapeError, "C, H, W"),
        (transforms.Resize(3), IMAGE.astype(np.uint8), DtypeError, "ToFloat"),
        (transforms.GaussianNoise(1.0), IMAGE.astype(np.uint8), DtypeError, "ToFloat"),
        (transforms.ToFloat(), IMAGE, ShapeError, "uint8"),
    ],
)
def test_a_transform_refuses_images_it_is_not_for(transform, image, error, reason):
    with pytest.raises(error, match=reason):
        transform(image, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: transforms.Normalize(0.0, 0.0), "std"),
        (lambda: transforms.GaussianNoise(-1.0), "std"),
        (lambda: transforms.MaskNoise(1.1), "probability"),
        (lambda: transforms.RandomHorizontalFlip(-0.1), "probability"),
        (lambda: transforms.RandomCrop(2, padding=-1), "padding"),
        (lambda: transforms.Resize(0), "size"),
        (lambda: transforms.Compose([transforms.ToFloat()]), "without a list"),
    ],
)
def test_impossible_settings_of_a_transform_are_refused(make, reason):
    with pytest.raises(ArgumentError, match=reason):
        make()


def test_whirls_have_no_border_and_follow_their_seed():
    painting = data.whirls(48, seed=1)
    assert painting.shape == (3, 48, 48) and painting.dtype == np.float32
    assert 0 <= painting.min() < 0.3 and 0.7 < painting.max() <= 1
    steps = np.abs(np.diff(painting, axis=2, append=painting[:, :, :1])).mean((0, 1))
    assert steps[-1] < 2 * steps.mean()  # from the last column to the first no farther than usual
    assert (painting == data.whirls(48, seed=1)).all()
    assert (painting != data.whirls(48, seed=2)).any()
    with pytest.raises(ArgumentError, match="size"):
        data.whirls(4)
