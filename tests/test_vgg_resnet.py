"""VGG and ResNet: published sizes, taps, and the same numbers as PyTorch through a weight file."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import Tensor, nn, no_grad
from minidl.errors import ArgumentError, CheckpointError
from minidl.files.known_weights import verify
from minidl.files.pretrained import load_weights
from minidl.files.serialize import save_arrays, save_tree
from minidl.models.resnet import BLOCKS_18, BLOCKS_34, BasicBlock, ResNet, resnet18, resnet34
from minidl.models.vgg import STAGES_16, STAGES_19, VGG, normalise, vgg16, vgg19
from minidl.nn import init
from tests import strict_cupy
from tests.torch_writer import saved, zip_file

narrow_vgg = partial(VGG, width=4, hidden=8, num_classes=5)
narrow_resnet = partial(ResNet, width=4, num_classes=5)


def images(n: int = 2, h: int = 36, w: int = 40) -> Tensor:
    return Tensor(np.random.default_rng(0).standard_normal((n, 3, h, w), np.float32))


@pytest.fixture
def undrawn(monkeypatch):
    """Weights stay the zeros they are made of, which take no memory until they are read."""
    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(init, name, lambda x, *args, **kwargs: x)


# --- published sizes ---


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (vgg16, 138_357_544), (vgg19, 143_667_240),
        (partial(vgg16, True), 138_365_992), (partial(vgg19, True), 143_678_248),
        (resnet18, 11_689_512), (resnet34, 21_797_672),
    ],
    ids=["vgg16", "vgg19", "vgg16_bn", "vgg19_bn", "resnet18", "resnet34"],
)
def test_networks_have_the_published_number_of_parameters(undrawn, build, count):
    assert sum(p.size for p in build().parameters()) == count


@pytest.mark.parametrize(("build", "count"), [(vgg16, 14_714_688), (vgg19, 20_024_384)])
def test_vgg_features_have_the_published_number_of_parameters(undrawn, build, count):
    assert sum(p.size for p in build().features.parameters()) == count


CONVOLUTIONS = {
    (vgg16, False): [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
    (vgg19, False): [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34],
    (vgg16, True): [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40],
    (vgg19, True): [0, 3, 7, 10, 14, 17, 20, 23, 27, 30, 33, 36, 40, 43, 46, 49],
}


@pytest.mark.parametrize(("build", "batch_norm"), CONVOLUTIONS)
def test_vgg_has_torchvisions_names(build, batch_norm):
    model = build(batch_norm, width=1, hidden=2)
    convolutions = CONVOLUTIONS[build, batch_norm]
    expected = {f"features.{i}.{part}" for i in convolutions for part in ("weight", "bias")}
    if batch_norm:
        parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        expected |= {f"features.{i + 1}.{part}" for i in convolutions for part in parts}
    expected |= {f"classifier.{i}.{part}" for i in (0, 3, 6) for part in ("weight", "bias")}
    assert set(model.state_dict()) == expected
    by_name = dict(zip(model.layer_names, model.features, strict=False))
    assert by_name["conv4_2"] is model.features[convolutions[8 if build is vgg16 else 9]]


def test_resnet_has_torchvisions_names():
    names = set(ResNet((1, 2), width=2, num_classes=3).state_dict())
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"conv1.weight", "fc.weight", "fc.bias", *(f"bn1.{part}" for part in norm)}
    for block in ("layer1.0", "layer2.0", "layer2.1"):
        expected |= {f"{block}.conv1.weight", f"{block}.conv2.weight"}
        expected |= {f"{block}.bn{i}.{part}" for i in (1, 2) for part in norm}
    expected |= {"layer2.0.downsample.0.weight"}
    expected |= {f"layer2.0.downsample.1.{part}" for part in norm}
    assert names == expected


def test_sizes_at_224_are_those_of_the_tables():
    x = Tensor(np.zeros((1, 3, 224, 224), np.float32))
    with no_grad():
        pools = VGG(width=1, hidden=2).taps(x, [f"pool{i}" for i in range(1, 6)])
        resnet = narrow_resnet(width=1).eval()
        layers = resnet.taps(x, resnet.layer_names)
    assert [t.shape[1:] for t in pools.values()] == [
        (1, 112, 112), (2, 56, 56), (4, 28, 28), (8, 14, 14), (8, 7, 7)
    ]
    assert [t.shape[1:] for t in list(layers.values())[2:]] == [
        (1, 112, 112), (1, 56, 56), (1, 56, 56), (2, 28, 28), (4, 14, 14), (8, 7, 7), (8, 1, 1)
    ]


@pytest.mark.parametrize("build", [narrow_vgg, narrow_resnet])
def test_any_image_size_gives_scores_and_gradients_arrive_everywhere(build):
    model = build()
    scores = model(images())
    assert scores.shape == (2, 5)
    F.square(scores).mean().backward()
    assert all(p.grad is not None and np.isfinite(p.grad.data).all() for p in model.parameters())


# --- taps and options ---


def test_vgg_taps_are_what_the_layers_put_out():
    model, x = narrow_vgg(batch_norm=True).eval(), images()
    names = ["relu4_2", "conv1_1", "bn3_3", "pool3", "fc7", "fc8"]
    taps = model.taps(x, iter(names))
    assert list(taps) == names
    np.testing.assert_array_equal(taps["conv1_1"].data, model.features[0](x).data)
    np.testing.assert_array_equal(taps["pool3"].data, model.features[:24](x).data)
    np.testing.assert_array_equal(taps["relu4_2"].data, model.features[:30](x).data)
    np.testing.assert_array_equal(taps["fc8"].data, model(x).data)
    assert taps["conv1_1"].data.min() < 0 == taps["relu4_2"].data.min()


@pytest.mark.parametrize(
    ("build", "name", "later"),
    [(narrow_vgg, "relu2_1", "features"), (narrow_resnet, "layer1", "layer2")],
)
def test_taps_go_no_further_than_they_must(build, name, later):
    model = build()
    ran: list[nn.Module] = []
    part = getattr(model, later)
    for module in part[7:] if later == "features" else [part]:
        module.register_forward_hook(lambda module, inputs, output: ran.append(module))
    assert set(model.taps(images(), [name])) == {name}
    assert ran == []
    assert model.taps(images(), []) == {}
    model(images())
    assert ran != []


@pytest.mark.parametrize("build", [narrow_vgg, narrow_resnet])
def test_unknown_taps_are_refused_with_the_names_that_there_are(build):
    with pytest.raises(ArgumentError, match=r"'conv9_1'(.|\n)*conv1"):
        build().taps(images(), ["conv9_1"])


def test_gradients_flow_from_taps_to_the_image():
    x = images()
    x.requires_grad_()
    taps = narrow_vgg(pooling="average").taps(x, ["relu3_1", "conv4_2"])
    (F.square(taps["relu3_1"]).mean() + F.square(taps["conv4_2"]).mean()).backward()
    assert x.grad is not None and np.abs(x.grad.data).max() > 0


def test_average_pooling_and_ceil_mode_change_the_pools_alone():
    x = Tensor(np.random.default_rng(0).random((1, 3, 10, 10), np.float32))
    for pooling in ("max", "average"):
        taps = narrow_vgg(pooling=pooling, ceil_mode=True).taps(x, ["relu1_2", "pool1", "pool2"])
        blocks = taps["relu1_2"].data.reshape(1, 4, 5, 2, 5, 2)
        expected = blocks.max((3, 5)) if pooling == "max" else blocks.mean((3, 5))
        np.testing.assert_allclose(taps["pool1"].data, expected, rtol=1e-6)
        assert taps["pool2"].shape[2:] == (3, 3)  # 5 rounded up, as in Caffe
    assert narrow_vgg().taps(x, ["pool2"])["pool2"].shape[2:] == (2, 2)
    with pytest.raises(ArgumentError, match="median"):
        narrow_vgg(pooling="median")


def test_random_weights_say_that_they_are_random(tmp_path):
    for model in (narrow_vgg(), narrow_resnet()):
        assert "pretrained=False" in repr(model) and model.pretrained is False
        save_arrays(tmp_path / "w.safetensors", model.state_dict())
        load_weights(model, tmp_path / "w.safetensors")
        assert "pretrained=True" in repr(model)


def test_a_residual_block_of_scale_0_is_the_identity():
    model = narrow_resnet(zero_init_residual=True).eval()
    x = Tensor(np.random.default_rng(0).random((1, 4, 6, 6), np.float32))
    np.testing.assert_array_equal(model.layer1(x).data, x.data)
    assert np.abs(narrow_resnet().eval().layer1(x).data - x.data).max() > 0.1


def test_initial_weights_keep_the_variance_of_gradients():
    conv = VGG((1,), width=64, hidden=8).features[0]
    assert conv.weight.data.std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    fc6 = VGG((1,), width=8, hidden=64).classifier[0]
    assert fc6.weight.data.std() == pytest.approx(0.01, rel=0.05)
    assert not conv.bias.data.any() and not fc6.bias.data.any()
    widening = BasicBlock(16, 64, stride=2).conv1
    assert widening.weight.data.std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)


def test_images_are_normalised_as_torchvision_and_as_caffe_do():
    x = Tensor(np.full((1, 3, 1, 2), 0.5, np.float32) * np.float32([[[[0, 1]]]]))
    torchvision = normalise(x).data[0]
    np.testing.assert_allclose(torchvision[0], [[-0.485 / 0.229, 0.015 / 0.229]], rtol=1e-5)
    red = Tensor(np.float32([1, 0, 0]).reshape(1, 3, 1, 1))
    caffe = normalise(red, "caffe").data.ravel()
    np.testing.assert_allclose(caffe, [-103.939, -116.779, 255 - 123.68], rtol=1e-6)
    assert caffe.dtype == np.float32
    for wrong in ((x, "keras"), (x[:, :2], "caffe")):
        with pytest.raises(ArgumentError, match="normalise"):
            normalise(*wrong)


# --- other code that fills arrays ---


@pytest.mark.parametrize("build", [partial(VGG, (1, 1)), partial(ResNet, (1, 1))])
def test_networks_run_on_the_emulated_kernels(build):
    model = build(width=2, num_classes=3, **({"hidden": 4} if build.func is VGG else {})).eval()
    x = images(1, 12, 14)
    expected = model(x).data
    with minidl.use_kernels("emulated"):
        got = model(x)
        F.cross_entropy(got, np.array([1])).backward()
    np.testing.assert_allclose(got.data, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("build", [narrow_vgg, narrow_resnet])
def test_networks_move_to_a_device(build, monkeypatch, tmp_path):
    strict_cupy.install(monkeypatch)
    model = build()
    save_arrays(tmp_path / "w.safetensors", model.state_dict())
    with minidl.use_kernels("reference"):
        model.eval().to("cuda")
        load_weights(model, tmp_path / "w.safetensors")
        x = normalise(images(1, 32, 32).to("cuda"))
        assert model(x).device == "cuda"


# --- weight files ---


def weight_file(folder, state: dict, name: str = "net") -> str:
    """A zip container under a name that carries its SHA-256 prefix."""
    data = zip_file({key: saved(value) for key, value in state.items()})
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    path.write_bytes(data)
    return path


def test_a_weight_file_is_verified_against_its_name(tmp_path):
    path = weight_file(tmp_path, narrow_resnet().state_dict())
    assert verify(path) == path.stem[-8:]
    other = path.with_name("resnet18-f37072fd.pth")
    other.write_bytes(path.read_bytes())
    before = (model := narrow_resnet()).state_dict()
    with pytest.raises(CheckpointError, match="begins with f37072fd"):
        load_weights(model, other)
    assert all((before[name] == value).all() for name, value in model.state_dict().items())
    assert model.pretrained is False
    with pytest.raises(CheckpointError, match="No such file"):
        verify(tmp_path / "gone-01234567.pth")


def test_a_name_without_a_prefix_is_not_verified(tmp_path):
    path = weight_file(tmp_path, {"a": np.zeros(1)}).rename(tmp_path / "net.pth")
    assert verify(path) == ""


def test_weights_from_before_batches_were_counted_load(tmp_path):
    model = narrow_resnet()
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("tracked")}
    report = load_weights(narrow_resnet(), weight_file(tmp_path, state))
    assert report.missing_keys == report.unexpected_keys == []
    del state["fc.bias"]
    with pytest.raises(CheckpointError, match=r"missing: fc\.bias"):
        load_weights(narrow_resnet(), weight_file(tmp_path, state))
    assert load_weights(model, weight_file(tmp_path, state), strict=False).missing_keys == [
        "fc.bias"
    ]


def test_weights_may_be_a_part_of_a_file(tmp_path):
    model, other = narrow_resnet(), narrow_resnet()
    save_tree(tmp_path / "c.safetensors", {"epoch": 3, "state_dict": model.state_dict()})
    save_tree(tmp_path / "d.safetensors", {"epoch": 3, "mine": model.state_dict()})
    with pytest.raises(CheckpointError, match=r"holds 'epoch', 'mine'(.|\n)*part="):
        load_weights(other, tmp_path / "d.safetensors")
    with pytest.raises(CheckpointError, match="its part 'epoch' is not"):
        load_weights(other, tmp_path / "c.safetensors", part="epoch")
    load_weights(other, tmp_path / "c.safetensors", part="state_dict")
    np.testing.assert_array_equal(other.fc.weight.data, model.fc.weight.data)


# --- with PyTorch ---


def torch_vgg(torch, stages=STAGES_16, batch_norm=False, width=64, hidden=4096, num_classes=1000):
    """torchvision's VGG, of plain torch.nn."""
    layers, inputs = [], 3
    for i, count in enumerate(stages):
        for _ in range(count):
            outputs = width * min(2**i, 8)
            layers.append(torch.nn.Conv2d(inputs, outputs, 3, padding=1))
            layers += [torch.nn.BatchNorm2d(outputs)] if batch_norm else []
            layers.append(torch.nn.ReLU())
            inputs = outputs
        layers.append(torch.nn.MaxPool2d(2, 2))
    linear, relu, drop = torch.nn.Linear, torch.nn.ReLU, torch.nn.Dropout
    classifier = [linear(inputs * 49, hidden), relu(), drop(), linear(hidden, hidden), relu(),
                  drop(), linear(hidden, num_classes)]
    return torch.nn.Sequential(OrderedDict(
        features=torch.nn.Sequential(*layers), avgpool=torch.nn.AdaptiveAvgPool2d((7, 7)),
        flatten=torch.nn.Flatten(), classifier=torch.nn.Sequential(*classifier),
    ))


def torch_resnet(torch, blocks=(2, 2, 2, 2), width=64, num_classes=1000):
    """torchvision's ResNet of basic blocks, of plain torch.nn."""
    conv, norm = partial(torch.nn.Conv2d, bias=False), torch.nn.BatchNorm2d

    class Block(torch.nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1, self.bn1 = conv(inputs, outputs, 3, stride, 1), norm(outputs)
            self.conv2, self.bn2 = conv(outputs, outputs, 3, 1, 1), norm(outputs)
            if stride > 1 or inputs != outputs:
                layers = conv(inputs, outputs, 1, stride), norm(outputs)
                self.downsample = torch.nn.Sequential(*layers)

        def forward(self, x):
            inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(inner + (self.downsample(x) if hasattr(self, "downsample") else x))

    parts = {"conv1": conv(3, width, 7, 2, 3), "bn1": norm(width), "relu": torch.nn.ReLU(),
             "maxpool": torch.nn.MaxPool2d(3, 2, 1)}
    inputs = width
    for i, count in enumerate(blocks):
        outputs, stride = width * 2**i, 1 if i == 0 else 2
        layers = [Block(inputs if j == 0 else outputs, outputs, stride if j == 0 else 1)
                  for j in range(count)]
        parts[f"layer{i + 1}"] = torch.nn.Sequential(*layers)
        inputs = outputs
    parts |= {"avgpool": torch.nn.AdaptiveAvgPool2d(1), "flatten": torch.nn.Flatten(),
              "fc": torch.nn.Linear(inputs, num_classes)}
    return torch.nn.Sequential(OrderedDict(parts))


def check_agreement(torch, theirs, ours, path, x: Tensor, zipped: bool = True) -> None:
    """The same scores, after the weights went through a file."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, buffer in theirs.named_buffers():  # statistics as if it had been trained
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=zipped)
    load_weights(ours, path)
    with torch.no_grad(), no_grad():
        expected = theirs.eval()(torch.from_numpy(x.data)).numpy()
        got = ours.eval()(x).data
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("stages", [STAGES_16, STAGES_19])
def test_vgg_equals_pytorchs(stages, batch_norm, zipped, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    options = {"stages": stages, "batch_norm": batch_norm, "width": 6, "hidden": 16,
               "num_classes": 5}
    theirs, ours = torch_vgg(torch, **options), VGG(**options)
    check_agreement(torch, theirs, ours, tmp_path / "vgg.pth", images(2, 45, 50), zipped)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("blocks", [BLOCKS_18, BLOCKS_34])
def test_resnet_equals_pytorchs(blocks, zipped, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    options = {"blocks": blocks, "width": 6, "num_classes": 5}
    theirs, ours = torch_resnet(torch, **options), ResNet(**options)
    check_agreement(torch, theirs, ours, tmp_path / "resnet.pth", images(2, 45, 50), zipped)


def test_gradients_equal_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    vgg_options = {"stages": (1, 2), "batch_norm": True, "width": 3, "hidden": 8}
    for theirs, ours in (
        (torch_vgg(torch, **vgg_options).eval(), VGG(**vgg_options).eval()),
        (torch_resnet(torch, (1, 1), width=3), ResNet((1, 1), width=3)),
    ):
        ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
        theirs, ours = theirs.double(), ours.to(np.float64)
        x = images(3, 20, 22).data.astype(np.float64)
        theirs(torch.from_numpy(x)).square().sum().backward()
        F.square(ours(Tensor(x))).sum().backward()
        for (name, p), q in zip(theirs.named_parameters(), ours.parameters(), strict=True):
            expected = p.grad.numpy()
            error = np.abs(q.grad.data - expected).max()
            assert error <= 1e-9 * max(np.abs(expected).max(), 1), name


@pytest.mark.slow
@pytest.mark.parametrize("network", ["vgg16", "resnet34"])
def test_full_size_networks_equal_pytorchs(network, undrawn, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if network == "vgg16":
        theirs, ours = torch_vgg(torch), vgg16()
    else:
        theirs, ours = torch_resnet(torch, BLOCKS_34), resnet34()
    check_agreement(torch, theirs, ours, tmp_path / "full.pth", images(1, 224, 224))
