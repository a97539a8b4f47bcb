"""Files of trained weights: told apart by what is in them, found by name, fetched, verified."""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import re
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest

from minidl import __main__ as command_line
from minidl.errors import ArgumentError, CheckpointError, DataError, MissingExtraError
from minidl.files import known_weights
from minidl.files.known_weights import KNOWN, Known, download, find
from minidl.files.pretrained import load_weights
from minidl.files.serialize import save_arrays, save_tree
from minidl.models.resnet import BLOCKS_34, ResNet
from minidl.models.vgg import STAGES_16, STAGES_19, VGG
from minidl.tasks import weight_files
from minidl.tasks.perceptual import load_features
from minidl.tasks.weight_files import FIRST, NETWORKS, misfits, recognise, shapes_of
from tests.torch_writer import CONTAINERS, saved, zip_file

DATA = Path(os.environ.get("MINIDL_DATA", Path(__file__).parents[2] / "shared" / "data"))
REAL_VGG = DATA / "weights" / "vgg16_caffe_conv.safetensors"
real_weights = pytest.mark.skipif(
    not REAL_VGG.exists(), reason="neither MINIDL_DATA nor shared/data has VGG-16's weights"
)

narrow_resnet = partial(ResNet, width=4, num_classes=5)


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """No folder of this machine has weights."""
    monkeypatch.setattr(known_weights, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("MINIDL_DATA", raising=False)


def narrow(stages=STAGES_16, **options) -> VGG:
    return VGG(stages, width=5, hidden=6, num_classes=4, **options)


def published(vgg: VGG, first: weight_files.First, turned: bool = False) -> dict[str, np.ndarray]:
    """The arrays of a narrow VGG that begins as a published one does, in half precision."""
    state = {name: value.copy() for name, value in vgg.state_dict().items()}
    weight, bias = state["features.0.weight"], state["features.0.bias"]
    weight[0, 0, 0, : len(first.weights)] = first.weights
    bias[: len(first.biases)] = np.array(first.biases) + 4e-4
    if turned:
        weight[...] = weight[:, ::-1].copy()
    return state


def caffes_names(state: dict[str, np.ndarray], vgg: VGG) -> dict[str, np.ndarray]:
    """Convolutions alone, under the names of vgg_conv.pth."""
    return {f"{vgg.layer_names[int(name.split('.')[1])]}.{name.split('.')[2]}": value
            for name, value in state.items() if name.startswith("features.")}


# --- which network ---


@pytest.mark.parametrize("network", NETWORKS)
def test_shapes_of_a_network_are_those_it_is_built_with(network):
    _, build = NETWORKS[network]
    state = build(3, 5, 7).state_dict()
    shapes = {n: a.shape for n, a in state.items() if not n.endswith("num_batches_tracked")}
    assert shapes_of(network, 3, 5, 7) == shapes


@pytest.mark.parametrize("network", NETWORKS)
def test_every_known_network_is_recognised_by_its_names(tmp_path, network):
    title, build = NETWORKS[network]
    save_arrays(tmp_path / "a.safetensors", build(3, 5, 7).state_dict())
    held = recognise(tmp_path / "a.safetensors")
    assert (held.network, held.whole, held.left_out) == (network, True, ())
    assert misfits(held) == []
    assert title in NETWORKS[held.network][0]


@pytest.mark.parametrize("stages", [STAGES_16, STAGES_19], ids=["16", "19"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_convolutions_by_caffes_names_are_recognised(tmp_path, stages, container):
    vgg = narrow(stages)
    state = caffes_names(vgg.state_dict(), vgg)
    path = tmp_path / "vgg_conv.pth"
    path.write_bytes(CONTAINERS[container]({k: saved(v) for k, v in state.items()}))
    held = recognise(path)
    assert held.network == ("vgg16" if stages == STAGES_16 else "vgg19") and not held.whole
    assert held.normalisation == "caffe" and "names" in held.evidence
    found = load_features(path, pooling="average")
    assert found.pretrained and found.normalisation == "caffe"
    for ours, theirs in zip(found.vgg.features.state_dict().values(), state.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_are_found_in_a_checkpoint_and_behind_a_wrapper(tmp_path):
    state = {f"module.{name}": value for name, value in narrow().state_dict().items()}
    save_tree(tmp_path / "a.safetensors", {"epoch": 3, "state_dict": state})
    assert recognise(tmp_path / "a.safetensors").network == "vgg16"


def test_a_classifier_that_holds_no_numbers_is_left_out(tmp_path):
    state = narrow().state_dict()
    state["classifier.0.weight"] = np.full_like(state["classifier.0.weight"], np.nan)
    save_arrays(tmp_path / "a.safetensors", state)
    with pytest.raises(CheckpointError, match=r"nothing but NaN is in classifier\.0\.weight\n"):
        load_weights(narrow(), tmp_path / "a.safetensors")
    held = recognise(tmp_path / "a.safetensors")
    assert not held.whole and "classifier.0.weight" in held.left_out and misfits(held) == []
    load_features(tmp_path / "a.safetensors", normalisation="caffe")


def foreign_files() -> dict[str, tuple[dict[str, np.ndarray], str]]:
    state = narrow().state_dict()
    features = {n: a for n, a in state.items() if n.startswith("features.")}
    keras = {n.replace("features.", "block_"): a for n, a in features.items()}
    return {
        "partial": (
            {n: a for n, a in features.items() if not n.startswith("features.28")},
            r"holds 24 arrays: 'features\.0\.bias' \(5,\), (.|\n)*most like VGG-16; "
            r"missing: 'features\.28\.bias', 'features\.28\.weight'",
        ),
        "renamed": (keras, "the shapes of VGG-16's convolutions, under other names"),
        "longer": (
            {**features, "features.30.weight": features["features.0.bias"]},
            r"most like VGG-16(.|\n)*not of that network: 'features\.30\.weight'",
        ),
        "another": (
            {"encoder.weight": np.zeros((3, 2), np.float32)},
            r"holds 1 arrays: 'encoder\.weight' \(3, 2\)\n",
        ),
    }


@pytest.mark.parametrize("kind", foreign_files())
def test_what_is_not_known_is_refused_by_what_it_holds_and_what_is_known(tmp_path, kind):
    state, words = foreign_files()[kind]
    save_arrays(tmp_path / "a.safetensors", state)
    with pytest.raises(CheckpointError, match=words) as refusal:
        recognise(tmp_path / "a.safetensors")
    text = str(refusal.value)
    assert "a.safetensors" in text and "known are VGG-16, VGG-19" in text
    assert "ResNet-34" in text and "conv1_1.weight" in text
    with pytest.raises(CheckpointError, match="cannot tell which network"):
        load_features(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("model", "words"),
    [(narrow(batch_norm=True), "it holds VGG-16 with batch norm"),
     (narrow_resnet(BLOCKS_34), "it holds ResNet-34")],
)
def test_features_of_another_known_network_are_refused_by_its_name(tmp_path, model, words):
    save_arrays(tmp_path / "a.safetensors", model.state_dict())
    with pytest.raises(CheckpointError, match=words):
        load_features(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("features.2.weight", lambda a: a[:, :4], r"is \(5, 4, 3, 3\), should be \(5, 5, 3, 3\)"),
        ("features.5.bias", lambda a: a.astype(np.int64), "holds int64, not floats"),
        ("features.7.bias", lambda a: a * np.inf, "not finite"),
        ("features.0.weight", lambda a: a[0, 0, 0, 0], r"is \(\), should be"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, name, change, words, capsys):
    state = narrow().state_dict()
    with np.errstate(invalid="ignore"):
        state[name] = np.array(change(state[name] + 1), order="C")
    save_arrays(tmp_path / "a.safetensors", state)
    wrong = misfits(recognise(tmp_path / "a.safetensors"))
    assert any(re.match(f"{re.escape(name)} .*{words}", line) for line in wrong)
    with pytest.raises(CheckpointError, match=f"but(.|\n)*{re.escape(name)} .*{words}"):
        load_features(tmp_path / "a.safetensors", normalisation="caffe")
    assert command_line.main(["weights", "verify", str(tmp_path / "a.safetensors")]) == 1
    assert f"wrong     {name}" in capsys.readouterr().out


# --- how it wants pictures ---


def test_first_numbers_are_the_published_ones():
    """As Keras has Caffe's, and as torchvision's were printed by those who have them."""
    assert [(f.normalisation, f.weights, f.biases) for f in FIRST] == [
        ("caffe", (0.429471, 0.373467, -0.06136), (0.734298, 0.093404, 0.067757, 0.886297)),
        ("caffe", (0.341195,), (0.730178, 0.064936, 0.034288, 0.826039)),
        ("torchvision", (), (0.4034, 0.3778, 0.4644, -0.3228)),
        ("torchvision", (-0.053474, -0.049257, -0.067942), ()),
    ]


@pytest.mark.parametrize("first", FIRST, ids=lambda first: first.whose)
@pytest.mark.parametrize("turned", [False, True], ids=["as published", "turned"])
def test_published_weights_are_known_by_their_first_numbers_whatever_the_file_is_called(
    tmp_path, first, turned
):
    vgg = narrow(STAGES_16 if "16" in first.whose else STAGES_19)
    path = tmp_path / "mine.safetensors"
    save_arrays(path, published(vgg, first, turned))
    held = recognise(path)
    if turned and first.normalisation == "torchvision":  # nobody turns those
        assert held.turned is False
        return
    assert (held.normalisation, held.turned) == (first.normalisation, turned)
    assert first.whose in held.evidence
    found = load_features(path)
    assert found.normalisation == first.normalisation
    as_published = published(vgg, first)["features.0.weight"]
    np.testing.assert_array_equal(found.vgg.features[0].weight.data, as_published)
    assert load_features(path, normalisation="ilsvrc").normalisation == "ilsvrc"


def test_torchvisions_weights_under_caffes_names_are_not_taken_for_caffes(tmp_path):
    vgg = narrow()
    save_arrays(tmp_path / "a.safetensors", caffes_names(published(vgg, FIRST[2]), vgg))
    assert load_features(tmp_path / "a.safetensors").normalisation == "torchvision"


def test_weights_of_unknown_origin_are_asked_about(tmp_path):
    save_arrays(tmp_path / "a.safetensors", narrow().state_dict())
    assert recognise(tmp_path / "a.safetensors").normalisation == ""
    with pytest.raises(CheckpointError, match=r"want pictures is not known(.|\n)*--normalisation"):
        load_features(tmp_path / "a.safetensors")
    for kind in ("torchvision", "caffe"):
        found = load_features(tmp_path / "a.safetensors", normalisation=kind)
        assert found.normalisation == kind and found.pretrained


@pytest.mark.parametrize(
    ("name", "kind", "turned"),
    [("vgg16-00b39a1b.pth", "caffe", False), ("vgg16-397923af.pth", "torchvision", False),
     ("vgg16_features-amdegroot-88682ab5.pth", "caffe", True)],
)
def test_a_known_file_tells_by_its_verified_name(tmp_path, monkeypatch, name, kind, turned):
    """The digits in the name are verified, so nothing else can be called so; not here."""
    state = narrow().state_dict()
    (tmp_path / name).write_bytes(CONTAINERS["zip"]({k: saved(v) for k, v in state.items()}))
    with pytest.raises(CheckpointError, match="SHA-256 begins with"):
        load_features(tmp_path / name)
    monkeypatch.setattr(weight_files, "verify", lambda path: "12345678")
    held = recognise(tmp_path / name)
    assert (held.normalisation, held.turned) == (kind, turned) and "SHA-256" in held.evidence


@real_weights
def test_the_published_vgg16_is_caffes_under_torchvisions_names(capsys, monkeypatch):
    held = recognise(REAL_VGG)
    assert (held.network, held.whole, held.normalisation) == ("vgg16", False, "caffe")
    assert not held.turned and misfits(held) == []
    shapes = {n: s for n, s in shapes_of("vgg16").items() if n.startswith("features.")}
    assert {name: array.shape for name, array in held.arrays.items()} == shapes
    assert sum(array.size for array in held.arrays.values()) == 14_714_688
    monkeypatch.setenv("MINIDL_DATA", str(DATA))
    assert load_features("vgg16_caffe").normalisation == "caffe"
    assert command_line.main(["weights", "verify", "vgg16_caffe"]) == 0
    assert "'caffe': BGR, from 0 to 255" in capsys.readouterr().out


# --- by name ---


def test_known_files_carry_their_prefix_and_are_networks_that_are_known():
    for name, known in KNOWN.items():
        assert re.fullmatch(r"[a-z0-9_]+-([a-z]+-)?[0-9a-f]{8}\.pth", known.file), name
        assert name.replace("_caffe", "") in NETWORKS and known.terms in known_weights.TERMS


def test_a_name_is_looked_for_in_the_cache_in_the_data_and_where_pytorch_keeps_them(
    tmp_path, monkeypatch
):
    with pytest.raises(CheckpointError, match=r"(.|\n)*`minidl weights fetch vgg16`"):
        find("vgg16")
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path / "data"))
    for folder in reversed(known_weights.folders()):
        folder.mkdir(parents=True)
        (folder / "vgg16-397923af.pth").write_bytes(b"")
        (folder / "own.safetensors").write_bytes(b"")
        assert find("vgg16") == folder / "vgg16-397923af.pth"
        assert find("own.safetensors") == folder / "own.safetensors"
    assert len(known_weights.folders()) == 3
    (tmp_path / "data" / "weights" / "vgg19-dcbb9e9d.pth").write_bytes(b"")
    assert find("vgg19").parent == tmp_path / "data" / "weights"


def test_another_file_with_the_same_weights_will_do(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vgg16_caffe_conv.safetensors").write_bytes(b"")
    assert find("vgg16_caffe").name == "vgg16_caffe_conv.safetensors"
    with pytest.raises(CheckpointError, match="there is vgg16_caffe"):  # other weights
        find("vgg16")


def test_a_path_is_itself_and_a_file_that_is_not_there_is_told_with_the_names(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("vgg16").write_bytes(b"")
    Path("mine.pth").write_bytes(b"")
    assert find("./vgg16") == Path("vgg16") and find("mine.pth") == Path("mine.pth")
    with pytest.raises(CheckpointError, match="are not here"):  # a name means the same everywhere
        find("vgg16")
    with pytest.raises(CheckpointError, match=r"no such file(.|\n)*vgg16, vgg16_caffe"):
        find("vgg61")
    with pytest.raises(CheckpointError, match="no such file"):
        load_weights(narrow_resnet(), tmp_path / "gone.pth")


# --- fetching ---


def weight_file(folder: Path, state: dict) -> Path:
    """A zip container under a name that carries its SHA-256 prefix."""
    data = zip_file({key: saved(value) for key, value in state.items()})
    path = folder / f"net-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    path.write_bytes(data)
    return path


def know(monkeypatch, file: str, size: float = 0.1) -> None:
    """Let ``net`` be the name of a file."""
    monkeypatch.setitem(known_weights.KNOWN, "net", Known(file, size, "a network"))


@pytest.fixture
def server(tmp_path_factory, monkeypatch):
    """A folder that is fetched from."""
    pytest.importorskip("pooch", reason="downloading needs pooch")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = tmp_path_factory.mktemp("served")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        thread = Thread(target=http.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setattr(known_weights, "SOURCE", f"http://127.0.0.1:{http.server_port}/")
        yield folder
        http.shutdown()
        thread.join()


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_weights_are_fetched_once_on_request_and_verified(server, tmp_path, monkeypatch):
    state = narrow_resnet().state_dict()
    path = weight_file(server, state)
    know(monkeypatch, path.name)
    fetched = download("net")
    assert fetched == tmp_path / "cache" / "weights" / path.name
    assert fetched.read_bytes() == path.read_bytes() and files_in(fetched.parent) == [path.name]
    path.unlink()
    assert download("net") == fetched  # no longer there to be fetched
    model = narrow_resnet()
    load_weights(model, "net")
    np.testing.assert_array_equal(model.fc.weight.data, state["fc.weight"])


def test_the_command_fetches_into_a_folder_and_says_on_what_terms(
    server, tmp_path, monkeypatch, capsys
):
    path = weight_file(server, narrow_resnet().state_dict())
    know(monkeypatch, path.name)
    for words in ("Fetching", path.stem[-8:]):  # the second time it is there
        assert command_line.main(["weights", "fetch", "net", "--to", str(tmp_path / "to")]) == 0
        said = capsys.readouterr().out
        assert words in said and "torchvision is BSD-3-Clause" in said
    assert "Fetching" not in said and files_in(tmp_path / "to") == [path.name]


def test_a_download_that_is_not_what_its_name_says_leaves_nothing(server, tmp_path, monkeypatch):
    (server / "net-01234567.pth").write_bytes(b"something else")
    know(monkeypatch, "net-01234567.pth")
    with pytest.raises(CheckpointError, match="begins with 01234567"):
        download("net", tmp_path / "to")
    know(monkeypatch, "absent-01234567.pth")
    with pytest.raises(DataError, match="could not be fetched"):
        download("net", tmp_path / "to")
    assert files_in(tmp_path / "to") == []


def test_without_a_network_nothing_stays_and_the_address_is_said(tmp_path, monkeypatch):
    pytest.importorskip("pooch", reason="downloading needs pooch")
    monkeypatch.setattr(known_weights, "SOURCE", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match=r"Connection(.|\n)*http://127\.0\.0\.1:9/resnet18-f37072fd"):
        download("resnet18", tmp_path / "to")
    assert files_in(tmp_path / "to") == []


def test_a_full_disk_is_noticed_before_and_while_fetching(server, tmp_path, monkeypatch):
    path = weight_file(server, narrow_resnet().state_dict())
    know(monkeypatch, path.name, size=1e9)
    with pytest.raises(DataError, match="there is room for"):
        download("net", tmp_path / "to")
    assert files_in(tmp_path / "to") == []

    def full(*, progressbar):
        def fetch(url, target, pooch):
            Path(target).write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        return fetch

    know(monkeypatch, path.name)
    monkeypatch.setattr(importlib.import_module("pooch"), "HTTPDownloader", full)
    with pytest.raises(DataError, match="No space left"):
        download("net", tmp_path / "to")
    assert files_in(tmp_path / "to") == []


def test_a_folder_that_is_a_file_and_an_interrupt_leave_nothing(server, tmp_path, monkeypatch):
    path = weight_file(server, narrow_resnet().state_dict())
    know(monkeypatch, path.name)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="could not be fetched"):
        download("net", tmp_path / "file")

    def stopped(*, progressbar):
        def fetch(url, target, pooch):
            Path(target).write_bytes(b"half of it")
            raise KeyboardInterrupt
        return fetch

    monkeypatch.setattr(importlib.import_module("pooch"), "HTTPDownloader", stopped)
    with pytest.raises(KeyboardInterrupt):
        download("net", tmp_path / "to")
    assert files_in(tmp_path / "to") == []


def test_what_a_killed_download_left_is_removed_but_not_what_another_writes(
    server, tmp_path, monkeypatch
):
    path = weight_file(server, narrow_resnet().state_dict())
    know(monkeypatch, path.name)
    old, fresh = (tmp_path / f".{path.name}.{word}.tmp" for word in ("old", "fresh"))
    for left in (old, fresh):
        left.write_bytes(b"half of it")
    os.utime(old, (time.time() - 7200,) * 2)
    download("net", tmp_path)
    assert not old.exists() and fresh.exists()


def test_fetching_refuses_unknown_names_and_says_what_to_install(tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match=r"'alexnet'(.|\n)*resnet18"):
        download("alexnet", tmp_path)

    def absent(module: str):
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"minidl\[data\]"):
        download("vgg16", tmp_path)


# --- the command ---


def test_the_list_has_every_name_its_place_and_its_terms(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vgg19-dcbb9e9d.pth").write_bytes(b"")
    assert command_line.main(["weights", "list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said and known.file in said for name, known in KNOWN.items())
    assert str(tmp_path / "weights" / "vgg19-dcbb9e9d.pth") in said and "CC BY 4.0" in said
    assert all(str(folder) in said for folder in known_weights.folders())
    assert command_line.main(["weights", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed["files"]] == list(KNOWN)
    assert [bool(entry["here"]) for entry in listed["files"]] == [n == "vgg19" for n in KNOWN]


def test_verify_says_what_a_file_is(tmp_path, capsys):
    vgg = narrow()
    path = weight_file(tmp_path, {**published(vgg, FIRST[0], turned=True), "extra": np.zeros(2)})
    assert command_line.main(["weights", "verify", str(path)]) == 0
    said = capsys.readouterr().out
    assert hashlib.sha256(path.read_bytes()).hexdigest() in said and said.endswith("ok\n")
    assert "VGG-16, 32 arrays" in said and "RGB, from 0 to 255" in said and "extra" in said
    assert f"begins with {path.stem[-8:]}, as its name says" in said
    save_arrays(tmp_path / "own.safetensors", narrow_resnet().state_dict())
    assert command_line.main(["weights", "verify", str(tmp_path / "own.safetensors")]) == 0
    assert "pictures  not told" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [("vgg19", "minidl weights fetch vgg19"), ("gone.pth", "no such file"), ("there/gone", "gone"),
     ("own-01234567.safetensors", "begins with 01234567"), ("text.pth", "neither")],
)
def test_verify_refuses_what_cannot_be_read(tmp_path, monkeypatch, capsys, name, words):
    monkeypatch.chdir(tmp_path)
    save_arrays("own-01234567.safetensors", narrow_resnet().state_dict())
    Path("text.pth").write_text("weights")
    assert command_line.main(["weights", "verify", name]) == 2
    assert words in capsys.readouterr().err


def test_nothing_but_fetch_fetches(tmp_path, monkeypatch):
    def fetched(*args, **kwargs):
        raise AssertionError("something was fetched")

    monkeypatch.setattr(known_weights, "import_extra", fetched)
    assert command_line.main(["weights", "list"]) == 0
    for take in (load_features, recognise, lambda name: load_weights(narrow_resnet(), name)):
        with pytest.raises(CheckpointError, match="fetch resnet18"):
            take("resnet18")
    arguments = SimpleNamespace(weights_command="verify", file="vgg16")
    with pytest.raises(CheckpointError, match="fetch vgg16"):
        importlib.import_module("minidl.commands.weights").main(arguments)
