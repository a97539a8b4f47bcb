"""FCN, SegNet and DeconvNet: published sizes, PyTorch's values, and that they can learn."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import Tensor, nn, optim
from minidl.errors import ArgumentError, CheckpointError, ShapeError
from minidl.models import fcn, segnet
from minidl.models.deconvnet import DeconvNet
from minidl.models.fcn import FCN, fcn8s, fcn16s, fcn32s
from minidl.models.segnet import SegNet, SegNetBasic, recompute_statistics
from tests import strict_cupy


def images(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(np.random.default_rng(seed).random(shape, np.float32))


def trained(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters() if p.requires_grad)


def sizes(model: nn.Module, x: Tensor) -> dict[str, tuple[int, ...]]:
    """Height and width of what each layer gives, by the last part of its name."""
    found: dict[str, tuple[int, ...]] = {}
    for path, layer in model.named_modules():
        def note(_layer, _inputs, output, path=path):
            found[path] = found[path.rpartition(".")[2]] = output.shape[2:]

        layer.register_forward_hook(note)
    with minidl.no_grad():
        model(x)
    return found


@pytest.fixture
def unfilled(monkeypatch):
    """Full-size networks whose weights are never touched, so take no memory."""
    for name in ("uniform_", "normal_", "constant_"):
        monkeypatch.setattr(nn.init, name, lambda x, *_, **__: x)


def randomised(model: nn.Module) -> nn.Module:
    """Float64, and nothing left at a starting value that would hide a mistake."""
    draw = np.random.default_rng(1)
    model.to(np.float64)
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        spread = draw.standard_normal(p.shape)
        fan_in = p.size / p.shape[0]
        if p.ndim == 4:
            p.data[...] = spread * (2 / fan_in) ** 0.5
        else:
            p.data[...] = (1 if name.endswith("bn.weight") else 0) + 0.2 * spread
    for name, b in model.named_buffers():
        if name.endswith("running_var"):
            b.data[...] = draw.uniform(0.5, 2, b.shape)
        elif name.endswith("running_mean"):
            b.data[...] = draw.standard_normal(b.shape)
    return model


# --- sizes as published ---


@pytest.mark.parametrize("build, parameters", [
    (fcn32s, 134_346_581), (fcn16s, 134_357_354), (fcn8s, 134_362_751),
    (SegNet, 29_449_355), (SegNetBasic, 1_415_563 + 1_024), (DeconvNet, 251_805_653),
])
def test_network_has_as_many_trained_parameters_as_published(build, parameters, unfilled):
    assert trained(build()) == parameters


def test_segnet_basic_of_the_paper_has_no_biases_of_convolutions(unfilled):
    assert trained(SegNetBasic()) - trained(SegNetBasic(bias=False)) == 8 * 64 + 11


def test_batch_norm_follows_every_layer_of_deconvnet_but_the_scores(unfilled):
    norms = [m for m in DeconvNet().modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 29
    assert sum(2 * m.num_features for m in norms) == 33_408
    assert {m.eps for m in norms} == {1e-9}


def test_batch_norm_of_the_release_starts_from_a_shift_of_a_thousandth():
    for model in (SegNet(width=1 / 64), SegNetBasic(width=1 / 64), DeconvNet(width=1 / 64)):
        shifts = [p.data for n, p in model.named_parameters() if n.endswith("_bn.bias")]
        assert {float(v) for shift in shifts for v in shift} == {float(np.float32(0.001))}


@pytest.mark.parametrize("build, relus", [
    (fcn8s, 15), (SegNet, 25), (SegNetBasic, 4), (DeconvNet, 29),
])
def test_every_layer_but_the_scores_and_segnet_basics_decoder_has_a_relu(build, relus, unfilled):
    assert sum(isinstance(m, nn.ReLU) for m in build().modules()) == relus


def test_segnet_basic_starts_with_the_releases_response_norm():
    norm = SegNetBasic(width=1 / 64).norm
    assert (norm.size, norm.alpha, norm.beta, norm.k) == (5, 1e-4, 0.75, 1.0)
    assert isinstance(SegNetBasic(width=1 / 64, normalise=False).norm, nn.Identity)


@pytest.mark.parametrize("stride, offsets", [(32, (19,)), (16, (5, 27)), (8, (5, 9, 31))])
def test_fcn_crops_follow_from_the_centres_of_the_cells(stride, offsets):
    assert fcn.crop_offsets(stride) == offsets
    assert fcn.crop_offsets(stride, "same") == (0,) * len(offsets)


def test_fcn8s_has_the_sizes_of_the_release():
    found = sizes(fcn8s(width=1 / 64), images(1, 3, 500, 500))
    assert found["conv1_1"] == (698, 698)
    assert [found[f"stages.{i}.pool"][0] for i in range(5)] == [349, 175, 88, 44, 22]
    names = ("fc6", "score_fr", "upscore2", "upscore_pool4", "upscore8")
    assert [found[name][0] for name in names] == [16, 16, 34, 70, 568]
    assert found[""] == (500, 500)


@pytest.mark.parametrize("build, last, size", [
    (fcn32s, "upscore", 544), (fcn16s, "upscore16", 560),
])
def test_coarser_fcns_have_the_sizes_of_the_release(build, last, size):
    found = sizes(build(width=1 / 64), images(1, 3, 500, 500))
    assert (found[last], found[""]) == ((size, size), (500, 500))


@pytest.mark.parametrize("padding", fcn.PADDINGS)
@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("height, width", [(1, 33), (37, 50), (64, 96)])
def test_fcn_scores_every_pixel_of_an_image_of_any_size(stride, padding, height, width):
    model = FCN(4, stride, padding=padding, width=1 / 64)
    with minidl.no_grad():
        assert model(images(2, 3, height, width)).shape == (2, 4, height, width)


@pytest.mark.parametrize("upsampling", segnet.UPSAMPLINGS)
def test_segnet_rounds_up_where_it_pools_and_returns_to_the_same_size(upsampling):
    found = sizes(SegNet(width=1 / 64, upsampling=upsampling), images(1, 3, 360, 480))
    down = [(360, 480), (180, 240), (90, 120), (45, 60), (23, 30)]
    assert [found[f"encoder.{i}"] for i in range(5)] == down
    assert found["middle"] == (12, 15)
    assert [found[f"decoder.{i}"] for i in range(5)] == down[::-1]


def test_segnet_narrows_in_the_last_convolution_of_each_stage_of_the_decoder(unfilled):
    convs = {n.rpartition(".")[2]: m for n, m in SegNet().named_modules()
             if isinstance(m, nn.Conv2d)}
    assert len(convs) == 26
    channels = {n: (m.in_channels, m.out_channels) for n, m in convs.items() if n.endswith("_D")}
    assert [channels[f"conv4_{j}_D"] for j in (3, 2, 1)] == [(512, 512), (512, 512), (512, 256)]
    assert [channels[f"conv2_{j}_D"] for j in (2, 1)] == [(128, 128), (128, 64)]
    assert [channels[f"conv1_{j}_D"] for j in (2, 1)] == [(64, 64), (64, 11)]


def test_segnet_basic_pools_45_rows_to_23_and_back():
    found = sizes(SegNetBasic(width=1 / 64), images(1, 3, 360, 480))
    assert (found["encoder.3"], found["middle"]) == ((45, 60), (23, 30))
    assert (found["decoder.0"], found[""]) == ((45, 60), (360, 480))


@pytest.mark.parametrize("side, top", [(224, 7), (193, 7), (250, 8)])
def test_deconvnet_squeezes_the_image_and_unpools_to_the_sizes_it_had(side, top):
    found = sizes(DeconvNet(width=1 / 64).eval(), images(1, 3, side, side))
    assert found["fc6"] == found["fc7"] == (top - 6, top - 6)
    assert found["fc6-deconv"] == (top, top)
    for i in range(5):
        assert found[f"decoder.{4 - i}"] == found[f"encoder.{i}"]
    assert found[""] == (side, side)


def test_deconvnet_refuses_an_image_that_fc6_does_not_fit_into():
    with pytest.raises(ShapeError, match="at least 193 pixels"):
        DeconvNet(width=1 / 64)(images(2, 3, 224, 192))


def test_deconvnet_refuses_to_train_on_one_image_whose_fc6_is_one_pixel():
    with pytest.raises(ShapeError, match="more than one value per channel"):
        DeconvNet(width=1 / 64, window=1)(images(1, 3, 32, 32))


def test_deconvnet_mirrors_the_channels_of_the_encoder(unfilled):
    layers = {n.rpartition(".")[2]: m for n, m in DeconvNet().named_modules()
              if isinstance(m, nn.ConvTranspose2d)}
    outputs = [layers[f"deconv{i}_{j}"].out_channels
               for i, last in ((5, 3), (4, 3), (3, 3), (2, 2), (1, 2)) for j in range(1, last + 1)]
    assert outputs == [512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 64]


# --- enlarging ---


@pytest.mark.parametrize("upsampling, learned", [
    ("release", set()), ("paper", {"upscore2", "upscore_pool4"}),
    ("learned", {"upscore2", "upscore_pool4", "upscore8"}),
])
def test_fcn_trains_the_enlargements_that_the_option_names(upsampling, learned):
    model = fcn8s(5, upsampling=upsampling, width=1 / 64)
    ups = {n: m for n, m in model.named_modules() if isinstance(m, nn.ConvTranspose2d)}
    assert set(ups) == {"upscore2", "upscore_pool4", "upscore8"}
    assert {n for n, m in ups.items() if m.weight.requires_grad} == learned
    x = images(1, 5, 3, 4)
    quarter = np.array([0.25, 0.75, 0.75, 0.25], np.float32)
    np.testing.assert_allclose(ups["upscore2"].weight.data[0, 0], np.outer(quarter, quarter))
    fixed = fcn8s(5, width=1 / 64)
    np.testing.assert_allclose(ups["upscore8"](x).data, fixed.upscore8(x).data, atol=1e-6)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_fcn_without_padding_enlarges_each_score_to_where_its_cell_lies(stride):
    """Each score is the row of its cell's centre; enlarged, each pixel must find its own row."""
    model = FCN(1, stride, padding="same", width=1 / 64)
    h, w = 96 // stride, 128 // stride
    centres = (np.arange(h) + 0.5) * stride - 0.5
    ramp = Tensor(np.repeat(centres[None, None, :, None], w, 3))
    enlarged = getattr(model.to(np.float64), model.last)(ramp).data[0, 0]
    inside = slice(stride, -stride)
    np.testing.assert_allclose(enlarged[inside, 64], np.arange(96.0)[inside])


CENTRES = {"score_fr": (32, 12.5), "score_pool4": (16, -91.5), "score_pool3": (8, -95.5)}
"""Of the release's maps: pixels between cells, and where the centre of the first one lies."""


@pytest.mark.parametrize("padding", fcn.PADDINGS)
@pytest.mark.parametrize("stride, layer", [
    (stride, layer) for stride in (8, 16, 32) for layer in CENTRES if CENTRES[layer][0] >= stride
])
def test_fcn_brings_the_scores_of_each_map_to_the_pixels_they_are_of(stride, layer, padding):
    """One map holds the row of each of its cells, the others 0; each pixel must find its row."""
    step, centre = CENTRES[layer]
    if padding == "same":
        centre = (step - 1) / 2
    model = FCN(1, stride, padding=padding, width=1 / 64).to(np.float64)

    def rows(_layer, _inputs, y):
        found = centre + step * np.arange(y.shape[2])
        return Tensor(np.broadcast_to(found[:, None], y.shape).copy())

    dict(model.named_modules())[layer].register_forward_hook(rows)
    y = model(images(1, 3, 200, 180).astype(np.float64))
    np.testing.assert_allclose(y.data[0, 0, 70:130, 90], np.arange(70, 130))


def test_fcn_with_same_padding_looks_at_as_much_before_a_cell_as_behind_it():
    model = FCN(2, 32, padding="same", width=1 / 64)
    assert sizes(model, images(1, 3, 96, 64))["fc6"] == (3, 2)


def test_fcn_starts_with_scores_of_zero_so_that_skips_change_nothing():
    model = fcn8s(4, width=1 / 64)
    assert not model(images(1, 3, 20, 20)).data.any()


def test_fcn_at_once_scales_the_pools_before_they_are_scored():
    plain, at_once = (FCN(3, 8, once, width=1 / 64) for once in (False, True))
    at_once.load_state_dict(randomised(plain).state_dict())
    at_once.to(np.float64).eval()
    scaled = plain.eval().state_dict()
    for name, share in (("score_pool4", 1e-2), ("score_pool3", 1e-4)):
        scaled[f"{name}.weight"] *= share
    x = images(1, 3, 30, 41).astype(np.float64)
    before = plain(x).data
    plain.load_state_dict(scaled)
    np.testing.assert_allclose(at_once(x).data, plain(x).data, atol=1e-5)
    assert np.abs(before - plain(x).data).max() > 1e-2


@pytest.mark.parametrize("settings", [
    {"stride": 4}, {"padding": "valid"}, {"upsampling": "nearest"},
])
def test_fcn_refuses_settings_it_does_not_know(settings):
    with pytest.raises(ArgumentError, match="choose one of"):
        FCN(3, width=1 / 64, **settings)


def test_segnet_refuses_an_upsampling_it_does_not_know():
    with pytest.raises(ArgumentError, match="choose one of"):
        SegNet(width=1 / 64, upsampling="nearest")


def test_fixed_upsampling_puts_values_at_the_upper_left_of_each_cell():
    model, entered, left = SegNetBasic(classes=2, width=1 / 64, upsampling="fixed"), [], []
    for stage in model.decoder:
        stage.register_forward_hook(lambda _s, inputs, _output: entered.append(inputs[0].data))
        stage.register_forward_hook(lambda _s, _inputs, output: left.append(output.data))
    model(images(1, 3, 20, 14))
    for below, here in zip(left, entered[1:], strict=False):
        h, w = (s // 2 + s % 2 for s in here.shape[2:])
        np.testing.assert_array_equal(here[:, :, ::2, ::2], below[:, :, :h, :w])
        assert not here[:, :, 1::2].any() and not here[:, :, :, 1::2].any()


def test_segnet_puts_values_where_the_pool_found_them_and_zeros_elsewhere():
    model = SegNetBasic(classes=2, width=1 / 64)
    entered = []
    for stage in model.decoder:
        stage[0].register_forward_hook(lambda _layer, inputs, _output: entered.append(inputs[0]))
    found = {}
    model.encoder[0].register_forward_hook(lambda _l, _i, output: found.update(first=output))
    model(images(2, 3, 9, 6))
    last = entered[-1].data
    assert last.shape == (2, 1, 9, 6)
    grid = np.pad(found["first"].data, ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=-np.inf)
    cells = grid.reshape(2, 1, 5, 2, 3, 2)
    largest = (cells == cells.max((3, 5), keepdims=True)).reshape(2, 1, 10, 6)[:, :, :9]
    assert (last[~largest] == 0).all()
    assert (last != 0).any()


# --- PyTorch's values ---


def torch_layers(torch, state, x):
    """Layers of a network by name, with weights of minidl's."""
    T = torch.nn.functional
    s = {name: torch.from_numpy(value) for name, value in state.items()}

    def conv(h, path, **settings):
        return T.conv2d(h, s[f"{path}.weight"], s.get(f"{path}.bias"), **settings)

    def deconv(h, path, **settings):
        return T.conv_transpose2d(h, s[f"{path}.weight"], s.get(f"{path}.bias"), **settings)

    def norm(h, path):
        parts = (s[f"{path}_bn.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return T.batch_norm(h, *parts, eps=1e-9)

    return T, conv, deconv, norm, torch.from_numpy(x.data)


VGG = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))


@pytest.mark.parametrize("upsampling", ["release", "learned"])
def test_fcn8s_equals_pytorchs_with_the_crops_written_out(upsampling):
    torch = pytest.importorskip("torch")
    model = randomised(fcn8s(3, upsampling=upsampling, width=1 / 32)).eval()
    x = images(2, 3, 21, 40).astype(np.float64)
    T, conv, deconv, _, h = torch_layers(torch, model.state_dict(), x)
    pools = []
    for i, last in VGG:
        for j in range(1, last + 1):
            pad = 100 if (i, j) == (1, 1) else 1
            h = T.relu(conv(h, f"stages.{i - 1}.conv{i}_{j}", padding=pad))
        h = T.max_pool2d(h, 2, ceil_mode=True)
        pools.append(h)
    h = T.relu(conv(h, "classifier.fc6"))
    h = conv(T.relu(conv(h, "classifier.fc7")), "score_fr")
    groups = 3 if upsampling == "release" else 1
    for up, skip, offset, pool in (("upscore2", "score_pool4", 5, 3),
                                   ("upscore_pool4", "score_pool3", 9, 2)):
        h = deconv(h, up, stride=2, groups=groups)
        m, n = h.shape[2:]
        h = h + conv(pools[pool], skip)[:, :, offset : offset + m, offset : offset + n]
    h = deconv(h, "upscore8", stride=8, groups=groups)[:, :, 31 : 31 + 21, 31 : 31 + 40]
    np.testing.assert_allclose(model(x).data, h.numpy(), rtol=1e-9, atol=1e-9)


def test_segnet_equals_pytorchs():
    torch = pytest.importorskip("torch")
    model = randomised(SegNet(4, width=1 / 32)).eval()
    x = images(2, 3, 37, 45).astype(np.float64)
    T, conv, _, norm, h = torch_layers(torch, model.state_dict(), x)
    kept = []
    for i, last in VGG:
        for j in range(1, last + 1):
            path = f"encoder.{i - 1}.conv{i}_{j}"
            h = T.relu(norm(conv(h, path, padding=1), path))
        kept.append(h.shape[2:])
        h, index = T.max_pool2d(h, 2, ceil_mode=True, return_indices=True)
        kept.append(index)
    for i, last in reversed(VGG):
        index, size = kept.pop(), kept.pop()
        h = T.max_unpool2d(h, index, 2, output_size=size)
        for j in range(last, 0, -1):
            path = f"decoder.{5 - i}.conv{i}_{j}_D"
            h = conv(h, path, padding=1)
            h = h if (i, j) == (1, 1) else T.relu(norm(h, path))
    assert h.shape == (2, 4, 37, 45)
    np.testing.assert_allclose(model(x).data, h.numpy(), rtol=1e-9, atol=1e-9)


def test_segnet_basic_equals_pytorchs():
    torch = pytest.importorskip("torch")
    model = randomised(SegNetBasic(4, width=1 / 16)).eval()
    x = 100 * images(2, 3, 37, 45).astype(np.float64)
    T, conv, _, norm, h = torch_layers(torch, model.state_dict(), x)
    h, kept = T.local_response_norm(h, 5, 1e-4, 0.75), []
    for i in (1, 2, 3, 4):
        path = f"encoder.{i - 1}.conv{i}"
        h = T.relu(norm(conv(h, path, padding=3), path))
        kept.append(h.shape[2:])
        h, index = T.max_pool2d(h, 2, ceil_mode=True, return_indices=True)
        kept.append(index)
    for i in (4, 3, 2, 1):
        index, size = kept.pop(), kept.pop()
        path = f"decoder.{4 - i}.conv_decode{i}"
        h = norm(conv(T.max_unpool2d(h, index, 2, output_size=size), path, padding=3), path)
    h = conv(h, "decoder.3.conv_classifier")
    np.testing.assert_allclose(model(x).data, h.numpy(), rtol=1e-9, atol=1e-9)


def test_deconvnet_equals_pytorchs():
    torch = pytest.importorskip("torch")
    model = randomised(DeconvNet(4, width=1 / 32, window=2)).eval()
    x = images(2, 3, 70, 45).astype(np.float64)
    T, conv, deconv, norm, h = torch_layers(torch, model.state_dict(), x)
    kept = []
    for i, last in VGG:
        for j in range(1, last + 1):
            path = f"encoder.{i - 1}.conv{i}_{j}"
            h = T.relu(norm(conv(h, path, padding=1), path))
        kept.append(h.shape[2:])
        h, index = T.max_pool2d(h, 2, ceil_mode=True, return_indices=True)
        kept.append(index)
    for path in ("middle.fc6", "middle.fc7"):
        h = T.relu(norm(conv(h, path), path))
    h = T.relu(norm(deconv(h, "middle.fc6-deconv"), "middle.fc6-deconv"))
    for i, last in reversed(VGG):
        index, size = kept.pop(), kept.pop()
        h = T.max_unpool2d(h, index, 2, output_size=size)
        for j in range(1, last + 1):
            path = f"decoder.{5 - i}.deconv{i}_{j}"
            h = T.relu(norm(deconv(h, path, padding=1), path))
    h = conv(h, "decoder.4.seg-score")
    np.testing.assert_allclose(model(x).data, h.numpy(), rtol=1e-9, atol=1e-9)


# --- weights of VGG-16 ---


def vgg16_state(width: float, window: int = 7) -> dict[str, np.ndarray]:
    """Random weights, with torchvision's names."""
    draw = np.random.default_rng(2)
    state, shapes = {}, {}
    plan = fcn.vgg16_plan(3, width)
    layers = [layer for stage in plan for layer in stage]
    for n, (_, c, o) in zip(fcn.VGG16_FEATURES, layers, strict=True):
        shapes[f"features.{n}"] = (o, c, 3, 3)
    top, hidden = layers[-1][2], fcn.scaled(4096, width)
    shapes |= {"classifier.0": (hidden, top * window**2), "classifier.3": (hidden, hidden),
               "classifier.6": (10, hidden)}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = draw.standard_normal(shape).astype(np.float32)
        state[f"{name}.bias"] = draw.standard_normal(shape[0]).astype(np.float32)
    return state


def test_vgg16s_positions_are_those_of_its_convolutions_between_relus_and_pools():
    at, found = 0, []
    for stage in fcn.VGG16_CHANNELS:
        for _ in stage:
            found.append(at)
            at += 2
        at += 1
    assert tuple(found) == fcn.VGG16_FEATURES


@pytest.mark.parametrize("build", [fcn8s, SegNet, DeconvNet])
def test_vgg16_is_copied_in_its_order(build):
    model, state = build(width=1 / 32), vgg16_state(1 / 32)
    model.copy_vgg16(state)
    own = {".".join(n.split(".")[-2:]): p.data for n, p in model.named_parameters()}
    names = [f"conv{i}_{j}" for i, last in VGG for j in range(1, last + 1)]
    for name, n in zip(names, fcn.VGG16_FEATURES, strict=True):
        for kind in ("weight", "bias"):
            np.testing.assert_array_equal(own[f"{name}.{kind}"], state[f"features.{n}.{kind}"])
    if build is not SegNet:
        np.testing.assert_array_equal(own["fc7.weight"][:, :, 0, 0], state["classifier.3.weight"])
        np.testing.assert_array_equal(own["fc7.bias"], state["classifier.3.bias"])


def test_fully_connected_layers_give_the_same_as_convolutions():
    model, state = DeconvNet(width=1 / 32), vgg16_state(1 / 32)
    model.copy_vgg16(state)
    pooled = images(2, 16, 7, 7)
    expected = F.linear(pooled.flatten(1), state["classifier.0.weight"], state["classifier.0.bias"])
    np.testing.assert_allclose(model.middle[0](pooled).data[:, :, 0, 0], expected.data, rtol=1e-4,
                               atol=1e-4)


def test_vgg16_of_other_names_or_shapes_is_refused_and_changes_nothing():
    model, state = fcn8s(width=1 / 32), vgg16_state(1 / 32)
    before = model.state_dict()
    with pytest.raises(CheckpointError, match=r"missing: features\.2\.weight"):
        model.copy_vgg16({n: v for n, v in state.items() if n != "features.2.weight"})
    with pytest.raises(CheckpointError, match=r"wrong shape: classifier\.fc6\.weight"):
        model.copy_vgg16(vgg16_state(1 / 32, window=6))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


# --- dropout that stays, and batch norm's statistics ---


def dropouts(model: nn.Module) -> set[str]:
    return {n for n, m in model.named_modules() if isinstance(m, nn.Dropout)}


def test_bayesian_dropout_stands_where_the_release_has_it():
    assert dropouts(SegNet(width=1 / 64, bayesian=True)) == {
        "after_pool.2", "after_pool.3", "after_pool.4",
        "decoder.0.dropout", "decoder.1.dropout", "decoder.2.dropout",
    }
    assert dropouts(SegNetBasic(width=1 / 64, bayesian=True)) == {
        "after_pool.2", "after_pool.3", "decoder.0.dropout", "decoder.1.dropout",
    }
    assert not dropouts(SegNet(width=1 / 64)) | dropouts(SegNetBasic(width=1 / 64))


def test_posterior_is_the_mean_and_variance_of_draws_and_leaves_the_network_as_it_was():
    model = SegNetBasic(3, bayesian=True, width=1 / 8)
    model.encoder[0].eval()
    modes = [m.training for m in model.modules()]
    state = model.state_dict()
    x = images(2, 3, 16, 16)
    minidl.manual_seed(5)
    mean, variance = model.posterior(x, samples=6)
    assert mean.shape == variance.shape == (2, 3, 16, 16)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean.data.sum(1), 1, rtol=1e-5)
    assert [m.training for m in model.modules()] == modes
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
    for m in model.modules():
        m.training = isinstance(m, nn.Dropout)
    minidl.manual_seed(5)
    draws = np.stack([F.softmax(model(x), 1).data for _ in range(6)]).astype(float)
    np.testing.assert_allclose(mean.data, draws.mean(0), atol=1e-6)
    np.testing.assert_allclose(variance.data, draws.var(0), atol=1e-6)
    assert variance.data.max() > 1e-4


@pytest.mark.parametrize("build", [SegNet, SegNetBasic])
def test_dropout_after_a_pool_reaches_the_logits(build):
    model = build(3, bayesian=True, width=1 / 8)
    x = images(2, 3, 32, 32)
    model.eval()
    assert (model(x).data == model(x).data).all()
    model.after_pool.train()
    assert (model(x).data != model(x).data).any()


def test_posterior_draws_forty_times_and_one_draw_has_no_variance(monkeypatch):
    model, calls = SegNetBasic(3, bayesian=True, width=1 / 16), []
    run = model.forward
    monkeypatch.setattr(model, "forward", lambda x: calls.append(1) or run(x))
    x = images(1, 3, 16, 16)
    assert (model.posterior(x, samples=1)[1].data < 1e-6).all() and len(calls) == 1
    model.posterior(x)
    assert len(calls) == 1 + 40


def test_posterior_of_a_network_without_dropout_is_refused():
    with pytest.raises(ArgumentError, match="bayesian=True"):
        SegNet(width=1 / 64).posterior(images(1, 3, 8, 8))
    with pytest.raises(ArgumentError, match="0 samples"):
        SegNet(bayesian=True, width=1 / 64).posterior(images(1, 3, 8, 8), samples=0)


def test_statistics_are_the_plain_mean_over_one_pass():
    model = SegNetBasic(3, width=1 / 16).eval()
    batches = [images(2, 3, 16, 16, seed=seed) for seed in range(3)]
    recompute_statistics(model, [10 * batches[0]])  # to be forgotten
    recompute_statistics(model, batches)
    norm = model.encoder[0][1]
    first = [model.encoder[0][0](model.norm(x)).data for x in batches]
    means = np.mean([y.mean((0, 2, 3)) for y in first], 0)
    variances = np.mean([y.var((0, 2, 3), ddof=1) for y in first], 0)
    np.testing.assert_allclose(norm.running_mean.data, means, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.running_var.data, variances, rtol=1e-4)
    assert norm.momentum == 0.1
    assert not any(m.training for m in model.modules())


# --- learning ---


def scene(n: int, side: int) -> tuple[Tensor, np.ndarray]:
    """Images in noise with a square of two colours, and labels: outside 0, below 1, above 2.

    Squares lie on a grid of side / 4: the coarsest that a network must resolve.
    """
    draw = np.random.default_rng(3)
    labels, cell = np.zeros((n, side, side), np.int64), side // 4
    for label in labels:
        top, left = draw.integers(0, 3, 2) * cell
        label[top : top + 2 * cell, left : left + 2 * cell] = 1
        label[top : top + cell, left : left + 2 * cell] = 2
    colours = np.array([[0.2, 0.2, 0.3], [0.9, 0.3, 0.2], [0.3, 0.9, 0.2]])
    x = colours[labels].transpose(0, 3, 1, 2) + 0.05 * draw.standard_normal((n, 3, side, side))
    return Tensor(x.astype(np.float32)), labels


LEARNERS = {
    "FCN-8s": (lambda: fcn8s(3, padding="same", upsampling="paper", width=1 / 8), 0.003, 70),
    "SegNet": (lambda: SegNet(3, width=1 / 8), 0.01, 50),
    "SegNet-Basic": (lambda: SegNetBasic(3, width=1 / 4), 0.01, 50),
    "DeconvNet": (lambda: DeconvNet(3, width=1 / 8, window=1, std=0.2), 0.01, 60),
}


def test_deconvnets_decoder_starts_as_the_releases_and_its_encoder_as_he_says():
    """Deviation 0.01 going up, whatever the layer; sqrt(2 / fan-in) going down."""
    minidl.manual_seed(0)
    for given, std in (({}, 0.01), ({"std": 0.3}, 0.3)):
        net = DeconvNet(21, width=1 / 8, window=3, **given)
        layers = {n.rpartition(".")[2]: m for n, m in net.named_modules() if hasattr(m, "weight")}
        up = [m for n, m in layers.items() if "deconv" in n and not n.endswith("_bn")]
        assert len(up) == 1 + 13
        for layer in (*up, layers["seg-score"]):
            assert float(layer.weight.data.std()) == pytest.approx(std, rel=0.2)
            assert not layer.bias.data.any()
        for name, fan_in in (("conv3_2", 32 * 9), ("conv5_1", 64 * 9), ("fc6", 64 * 9)):
            spread = float(layers[name].weight.data.std())
            assert spread == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)


@pytest.mark.parametrize("name", LEARNERS)
def test_network_learns_one_batch_by_heart(name):
    build, rate, steps = LEARNERS[name]
    model = build()
    x, labels = scene(6, 32)
    target = Tensor(labels)
    optimizer = optim.Adam([p for p in model.parameters() if p.requires_grad], rate)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits, target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    right = logits.data.argmax(1) == labels
    assert (labels == 0).mean() == 0.75
    assert right.mean() > 0.98
    assert losses[-1] < 0.1 * losses[0]


TINY = {
    "FCN-8s": lambda: fcn8s(3, padding="same", width=1 / 64),
    "SegNet": lambda: SegNet(3, width=1 / 64, bayesian=True),
    "SegNet-Basic": lambda: SegNetBasic(3, width=1 / 32),
    "DeconvNet": lambda: DeconvNet(3, width=1 / 64, window=1),
}


def gradients(model: nn.Module, x: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
    """Of every parameter, on the CPU, and the logits."""
    minidl.manual_seed(4)
    logits = model(x)
    F.cross_entropy(logits, labels).backward()
    found = {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
    return {"logits": logits.detach().numpy(), **found}


def assert_alike(here: dict[str, np.ndarray], there: dict[str, np.ndarray]) -> None:
    assert here.keys() == there.keys()
    for name, value in here.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(there[name], value, rtol=1e-6, atol=1e-8 * scale + 1e-12,
                                   err_msg=name)


@pytest.mark.parametrize("name", TINY)
def test_network_runs_alike_on_the_emulator(name):
    model = randomised(TINY[name]())
    x, labels = scene(3, 18)
    x = x.astype(np.float64)
    here = gradients(model, x, Tensor(labels))
    model.zero_grad()
    with minidl.use_kernels("emulated"):
        assert_alike(here, gradients(model, x, Tensor(labels)))


@pytest.mark.parametrize("name", TINY)
def test_network_runs_alike_on_cupy_arrays_and_never_waits_for_the_gpu(name, monkeypatch):
    model = randomised(TINY[name]())
    x, labels = scene(3, 18)
    x = x.astype(np.float64)
    with minidl.use_kernels("reference"):
        here = gradients(model, x, Tensor(labels))
        model.zero_grad()
        strict_cupy.install(monkeypatch)
        model.to("cuda")
        strict_cupy.fetched.clear()
        minidl.manual_seed(4)
        logits = model(x.to("cuda"))
        logits.sum().backward()
        assert not strict_cupy.fetched
        model.zero_grad()
        assert_alike(here, gradients(model, x.to("cuda"), Tensor(labels).to("cuda")))


def test_the_released_optimisers_double_the_biases_and_spare_them_from_decay():
    net = SegNet(3, width=1 / 32)
    factors, biases, shifts = segnet.parameter_groups(net, 0.1)
    assert biases["lr"] == 0.2 and "lr" not in factors and "weight_decay" not in factors
    assert biases["weight_decay"] == shifts["weight_decay"] == 0.0
    convolutions = sum(isinstance(m, nn.Conv2d) for m in net.modules())
    assert len(biases["params"]) == convolutions and len(shifts["params"]) == convolutions - 1
    grouped = [id(p) for group in (factors, biases, shifts) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters())
    for net, norms in ((SegNetBasic(3, width=1 / 32), 8), (DeconvNet(3, 1 / 64, window=1), 29)):
        factors, biases, shifts = segnet.parameter_groups(net, 0.1)
        assert biases["lr"] == 0.2 and biases["weight_decay"] == 0.0
        assert len(biases["params"]) == norms + 1  # the scores have no batch norm
        assert len(shifts["params"]) == norms and shifts.keys() == {"params"}  # they decay
        grouped = [id(p) for group in (factors, biases, shifts) for p in group["params"]]
        assert sorted(grouped) == sorted(id(p) for p in net.parameters())
    assert segnet.parameter_groups(SegNetBasic(3, bias=False, width=1 / 32), 0.1)[1]["params"] == []

    net = FCN(3, 8, width=1 / 32)
    weights, biases = fcn.parameter_groups(net, 1e-10)
    assert biases["lr"] == 2e-10 and biases["weight_decay"] == 0.0
    assert all(p.ndim == 1 for p in biases["params"])
    assert all(p.ndim == 4 for p in weights["params"])
    assert len(weights["params"]) + len(biases["params"]) == len(list(net.parameters()))
