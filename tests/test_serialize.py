"""Files of arrays and trees: exact, atomic, inert."""

from __future__ import annotations

import json
import os
import pickle
import stat
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.errors import ArgumentError, CheckpointError, DtypeError
from minidl.files.serialize import (
    load_arrays,
    load_metadata,
    load_tree,
    save_arrays,
    save_tree,
    write_json,
)
from minidl.files.whole import remove_leftovers

_block = np.arange(2 * 6 * 8, dtype=np.float32).reshape(2, 6, 8)
LAYOUTS = {
    "strided": _block[:, ::2, 1::3],
    "reversed": _block[::-1, :, ::-1],
    "transposed": _block.T,
    "fortran": np.asfortranarray(_block[0]),
    "broadcast": np.broadcast_to(np.float32(3), (4, 5)),
    "read-only": np.frombuffer(b"\x01\x02\x03\x04", np.uint8),
    "0-d": np.array(2.5),
    "scalar": np.float32(0.1),
    "zero-size": np.zeros((0, 3), np.int64),
    "zero-size strided": np.zeros((4, 0, 3))[::2],
    "big-endian": np.arange(5, dtype=">f8") / 3,
    "big-endian strided": np.arange(10, dtype=">i4")[::3],
    "bool": np.array([True, False, True])[::2],
    "int64": np.array([-(2**63), 2**63 - 1]),
    "float16": np.linspace(-1, 1, 7, dtype=np.float16),
    "complex64": np.array([1 + 2j], np.complex64),
    "not finite": np.array([np.nan, np.inf, -np.inf, -0.0]),
}


def assert_same(loaded: np.ndarray, saved: np.ndarray) -> None:
    assert isinstance(loaded, np.ndarray)
    assert loaded.shape == saved.shape
    assert loaded.dtype == saved.dtype.newbyteorder("=")
    assert loaded.tobytes() == saved.astype(loaded.dtype).tobytes()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_any_layout_come_back_bit_for_bit(layout, tmp_path):
    array = LAYOUTS[layout]
    before = array.tobytes()
    save_arrays(tmp_path / "a.safetensors", {layout: array})
    assert_same(load_arrays(tmp_path / "a.safetensors")[layout], array)
    assert array.tobytes() == before


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), dtype=st.sampled_from(["<f4", ">f8", "<i8", ">u2", "?"]))
def test_views_that_hypothesis_draws_come_back_bit_for_bit(data, dtype, tmp_path):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    whole = data.draw(hnp.arrays(dtype, shape))
    view = whole[data.draw(hnp.basic_indices(shape, allow_newaxis=True))]
    save_arrays(tmp_path / "a.safetensors", {"x": view, "whole": whole})
    loaded = load_arrays(tmp_path / "a.safetensors")
    assert_same(loaded["x"], np.asarray(view))
    assert_same(loaded["whole"], whole)


def test_files_are_ordinary_safetensors_in_both_directions(tmp_path):
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    save_arrays(ours, {"w": _block.T})
    assert_same(safetensors.numpy.load_file(ours)["w"], _block.T)
    safetensors.numpy.save_file({"w": _block}, theirs, metadata={"format": "np"})
    assert_same(load_arrays(theirs)["w"], _block)
    assert load_metadata(theirs) == {"format": "np"}


def test_loaded_arrays_can_be_written_to_and_do_not_hang_on_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"w": np.ones(1000)})
    array = load_arrays(path)["w"]
    os.truncate(path, 10)
    array += 1
    assert array.sum() == 2000


def test_metadata_comes_back(tmp_path):
    save_arrays(tmp_path / "a.safetensors", {}, {"paper": "Größe", "empty": ""})
    assert load_metadata(tmp_path / "a.safetensors") == {"paper": "Größe", "empty": ""}
    assert load_arrays(tmp_path / "a.safetensors") == {}


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(2, np.complex128)])
def test_dtypes_without_a_place_in_the_format_are_refused(array, tmp_path):
    with pytest.raises(DtypeError, match=r"'w' has dtype .*\n.*float32"):
        save_arrays(tmp_path / "a.safetensors", {"w": array})
    assert not os.listdir(tmp_path)


def test_values_that_are_no_arrays_are_refused_by_name(tmp_path):
    with pytest.raises(DtypeError, match="'w' is not an array"):
        save_arrays(tmp_path / "a.safetensors", {"w": [1, 2]})
    with pytest.raises(ArgumentError, match="__metadata__"):
        save_arrays(tmp_path / "a.safetensors", {"__metadata__": np.zeros(2)})
    with pytest.raises(ArgumentError, match="metadata must be strings"):
        save_arrays(tmp_path / "a.safetensors", {}, {"step": 3})


# --- files that cannot be used ---


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.safetensors'\n +no such file"):
        load_arrays(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="a folder"):
        load_tree(tmp_path)


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"w": np.arange(7.0), "b": np.ones(3)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"a\.safetensors"):
            load_arrays(path)


def test_every_flipped_byte_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "a.safetensors"
    saved = np.arange(4.0) + 0.5
    save_tree(path, {"w": saved, "step": 12})
    whole = path.read_bytes()
    noticed = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            tree = load_tree(path)
        except CheckpointError:
            noticed += 1
        else:  # such as a space of the padding
            assert tree["step"] == 12
            assert_same(tree["w"], saved)
    assert noticed > len(whole) * 0.8


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "a.safetensors"
    path.write_bytes(pickle.dumps({"w": Trap()}))
    for load in (load_arrays, load_tree):
        with pytest.raises(CheckpointError, match="not a whole safetensors file"):
            load(path)
    assert not (tmp_path / "sprung").exists()


def test_files_of_dtypes_that_numpy_lacks_are_refused(tmp_path):
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(CheckpointError, match=r"a\.safetensors(.|\n)*BF16(.|\n)*v\.float\(\)"):
        load_arrays(path)


@pytest.mark.parametrize(
    "skeleton", ["[" * 200_000, '{"$array": []}', '{"$array": {}}', "{", '"\\ud800', "9" * 5000]
)
def test_a_skeleton_that_is_no_json_of_ours_is_refused(skeleton, tmp_path):
    path = tmp_path / "a.safetensors"
    save_arrays(path, {}, {"minidl.tree": skeleton})
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load_tree(path)


def test_a_file_of_arrays_is_not_a_tree(tmp_path):
    save_arrays(tmp_path / "a.safetensors", {"w": np.zeros(2)})
    with pytest.raises(CheckpointError, match="load_arrays"):
        load_tree(tmp_path / "a.safetensors")


def test_a_skeleton_that_names_missing_arrays_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_arrays(path, {}, {"minidl.tree": '{"w": {"$array": "w"}}'})
    with pytest.raises(CheckpointError, match="skeleton"):
        load_tree(path)


# --- trees ---


def test_a_tree_comes_back(tmp_path):
    tree = {
        "model": {"conv.weight": _block[:, ::2], "a/b": np.zeros(1), "a": {"b": np.ones(1)}},
        "list": [1, [2.5, None, True], {"x": "é\n\ud800"}, np.arange(3)],
        "": {"": np.array(7)},
        "__metadata__": np.array([1, 2]),
        "empty": [{}, []],
        "tuple": (1, 2),
        "huge": 2**127 + 3,
        "tiny": 5e-324,
        "third": 1 / 3,
    }
    save_tree(tmp_path / "t.safetensors", tree)
    loaded = load_tree(tmp_path / "t.safetensors")
    assert list(loaded) == list(tree)
    assert_same(loaded["model"]["conv.weight"], _block[:, ::2])
    assert (loaded["model"]["a/b"], loaded["model"]["a"]["b"]) == (0, 1)
    assert_same(loaded["list"].pop(), np.arange(3))
    assert loaded["list"] == tree["list"][:-1]
    assert loaded["list"][1][2] is True
    assert loaded[""][""].shape == () and loaded[""][""] == 7
    assert_same(loaded["__metadata__"], np.array([1, 2]))
    assert loaded["tuple"] == [1, 2]
    for name in ("empty", "huge", "tiny", "third"):
        assert loaded[name] == tree[name] and type(loaded[name]) is type(tree[name])


def test_numbers_of_a_tree_keep_nan_and_the_infinities(tmp_path):
    save_tree(tmp_path / "t.safetensors", [float("nan"), float("inf"), -0.0])
    loaded = load_tree(tmp_path / "t.safetensors")
    assert np.array(loaded).tobytes() == np.array([np.nan, np.inf, -0.0]).tobytes()


def test_a_tree_may_be_a_single_array_or_number(tmp_path):
    save_tree(tmp_path / "t.safetensors", np.arange(3))
    assert_same(load_tree(tmp_path / "t.safetensors"), np.arange(3))
    save_tree(tmp_path / "t.safetensors", 4)
    assert load_tree(tmp_path / "t.safetensors") == 4


def test_numpy_scalars_of_a_tree_keep_their_dtype(tmp_path):
    # As Python floats they would promote differently, and a resumed run would differ.
    save_tree(tmp_path / "t.safetensors", {"beta": np.float64(0.9)})
    assert_same(load_tree(tmp_path / "t.safetensors")["beta"], np.array(0.9))


def test_the_state_of_the_random_numbers_survives_a_file(tmp_path):
    generator = np.random.Generator(np.random.PCG64(5))
    generator.standard_normal(7)
    generator.integers(0, 10, dtype=np.int32)
    save_tree(tmp_path / "t.safetensors", generator.bit_generator.state)
    other = np.random.Generator(np.random.PCG64())
    other.bit_generator.state = load_tree(tmp_path / "t.safetensors")
    assert other.standard_normal(5).tobytes() == generator.standard_normal(5).tobytes()


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"a": [1, {2}]}, "a/1 is a set"),
        ({"a": {3: 1}}, "a has the key 3"),
        ({"$array": "x"}, "the tree has the key"),
        (object(), "the tree is a object"),
    ],
)
def test_a_tree_that_a_file_cannot_hold_is_refused_with_its_place(tree, words, tmp_path):
    with pytest.raises(ArgumentError, match=words):
        save_tree(tmp_path / "t.safetensors", tree)
    assert not os.listdir(tmp_path)


# --- atomicity ---


def save_each(folder, value):
    save_arrays(folder / "a.safetensors", {"w": np.full(3, float(value))})
    write_json(folder / "a.json", {"w": value})


@pytest.mark.parametrize("broken", ["replace", "fsync"])
@pytest.mark.parametrize("name", ["a.safetensors", "a.json"])
def test_a_failure_before_the_rename_leaves_the_old_file_and_nothing_else(
    name, broken, tmp_path, monkeypatch
):
    save_each(tmp_path, 1)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(*arguments):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        with pytest.raises(OSError, match="no space"):
            if name == "a.json":
                write_json(tmp_path / name, {"w": 2})
            else:
                save_arrays(tmp_path / name, {"w": np.full(3, 2.0)})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_the_data_and_then_the_renaming_reach_the_disk(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_replace(source, target):
        assert os.path.dirname(source) == os.path.dirname(target)
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    save_arrays(tmp_path / "a.safetensors", {"w": np.zeros(3)})
    assert calls == ["file", "replace", "folder"]


def test_only_leftovers_of_the_same_file_are_removed(tmp_path):
    save_each(tmp_path, 1)
    for name in (".a.json.0123abcd.tmp", ".b.json.0123abcd.tmp", "a.json.tmp"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path / "a.json")
    left = {".b.json.0123abcd.tmp", "a.json.tmp", "a.json", "a.safetensors"}
    assert set(os.listdir(tmp_path)) == left


def test_folders_are_made_links_are_followed_and_modes_are_usual(tmp_path):
    save_arrays(tmp_path / "far/away/a.safetensors", {"w": np.zeros(3)})
    link = tmp_path / "link.safetensors"
    link.symlink_to(tmp_path / "far/away/a.safetensors")
    save_arrays(link, {"w": np.ones(3)})
    assert link.is_symlink()
    assert load_arrays(tmp_path / "far/away/a.safetensors")["w"].sum() == 3
    (tmp_path / "plain").write_text("")
    assert link.stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- JSON ---


def test_json_is_strict_ordered_and_readable(tmp_path):
    path = tmp_path / "a.json"
    row = {"z": np.float32(0.5), "a": (1, np.int64(2)), "nan": float("nan"), "ü": np.array([1, 2])}
    write_json(path, {**row, "inf": np.float64("-inf")})

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    tree = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert tree == {"z": 0.5, "a": [1, 2], "nan": None, "ü": [1, 2], "inf": None}
    assert list(tree)[:2] == ["z", "a"]
    assert path.read_text(encoding="utf-8").startswith('{\n  "z": 0.5,\n')


def test_what_json_cannot_hold_is_named(tmp_path):
    with pytest.raises(ArgumentError, match="set"):
        write_json(tmp_path / "a.json", {"a": {1}})
