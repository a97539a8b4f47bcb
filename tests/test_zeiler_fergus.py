"""Projections of a VGG's units: against gradients, loops, and networks small enough to know."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import Tensor, nn
from minidl.data import ArrayDataset
from minidl.errors import ArgumentError, ShapeError
from minidl.models.vgg import VGG
from minidl.tasks.units.masking import selective_units
from minidl.tasks.units.projection import RULES, project, strongest
from tests import strict_cupy

LAYERS = ("conv1_2", "relu1_2", "pool1", "conv2_1", "relu2_2", "pool2", "relu3_1")


def net(batch_norm: bool = False, seed: int = 2, **options) -> VGG:
    """A float64 VGG of three stages whose statistics, scales and biases are all at work."""
    rng = np.random.default_rng(seed)
    vgg = VGG((2, 2, 1), batch_norm, width=3, hidden=4, num_classes=2, **options)
    for module in vgg.features:
        for name in ("weight", "bias", "running_mean", "running_var"):
            array = getattr(module, name, None)
            if array is not None:
                drawn = rng.standard_normal(array.shape) * (0.4 if name == "weight" else 0.2)
                array.data = drawn**2 + 0.8 if name == "running_var" else drawn
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data += np.where(np.arange(module.num_features) % 3, 1, -1)
    return vgg


def photos(n: int = 2, h: int = 14, w: int = 11, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 3, h, w))


# --- the three rules ---


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch norm"])
@pytest.mark.parametrize("ceil_mode", [False, True], ids=["floor", "ceil"])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_gradient_rule_is_the_gradient(layer, ceil_mode, batch_norm):
    vgg = net(batch_norm, ceil_mode=ceil_mode)
    seen = project(vgg, photos(), layer, 1, rule="gradient")
    x = Tensor(photos()).requires_grad_()
    activations = F.flatten(vgg.eval().taps(x, [layer])[layer][:, 1], 1).max(axis=1)
    (expected,) = minidl.grad(activations.sum(), x)
    assert np.abs(expected.numpy()).max() > 1e-3
    np.testing.assert_allclose(seen.activation, activations.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(seen.pixels.numpy(), expected.numpy(), rtol=0, atol=1e-12)


def by_loops(vgg: VGG, image: np.ndarray, layer: str, unit: int, rule: str) -> np.ndarray:
    """One image's projection, (3, H, W), value by value; strides are VGG's."""
    x, trail = image, []
    for name, module in zip(vgg.layer_names, vgg.features, strict=False):
        trail.append((module, x))
        c, h, w = x.shape
        if isinstance(module, nn.Conv2d):
            y = np.zeros((module.out_channels, h, w))
            y += module.bias.data[:, None, None]
            for i, j, k, l in np.ndindex(h, w, 3, 3):
                if 0 <= i + k - 1 < h and 0 <= j + l - 1 < w:
                    y[:, i, j] += module.weight.data[:, :, k, l] @ x[:, i + k - 1, j + l - 1]
        elif isinstance(module, nn.BatchNorm2d):
            y = (x - module.running_mean.numpy()[:, None, None]) * factor(module)
            y += module.bias.data[:, None, None]
        elif isinstance(module, nn.MaxPool2d):
            y = np.zeros((c, h // 2, w // 2))
            for i, j in np.ndindex(h // 2, w // 2):
                y[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((1, 2))
        else:
            y = np.maximum(x, 0)
        x = y
        if name == layer:
            break
    signal = np.zeros(x.shape)
    at = (unit, *np.unravel_index(x[unit].argmax(), x[unit].shape))
    signal[at] = 1 if rule == "gradient" else x[at]
    for module, x in reversed(trail):
        signal = down_by_loops(module, x, signal, rule)
    return signal


def factor(norm: nn.BatchNorm2d) -> np.ndarray:
    return (norm.weight.data / np.sqrt(norm.running_var.numpy() + norm.eps))[:, None, None]


def down_by_loops(module, x: np.ndarray, signal: np.ndarray, rule: str) -> np.ndarray:
    c, h, w = x.shape
    if isinstance(module, nn.BatchNorm2d):
        return signal * factor(module)
    below = np.zeros((c, h, w))
    if isinstance(module, nn.Conv2d):
        for i, j, k, l in np.ndindex(h, w, 3, 3):
            if 0 <= i + k - 1 < h and 0 <= j + l - 1 < w:
                weight = module.weight.data[:, :, k, l]
                below[:, i + k - 1, j + l - 1] += weight.T @ signal[:, i, j]
    elif isinstance(module, nn.MaxPool2d):
        for d, i, j in np.ndindex(*signal.shape):
            window = x[d, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            k, l = np.unravel_index(window.argmax(), window.shape)
            below[d, 2 * i + k, 2 * j + l] = signal[d, i, j]
    else:
        for at in np.ndindex(c, h, w):
            passes = {"deconvnet": signal[at] > 0, "gradient": x[at] > 0,
                      "guided": signal[at] > 0 and x[at] > 0}
            below[at] = signal[at] if passes[rule] else 0
    return below


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch norm"])
def test_projections_agree_with_loops(rule, batch_norm):
    vgg = net(batch_norm)
    seen = project(vgg, photos(), "relu3_1", 2, rule).pixels.numpy()
    expected = [by_loops(vgg, image, "relu3_1", 2, rule) for image in photos()]
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-12)


def test_the_rules_differ():
    seen = [project(net(), photos(), "relu3_1", 2, rule) for rule in RULES]
    a = seen[0].activation[:, None, None, None]
    maps = [seen[0].pixels.numpy(), seen[1].pixels.numpy() * a, seen[2].pixels.numpy()]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(maps[i] - maps[j]).max() > 1e-3


def by_hand() -> VGG:
    """Two stages of 1x1 windows within 3x3 ones: the colours' sums are easily followed."""
    vgg = VGG((1, 1), width=2, hidden=1, num_classes=1)
    first, second = (m for m in vgg.features if isinstance(m, nn.Conv2d))
    for conv in (first, second):
        conv.weight.data = np.zeros(conv.weight.shape)
        conv.bias.data = np.zeros(conv.bias.shape)
    first.weight.data[:, :, 1, 1] = [[1, 0, -1], [0, 2, 0]]  # red - blue; twice green
    second.weight.data[0, :, 1, 1] = [1, -1]
    return vgg


def test_a_projection_that_is_known():
    image = np.zeros((1, 3, 4, 4))
    image[0, :, 1, 2] = 5, 1, 1  # channels 4 and 2: the top is 4 - 2
    image[0, :, 0, 3] = 0, 0, 9  # wins nowhere: red - blue is negative
    image[0, :, 1, 3] = 0, 0.5, 0
    seen = project(by_hand(), image, "relu2_1", 0)
    assert seen.activation.tolist() == [2] and seen.place.tolist() == [[0, 1]]
    expected = np.zeros((1, 3, 4, 4))
    # 2 times (1, -1) at the switches, which rectified is (2, 0); times (1, 0, -1).
    expected[0, :, 1, 2] = 2, 0, -2
    np.testing.assert_array_equal(seen.pixels.numpy(), expected)
    gradient = project(by_hand(), image, "relu2_1", 0, "gradient").pixels.numpy()
    # Here (1, -1) passes, since both channels are active: (1, 0, -1) - (0, 2, 0).
    assert gradient[0, :, 1, 2].tolist() == [1, -2, -1]
    assert np.abs(gradient).sum() == 4


def test_biases_are_not_used_on_the_way_down():
    image = np.zeros((1, 3, 4, 4))
    image[0, :, 1, 2] = 5, 1, 1
    vgg = by_hand()
    before = project(vgg, image, "conv2_1", 0)
    vgg.features[3].bias.data[0] = 10
    after = project(vgg, image, "conv2_1", 0, place=before.place[0])
    assert after.activation[0] == before.activation[0] + 10
    scaled = before.pixels.numpy() * after.activation[0] / before.activation[0]
    np.testing.assert_allclose(after.pixels.numpy(), scaled, rtol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_batch_norm_is_folded_into_the_filters(rule):
    normed, plain = net(batch_norm=True), net()
    convs = [m for m in plain.features if isinstance(m, nn.Conv2d)]
    pairs = [m for m in normed.features if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))]
    for conv, old, norm in zip(convs, pairs[::2], pairs[1::2], strict=True):
        scale = factor(norm)[:, 0, 0]
        conv.weight.data = old.weight.data * scale[:, None, None, None]
        shift = (old.bias.data - norm.running_mean.numpy()) * scale
        conv.bias.data = shift + norm.bias.data
    for layer in ("relu1_2", "relu3_1"):
        a, b = (project(vgg, photos(), layer, 0, rule) for vgg in (normed, plain))
        np.testing.assert_allclose(a.activation, b.activation, rtol=1e-10)
        np.testing.assert_allclose(a.pixels.numpy(), b.pixels.numpy(), rtol=0, atol=1e-10)


def test_a_network_in_training_is_used_as_in_evaluation_and_left_as_it_was():
    vgg = net(batch_norm=True).train()
    mean = vgg.features[1].running_mean.numpy().copy()
    seen = project(vgg, photos(), "relu2_1", 0).pixels.numpy()
    assert vgg.training and all(module.training for module in vgg.features)
    np.testing.assert_array_equal(vgg.features[1].running_mean.numpy(), mean)
    alone = project(vgg, photos()[:1], "relu2_1", 0).pixels.numpy()
    np.testing.assert_allclose(alone, seen[:1], rtol=0, atol=1e-12)


# --- places and boxes ---


@pytest.mark.parametrize("layer", LAYERS)
def test_the_box_holds_the_gradient_and_is_no_larger_than_it_must(layer):
    vgg = net()
    for module in vgg.features:  # all paths open, all windows positive
        if isinstance(module, nn.Conv2d):
            module.weight.data = np.abs(module.weight.data) + 0.1
            module.bias.data = np.abs(module.bias.data)
    union = np.zeros((14, 11), bool)
    for seed in range(60):  # switches differ from image to image
        seen = project(vgg, np.abs(photos(1, seed=seed)), layer, 0, "gradient", place=(1, 1))
        union |= np.abs(seen.pixels.numpy()[0]).sum(0) > 0
    top, left, bottom, right = seen.box[0]
    rows, columns = np.flatnonzero(union.any(1)), np.flatnonzero(union.any(0))
    assert [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1] == [top, left, bottom, right]


def test_the_boxes_of_vgg16_are_the_published_ones():
    vgg = VGG((2, 2, 3, 3), width=1, hidden=1, num_classes=1)
    x = np.zeros((1, 3, 224, 224), np.float32)
    for layer, size in (("pool1", 6), ("pool2", 16), ("pool3", 44), ("pool4", 100)):
        top, left, bottom, right = project(vgg, x, layer, 0, place=(7, 7)).box[0]
        assert bottom - top == right - left == size


def test_each_image_has_the_place_that_was_asked_for():
    places = np.array([[0, 2], [3, 1]])
    seen = project(net(), photos(), "conv2_1", 2, place=places)
    maps = net().eval().taps(Tensor(photos()), ["conv2_1"])["conv2_1"].detach().numpy()
    np.testing.assert_array_equal(seen.place, places)
    np.testing.assert_allclose(seen.activation, [maps[0, 2, 0, 2], maps[1, 2, 3, 1]], rtol=1e-12)


def test_projections_are_the_same_on_cupy_arrays(monkeypatch):
    strict_cupy.install(monkeypatch)
    images = photos().astype(np.float32)
    with minidl.use_kernels("reference"):
        there = net(batch_norm=True).to("cuda")
        found = strongest(there, images, "relu2_1", units=[3, 1])
        for rule in RULES:
            seen = project(there, images, "relu2_1", 3, rule)
            assert seen.pixels.device == "cuda"
            here = project(net(batch_norm=True), images, "relu2_1", 3, rule)
            np.testing.assert_allclose(seen.pixels.numpy(), here.pixels.numpy(), rtol=1e-9)
            np.testing.assert_array_equal(seen.place, here.place)
    alike = strongest(net(batch_norm=True), images, "relu2_1", units=[3, 1])
    np.testing.assert_array_equal(found.image, alike.image)


# --- the strongest of a set ---


@pytest.mark.parametrize("as_dataset", [False, True], ids=["array", "dataset"])
def test_the_strongest_images_are_found_in_batches(as_dataset):
    images = photos(11)
    given = ArrayDataset(images, np.zeros(11)) if as_dataset else images
    found = strongest(net(), given, "relu2_2", units=[4, 0], count=3, batch=4)
    maps = net().eval().taps(Tensor(images), ["relu2_2"])["relu2_2"].detach().numpy()
    for row, unit in enumerate([4, 0]):
        best = np.sort(maps[:, unit].max((1, 2)))[::-1][:3]
        np.testing.assert_allclose(found.activation[row], best, rtol=1e-12)
        for image, place, value in zip(found.image[row], found.place[row], best, strict=True):
            assert maps[(image, unit, *place)] == pytest.approx(value, rel=1e-12)


def test_a_set_smaller_than_the_count_is_given_whole():
    found = strongest(net(), photos(2), "conv1_1")
    assert found.image.shape == (3, 2) and found.place.shape == (3, 2, 2)


# --- errors ---


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"layer": "relu9_1"}, r"no layer 'relu9_1'.*\n.*conv1_1, relu1_1"),
        ({"layer": "fc6"}, "no layer 'fc6' with a map"),
        ({"unit": 12}, r"no unit 12\n.*12 channels, 0 to 11"),
        ({"unit": -1}, "no unit -1"),
        ({"rule": "magic"}, "unknown rule 'magic'"),
        ({"place": (3, 0)}, "map is 3 x 2, received"),
        ({"place": (0.5, 0)}, "a place is a row and a column"),
    ],
)
def test_what_cannot_be_is_refused(change, text):
    asked = {"layer": "relu3_1", "unit": 0} | change
    with pytest.raises(ArgumentError, match=text):
        project(net(), photos(), **asked)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"must be \(N, 3, H, W\)\n.*\(3, 14, 11\)"):
        project(net(), photos()[0], "relu1_1", 0)


def test_average_pooling_has_no_switches():
    vgg = net(pooling="average")
    assert project(vgg, photos(), "relu1_2", 0).pixels.shape == (2, 3, 14, 11)
    with pytest.raises(ArgumentError, match=r"pool1 is an average pooling.*\n.*pooling=\"max\""):
        project(vgg, photos(), "relu2_1", 0)


@pytest.mark.parametrize("change", [{"count": 0}, {"batch": 0}, {"images": photos(2)[:0]}])
def test_a_search_for_nothing_is_refused(change):
    with pytest.raises(ArgumentError, match="at least 1"):
        strongest(**({"vgg": net(), "images": photos(), "layer": "relu1_1"} | change))


def test_units_of_a_search_must_exist():
    with pytest.raises(ArgumentError, match=r"strongest: relu1_1 has no unit 3"):
        strongest(net(), photos(), "relu1_1", units=[3])


def test_selective_units_are_judged_by_their_nine_strongest_images():
    """More than nine are given; nine come back, in order, of the units with the largest lead."""
    minidl.manual_seed(0)
    vgg = VGG((1, 1), width=6, hidden=8, num_classes=3).eval()
    images = np.random.default_rng(0).standard_normal((14, 3, 12, 12)).astype(np.float32)
    found = selective_units(vgg, images, "relu2_1", 4)
    assert found.best.activation.shape == (4, 9)
    assert (np.diff(found.best.activation, axis=1) <= 0).all()
    every = strongest(vgg, images, "relu2_1", count=14).activation
    leads = np.where(every[:, 8] > 0, every[:, :9].mean(1) / every.mean(1), 0)
    assert found.units == list(np.argsort(-leads, kind="stable")[:4])
