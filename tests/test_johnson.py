"""Fast style transfer: published sizes, names and files; networks that learn a style and go on."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import minidl.functional as F
from minidl import Tensor, nn, no_grad, random, use_kernels
from minidl.data import ArrayDataset, DataLoader
from minidl.data.images import read_image
from minidl.errors import ArgumentError, CheckpointError, ShapeError
from minidl.files.serialize import save_arrays
from minidl.lecture.pictures import save_png
from minidl.models.johnson import ResidualBlock, SuperResolutionNet, TransformerNet, TransformNet
from minidl.models.vgg import STAGES_16, VGG, normalise
from minidl.optim import Adam
from minidl.tasks.perceptual import Recipe, StyleTrainer, SuperResolutionTrainer, random_features
from minidl.tasks.perceptual.fast_style import fast_style, load_transformer, save_transformer
from minidl.train import fit
from tests import strict_cupy
from tests.torch_writer import CONTAINERS, saved


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def small(net: str):
    return TransformerNet(4) if net == "examples" else TransformNet(width=4, blocks=1)


# --- the published networks ---


@pytest.mark.parametrize(
    "build", [TransformNet, lambda: TransformNet("instance"), TransformerNet]
)
def test_all_variants_have_the_published_number_of_parameters(build):
    assert count(build()) == 1_679_235


def names_of_the_published_files() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}

    def conv(name: str, o: int, c: int, k: int) -> None:
        found[f"{name}.conv2d.weight"], found[f"{name}.conv2d.bias"] = (o, c, k, k), (o,)

    def norm(name: str, c: int) -> None:
        found[f"{name}.weight"] = found[f"{name}.bias"] = (c,)

    for name, *sizes in (("conv1", 32, 3, 9), ("conv2", 64, 32, 3), ("conv3", 128, 64, 3),
                         ("deconv1", 64, 128, 3), ("deconv2", 32, 64, 3), ("deconv3", 3, 32, 9)):
        conv(name, *sizes)
    for name, c in (("in1", 32), ("in2", 64), ("in3", 128), ("in4", 64), ("in5", 32)):
        norm(name, c)
    for k in range(1, 6):
        for half in "12":
            conv(f"res{k}.conv{half}", 128, 128, 3)
            norm(f"res{k}.in{half}", 128)
    return found


def test_transformer_net_has_the_62_tensors_of_the_published_files():
    expected = names_of_the_published_files()
    assert len(expected) == 62
    assert {n: v.shape for n, v in TransformerNet().state_dict().items()} == expected


def test_the_papers_activations_have_the_sizes_of_its_table():
    net, sizes, x = TransformNet(width=1), [], F.pad(Tensor(drawn(1, 3, 256, 256)), (40,) * 4,
                                                     "reflect")
    with no_grad():
        for layer in net.layers:
            x = layer(x)
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, ResidualBlock)):
                sizes.append(x.shape[1:])
    assert sizes == [
        (1, 336, 336), (2, 168, 168), (4, 84, 84), (4, 80, 80), (4, 76, 76), (4, 72, 72),
        (4, 68, 68), (4, 64, 64), (2, 128, 128), (1, 256, 256), (3, 256, 256),
    ]


@pytest.mark.parametrize("size", [(45, 50), (48, 41), (44, 52)])
@pytest.mark.parametrize("build", [lambda: TransformNet(width=2), lambda: TransformerNet(2)])
def test_sides_are_rounded_up_to_multiples_of_four(build, size):
    with no_grad():
        shape = build()(drawn(2, 3, *size)).shape
    assert shape == (2, 3, *(-(-side // 4) * 4 for side in size))


def test_published_odd_size():
    """257 x 255 becomes 260 x 256."""
    with no_grad():
        assert TransformerNet(1)(drawn(1, 3, 257, 255)).shape == (1, 3, 260, 256)


def test_a_residual_block_adds_the_centre():
    block = ResidualBlock(3, "batch")
    for parameter in block.body[4].parameters():
        parameter.data[...] = 0  # the last norm: nothing is added
    x = drawn(1, 3, 9, 8) - 0.5  # also below 0: no ReLU follows the sum
    np.testing.assert_array_equal(block(x).detach().numpy(), x[..., 2:-2, 2:-2])


def test_a_padded_block_adds_its_input_with_no_relu_behind():
    block = TransformerNet(1).res1
    for parameter in block.in2.parameters():
        parameter.data[...] = 0
    x = drawn(1, 4, 7, 8) - 0.5
    np.testing.assert_array_equal(block(x).detach().numpy(), x)


@pytest.mark.parametrize("build", [lambda: TransformNet("instance", 4), lambda: TransformerNet(4)])
def test_instance_norm_networks_treat_each_picture_on_its_own(build):
    net = build()
    x = drawn(2, 3, 44, 44)
    with no_grad():
        both = net(x).numpy()
        np.testing.assert_allclose(net(x[1:]).numpy(), both[1:], rtol=1e-3, atol=1e-3)


def test_the_papers_output_is_within_150_of_the_means():
    net = TransformNet(width=2, blocks=1)
    net.layers[-1].weight.data *= 1e3
    with no_grad():
        y = net(drawn(1, 3, 16, 16) * 255).numpy()
        shown = net.stylise(drawn(1, 3, 16, 16)).numpy() * 255
    assert abs(y).max() <= 150 and abs(y).max() > 149
    means = np.array([123.68, 116.779, 103.939])[:, None, None]  # RGB
    assert abs(shown - means).max() <= 150.01


def test_the_paper_network_sees_bgr_bytes_minus_means_and_the_other_rgb_bytes(monkeypatch):
    x = drawn(1, 3, 20, 20)
    seen = []

    def same(net, given):
        seen.append(given)
        return given

    for net in (TransformNet(width=1, blocks=1), TransformerNet(1)):
        monkeypatch.setattr(type(net), "forward", same)
        np.testing.assert_allclose(net.stylise(Tensor(x)).numpy(), x, atol=1e-5)
    np.testing.assert_allclose(seen[0].numpy(), normalise(x, "caffe").numpy())
    assert seen[0].numpy()[0, 0, 0, 0] == pytest.approx(255 * x[0, 2, 0, 0] - 103.939, abs=1e-3)
    np.testing.assert_allclose(seen[1].numpy(), 255 * x, rtol=1e-6)


@pytest.mark.parametrize("scale", [4, 8])
def test_super_resolution_enlarges_by_its_scale(scale):
    net = SuperResolutionNet(scale, width=3)
    with no_grad():
        assert net.enlarge(drawn(1, 3, 7, 9)).shape == (1, 3, 7 * scale, 9 * scale)
    doublings = sum(isinstance(m, nn.ConvTranspose2d) for m in net.modules())
    assert 2**doublings == scale
    assert sum(isinstance(m, ResidualBlock) for m in net.modules()) == 4


# --- a picture in one pass ---


@pytest.mark.parametrize("net", ["examples", "paper"])
@pytest.mark.parametrize("size", [(33, 30), (20, 47)])
def test_fast_style_gives_a_picture_of_the_same_size(net, size):
    made = fast_style(small(net), drawn(3, *size))
    assert made.shape == (3, *size) and made.min() >= 0 and made.max() <= 1


@pytest.mark.parametrize(
    ("build", "least"), [(lambda: TransformNet(width=1), 41), (lambda: TransformerNet(1), 5)]
)
def test_pictures_too_small_to_be_mirrored_are_refused(build, least):
    assert fast_style(build(), drawn(3, least, least)).shape == (3, least, least)
    with pytest.raises(ShapeError, match=f"at least {least}"):
        fast_style(build(), drawn(3, least - 1, 60))


@pytest.mark.parametrize("picture", [drawn(3, 30, 30) * 255, drawn(1, 30, 30), drawn(30, 30)])
def test_fast_style_refuses_what_is_no_picture(picture):
    with pytest.raises((ShapeError, ArgumentError)):
        fast_style(TransformerNet(1), picture)


# --- files ---


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_pth_file_of_pytorch_examples_loads_and_stale_statistics_are_left_out(
    tmp_path, container
):
    net = TransformerNet(4)
    state = {k: saved(v) for k, v in net.state_dict().items()}
    for name in ("in1", "in5", "res1.in2"):
        channels = net.state_dict()[f"{name}.weight"].shape
        state[f"{name}.running_mean"] = saved(np.zeros(channels, np.float32))
        state[f"{name}.running_var"] = saved(np.ones(channels, np.float32))
    path = tmp_path / "candy.pth"
    path.write_bytes(CONTAINERS[container](state))
    model, notes = load_transformer(path)
    assert len(notes) == 1 and notes[0].startswith("6 running statistics")
    picture = drawn(3, 20, 24)
    np.testing.assert_array_equal(fast_style(model, picture), fast_style(net, picture))


@pytest.mark.parametrize(
    "net",
    [TransformerNet(3), TransformNet(width=3, blocks=2), TransformNet("instance", 2, 1)],
    ids=["examples", "paper", "instance"],
)
def test_a_network_comes_back_from_its_file(tmp_path, net):
    picture = drawn(3, 24, 20)
    if net.__class__ is TransformNet and net.norm == "batch":
        net.train()(normalise(picture[None], "caffe"))  # running statistics of its own
    save_transformer(tmp_path / "net.safetensors", net)
    model, notes = load_transformer(tmp_path / "net.safetensors")
    assert type(model) is type(net) and notes == () and not model.training
    np.testing.assert_array_equal(fast_style(model, picture), fast_style(net, picture))


def test_other_files_are_refused(tmp_path):
    state = TransformerNet(2).state_dict()
    cases = {
        "lacks": {k: v for k, v in state.items() if k != "res3.in1.bias"},
        "more": {**state, "head.weight": np.zeros(2, np.float32)},
        "shape": {**state, "in1.bias": np.zeros(5, np.float32)},
        "else": {"a": np.zeros(2, np.float32)},
    }
    for name, held in cases.items():
        save_arrays(tmp_path / f"{name}.safetensors", held)
        with pytest.raises(CheckpointError, match="fast style transfer"):
            load_transformer(tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError):
        load_transformer(tmp_path / "none.pth")


def test_transformer_net_is_pytorchs(tmp_path):
    torch = pytest.importorskip("torch")
    tnn = torch.nn

    class Conv(tnn.Module):
        def __init__(self, i, o, k, s=1, up=1):
            super().__init__()
            self.up, self.reflection_pad = up, tnn.ReflectionPad2d(k // 2)
            self.conv2d = tnn.Conv2d(i, o, k, s)

        def forward(self, x):
            if self.up > 1:
                x = tnn.functional.interpolate(x, mode="nearest", scale_factor=self.up)
            return self.conv2d(self.reflection_pad(x))

    class Block(tnn.Module):
        def __init__(self, c):
            super().__init__()
            self.conv1, self.in1 = Conv(c, c, 3), tnn.InstanceNorm2d(c, affine=True)
            self.conv2, self.in2 = Conv(c, c, 3), tnn.InstanceNorm2d(c, affine=True)

        def forward(self, x):
            return self.in2(self.conv2(self.in1(self.conv1(x)).relu())) + x

    class Net(tnn.Module):
        def __init__(self, c):
            super().__init__()
            sizes = {"1": (3, c, 9), "2": (c, 2 * c, 3, 2), "3": (2 * c, 4 * c, 3, 2)}
            for k, s in sizes.items():
                setattr(self, f"conv{k}", Conv(*s))
                setattr(self, f"in{k}", tnn.InstanceNorm2d(s[1], affine=True))
            for k in range(1, 6):
                setattr(self, f"res{k}", Block(4 * c))
            self.deconv1, self.deconv2 = Conv(4 * c, 2 * c, 3, 1, 2), Conv(2 * c, c, 3, 1, 2)
            self.in4 = tnn.InstanceNorm2d(2 * c, affine=True)
            self.in5 = tnn.InstanceNorm2d(c, affine=True)
            self.deconv3 = Conv(c, 3, 9)

        def forward(self, x):
            for k in "123":
                x = getattr(self, f"in{k}")(getattr(self, f"conv{k}")(x)).relu()
            for k in range(1, 6):
                x = getattr(self, f"res{k}")(x)
            x = self.in4(self.deconv1(x)).relu()
            return self.deconv3(self.in5(self.deconv2(x)).relu())

    theirs = Net(4)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    mine = load_transformer(tmp_path / "theirs.pth").model
    x = drawn(1, 3, 23, 30) * 255
    with no_grad(), torch.no_grad():
        np.testing.assert_allclose(
            mine(x).numpy(), theirs(torch.from_numpy(x)).numpy(), rtol=1e-3, atol=1e-3
        )


# --- learning a style ---


RECIPE = Recipe("relative", {"relu2_2": 50}, {"relu1_1": 250, "relu2_1": 250}, network="vgg16")


def started(net: str):
    """As after the first hundreds of steps, in which pytorch/examples' network learns its range:
    its answers begin at 0 +- 1, black, and are to be bytes."""
    random.manual_seed(0)
    model = small(net)
    if net == "examples":
        model.deconv3.conv2d.weight.data *= 50
        model.deconv3.conv2d.bias.data[...] = 128
    return model


def trained(net: str, out=None, epochs: int = 3, resume: bool = False, **options):
    model = started(net)
    trainer = StyleTrainer(random_features("vgg16", width=4), drawn(3, 24, 28, seed=5), RECIPE)
    smooth = F.interpolate(drawn(6, 3, 4, 4), size=24, mode="bilinear").numpy()
    loader = DataLoader(ArrayDataset(smooth), 2, shuffle=True)
    optimizer = Adam(model.parameters(), lr=1e-2 if net == "examples" else 1e-3)
    history = fit(
        model, loader, optimizer, trainer.loss, epochs=epochs, out=out, resume=resume,
        progress=False, **options,
    )
    return model, history


@pytest.mark.parametrize("net", ["examples", "paper"])
def test_a_network_learns_the_style_and_every_weight_has_a_part(net):
    model, history = trained(net, epochs=6)
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    start = started(net).state_dict()
    still = [n for n, p in model.named_parameters() if (p.data == start[n]).all()]
    assert still == []


def test_the_loss_is_that_of_the_result_against_the_picture_and_the_style():
    from minidl.tasks.perceptual import content_loss, gram, style_loss, variation_loss

    class Halved(nn.Module):
        def stylise(self, x):
            return x * 0.5

    features, style, x = random_features(width=4), drawn(3, 20, 20), drawn(2, 3, 16, 16, seed=1)
    recipe = Recipe("johnson", {"relu2_2": 2.0}, {"relu1_2": 3.0}, 0.5)
    found = StyleTrainer(features, style, recipe).loss(Halved(), (Tensor(x),)).item()

    def tap(p: np.ndarray, name: str) -> Tensor:
        return features(features.prepare(p), [name])[name]

    by_hand = (
        2 * content_loss(tap(x / 2, "relu2_2"), tap(x, "relu2_2"), "johnson")
        + 3 * style_loss(gram(tap(x / 2, "relu1_2"), "johnson"),
                         gram(tap(style[None], "relu1_2"), "johnson"), "johnson")
        + 0.5 * variation_loss(features.prepare(x / 2))
    )
    assert found == pytest.approx(by_hand.item(), rel=1e-5)


def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(tmp_path):
    whole, _ = trained("paper", tmp_path / "whole")
    trained("paper", tmp_path / "parts", epochs=1)
    parts, _ = trained("paper", tmp_path / "parts", resume=True)
    for name, value in whole.state_dict().items():
        np.testing.assert_array_equal(parts.state_dict()[name], value)


def test_sides_that_are_no_multiples_of_four_are_refused():
    trainer = StyleTrainer(random_features("vgg16", width=2), drawn(3, 16, 16), RECIPE)
    with pytest.raises(ShapeError, match="multiples of 4"):
        trainer.loss(TransformerNet(2), (drawn(1, 3, 18, 16),))


def test_super_resolution_learns_from_features_alone():
    random.manual_seed(0)
    net = SuperResolutionNet(4, width=4)
    large = F.interpolate(drawn(4, 3, 4, 4), scale_factor=8, mode="bilinear").numpy()
    little = F.interpolate(large, size=8, mode="area").numpy()
    trainer = SuperResolutionTrainer(random_features("vgg16", width=4))
    history = fit(
        net, DataLoader(ArrayDataset(little, large), 2), Adam(net.parameters(), lr=1e-3),
        trainer.loss, epochs=6, progress=False,
    )
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]


# --- the command ---


def fast(*arguments) -> subprocess.CompletedProcess[str]:
    program = (
        "import argparse, sys; from minidl.commands.run import fast_style as t\n"
        "from minidl.errors import MinidlError\n"
        "p = argparse.ArgumentParser('fast-style'); t.add_arguments(p)\n"
        "try: sys.exit(t.main(p.parse_args()))\n"
        "except MinidlError as e: print(e, file=sys.stderr); sys.exit(2)"
    )
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
    )


def as_bytes(picture: np.ndarray) -> np.ndarray:
    return (picture * 255).astype(np.uint8).transpose(1, 2, 0)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "photos").mkdir()
    for k in range(4):
        save_png(tmp_path / "photos" / f"{k}.png", as_bytes(drawn(3, 30, 20 + k, seed=k)))
    save_png(tmp_path / "style.png", as_bytes(drawn(3, 24, 24, seed=9)))
    save_png(tmp_path / "picture.png", as_bytes(drawn(3, 21, 26, seed=8)))
    return tmp_path


SETTINGS = ("--width", 2, "--channels", 2, "--size", 16, "--batch", 2, "--epochs", 1)


def test_the_command_trains_goes_on_and_applies(files):
    train = ("train", files / "photos", files / "style.png", *SETTINGS, "--out", files / "run")
    ran = fast(*train)
    assert ran.returncode == 0 and "random weights" in ran.stdout, ran.stderr
    on = fast(*train, "--resume", "--epochs", 2)
    assert on.returncode == 0 and "2 epochs of 2 steps" in on.stdout, on.stderr
    rows = [json.loads(r) for r in (files / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in rows if r["event"] == "epoch"] == [1, 2]
    applied = fast("apply", files / "run" / "style.safetensors", files / "picture.png")
    assert applied.returncode == 0, applied.stderr
    made = read_image(files / "picture_style.png")
    model = load_transformer(files / "run" / "style.safetensors").model
    wanted = fast_style(model, read_image(files / "picture.png"))
    np.testing.assert_allclose(made, wanted, atol=0.51 / 255)


@pytest.mark.parametrize(
    ("kind", "recipe"), [("torchvision", "pytorch-examples"), ("caffe", "fast-neural-style")]
)
def test_the_recipe_is_the_one_made_for_the_kind_of_weights(files, kind, recipe):
    vgg = VGG(STAGES_16, width=2, hidden=1, num_classes=1)
    save_arrays(files / "vgg.safetensors", vgg.state_dict())
    ran = fast("train", files / "photos", files / "style.png", *SETTINGS, "--out", files / "run",
               "--weights", files / "vgg.safetensors", "--normalisation", kind)
    assert ran.returncode == 0 and f"recipe {recipe!r}" in ran.stdout, ran.stderr


def test_a_grey_and_transparent_picture_is_coloured_and_stays_transparent(files):
    from PIL import Image

    grey = np.dstack([np.arange(20 * 24).reshape(20, 24) % 256, np.full((20, 24), 99)])
    Image.fromarray(grey.astype(np.uint8), "LA").save(files / "grey.png")
    save_transformer(files / "net.safetensors", TransformerNet(2))
    assert fast("apply", files / "net.safetensors", files / "grey.png").returncode == 0
    with Image.open(files / "grey_net.png") as made:
        assert made.mode == "RGBA" and made.size == (24, 20)
        assert set(np.asarray(made)[..., 3].ravel().tolist()) == {99}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "nowhere", "style.png"), "no folder"),
        (("train", "photos", "none.png"), "none.png"),
        (("train", "photos", "style.png", "--size", 18), "multiple of 4"),
        (("train", "photos", "style.png", "--batch", 9), "has 4"),
        (("train", "photos", "style.png", "--net", "paper"), "at least 41"),
        (("train", "photos", "style.png", "--resume"), "no checkpoint"),
        (("train", "photos", "style.png", "--weights", "none.pth"), "none.pth"),
        (("apply", "none.pth", "picture.png"), "none.pth"),
        (("apply", "none.pth", "picture.png", "--out", "no/where.png"), "no folder"),
    ],
)
def test_the_command_refuses_before_it_computes(files, monkeypatch, arguments, words):
    monkeypatch.chdir(files)
    flags = SETTINGS if arguments[0] == "train" else ()
    ran = fast(*arguments[:3], *flags, *arguments[3:])
    assert ran.returncode == 2 and words in ran.stderr and "Traceback" not in ran.stderr
    assert not (files / "runs").exists()


# --- another device ---


@pytest.mark.parametrize("net", ["examples", "paper"])
def test_networks_are_trained_and_used_where_their_weights_are(monkeypatch, net):
    strict_cupy.install(monkeypatch)
    x = drawn(2, 3, 16, 16)

    def values(device: str) -> tuple[float, np.ndarray]:
        model = started(net).to(device)
        features = random_features("vgg16", width=2).to(device)
        trainer = StyleTrainer(features, drawn(3, 16, 16), RECIPE)
        loss = trainer.loss(model, (Tensor(x).to(device),))
        loss.backward()
        assert {p.grad.device for p in model.parameters()} == {device}
        return loss.item(), fast_style(model, x[0])

    with use_kernels("reference"):
        loss, made = values("cuda")
        expected, here = values("cpu")
    assert loss == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(made, here, atol=1e-3)
