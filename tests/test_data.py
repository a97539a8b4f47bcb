"""Data: readers that trust no file, loaders that resume, transforms that repeat."""

from __future__ import annotations

import gzip
import os
import struct
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from minidl import data
from minidl.data import transforms
from minidl.errors import ArgumentError, CheckpointError, DataError, ShapeError

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
        (gzip.compress(b"abc"), "should end in .gz"),
        (header(0x0E, 2**31, 2**31), "claims to hold"),
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


def test_a_small_file_cannot_unpack_to_a_large_one(tmp_path):
    """The header says ten bytes; a gigabyte of zeros follows and is never unpacked."""
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header(0x08, 10))
        for _ in range(64):
            file.write(bytes(2**20))
    start = time.perf_counter()
    with pytest.raises(DataError, match="longer than its header"):
        data.read_idx(path)
    assert time.perf_counter() - start < 5


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.idx"):
        data.read_idx(tmp_path / "nothing.idx")


def test_types_that_idx_lacks_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="complex"):
        data.write_idx(tmp_path / "a", np.zeros(2, complex))


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


def test_missing_mnist_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="download=True"):
        data.mnist(tmp_path)


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


def test_images_too_large_are_refused_before_they_are_unpacked(tmp_path):
    path = tmp_path / "large.png"
    Image.new("L", (14_000, 9_000)).save(path)
    with pytest.raises(DataError, match="14000 x 9000"):
        data.read_image(path)


def test_an_image_folder_has_a_class_per_folder(tmp_path):
    for name, count in (("dog", 1), ("cat", 2)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.new("RGB", (3, 2), "red").save(tmp_path / name / f"{i}.png")
    folder = data.ImageFolder(tmp_path, transform=transforms.CenterCrop(2))
    assert folder.classes == ["cat", "dog"] and len(folder) == 3
    image, label = folder[2]
    assert image.shape == (3, 2, 2) and label == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        data.ImageFolder(tmp_path)
    with pytest.raises(DataError, match="no folders"):
        data.ImageFolder(tmp_path / "empty")


# --- datasets ---


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ShapeError, match="one length"):
        data.ArrayDataset(np.zeros(3), np.zeros(4))


def test_random_split_is_disjoint_and_complete():
    dataset = data.ArrayDataset(np.arange(10))
    for lengths, sizes in (([7, 3], [7, 3]), ([0.75, 0.25], [8, 2]), ([1 / 3] * 3, [4, 3, 3])):
        parts = data.random_split(dataset, lengths, seed=1)
        assert [len(p) for p in parts] == sizes
        assert sorted(int(e[0]) for p in parts for e in p) == list(range(10))
    with pytest.raises(ArgumentError, match="add up"):
        data.random_split(dataset, [7, 4])
    with pytest.raises(ArgumentError, match="no example 10"):
        data.Subset(dataset, [10])


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
    second.load_state_dict(position)
    rest = batches(second) if len(seen) < 6 else []
    assert seen + rest == expected


def test_leaving_a_loop_early_leaves_no_thread_behind():
    before = threading.active_count()
    loader = data.DataLoader(Noisy(100, 0.001), 2, workers=3)
    for _ in loader:
        break
    assert threading.active_count() == before
    assert len(batches(loader)) == 50


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_dataset_reaches_the_loop(workers):
    class Broken(Noisy):
        def example(self, i):
            if i == 5:
                raise DataError("example 5 is broken")
            return super().example(i)

    with pytest.raises(DataError, match="example 5"):
        batches(data.DataLoader(Broken(8), 2, workers=workers))


def test_positions_that_cannot_be_are_refused():
    loader = data.DataLoader(Noisy(8), 2)
    with pytest.raises(CheckpointError, match="batch 9"):
        loader.load_state_dict({"epoch": 0, "position": 9, "seed": 0})
    with pytest.raises(CheckpointError, match="not a position"):
        loader.load_state_dict({"epoch": 0})
    with pytest.raises(ArgumentError, match="batch_size"):
        data.DataLoader(Noisy(8), 0)


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
    with pytest.raises(ShapeError, match="larger than the image"):
        transforms.CenterCrop(7)(IMAGE, rng)
    with pytest.raises(ArgumentError, match="std"):
        transforms.Normalize(0.0, 0.0)
