"""Losses on VGG's features: each against its formula in NumPy, gradients, bookkeeping."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import Tensor, no_grad, random, use_kernels
from minidl.check import gradcheck
from minidl.data import ArrayDataset, DataLoader
from minidl.data.images import read_image
from minidl.errors import ArgumentError, DataError, ShapeError
from minidl.lecture.pictures import save_png
from minidl.models.crn import split_pictures
from minidl.models.vgg import NORMALISATIONS, denormalise, normalise
from minidl.nn import Conv2d
from minidl.optim import Adam
from minidl.tasks.perceptual import (
    CONVENTIONS,
    RECIPES,
    Convention,
    CRNLoss,
    Features,
    Objective,
    Photographs,
    Recipe,
    adversarial_loss,
    content_loss,
    deepsim_loss,
    diversity_loss,
    gram,
    load_features,
    middle_square,
    normalise_activations,
    random_features,
    recoloured,
    resized,
    restated,
    rgb,
    style_loss,
    variation_loss,
)
from minidl.tasks.perceptual.deepsim import GENERATED, PUBLISHED, REAL, Weights
from minidl.tasks.perceptual.stylise import stylise
from minidl.train import fit
from tests import strict_cupy

rng = np.random.default_rng
DATA = Path(os.environ.get("MINIDL_DATA", Path(__file__).parents[2] / "shared" / "data"))


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return rng(seed).standard_normal(shape)


def picture(h: int = 32, w: int = 40, seed: int = 0) -> np.ndarray:
    return rng(seed).random((3, h, w)).astype(np.float32)


def narrow(**options) -> Features:
    return random_features(width=options.pop("width", 4), **options)


# --- conventions, written again from the sources ---


def by_loops(x: np.ndarray) -> np.ndarray:
    """F F^T of each image, one pair of channels at a time."""
    n, c = x.shape[:2]
    out = np.zeros((n, c, c))
    for k in range(n):
        for i in range(c):
            for j in range(c):
                out[k, i, j] = (x[k, i] * x[k, j]).sum()
    return out


def style_by_hand(name: str, x: np.ndarray, style: np.ndarray) -> float:
    n_l = x.shape[1]
    m_x, m_a = x[0, 0].size, style[0, 0].size
    g, a = by_loops(x), by_loops(style)
    each = []
    for k in range(len(x)):
        match name:
            case "gatys":  # equations 4 and 5, each Gram over its own positions
                e = ((g[k] / m_x - a[0] / m_a) ** 2).sum() / (4 * n_l**2)
            case "gatys-pytorch":
                e = np.mean((g[k] / m_x - a[0] / m_a) ** 2)
            case "jcjohnson" | "pytorch-examples":
                e = np.mean((g[k] / (n_l * m_x) - a[0] / (n_l * m_a)) ** 2)
            case "johnson":
                e = np.linalg.norm(g[k] / (n_l * m_x) - a[0] / (n_l * m_a)) ** 2
            case "relative":
                e = ((g[k] / m_x - a[0] / m_a) ** 2).sum() / ((a[0] / m_a) ** 2).sum()
        each.append(e)
    return float(np.mean(each))


def content_by_hand(name: str, x: np.ndarray, p: np.ndarray) -> float:
    d = (x - p) ** 2
    if name == "gatys":
        return d.sum() / 2 / len(x)
    if name == "relative":
        return float(np.mean([d[k].sum() / (p[k] ** 2).sum() for k in range(len(x))]))
    return d.mean()


@pytest.mark.parametrize("name", CONVENTIONS)
def test_style_loss_is_the_sources_formula(name):
    x, style = drawn(2, 3, 4, 5), drawn(1, 3, 6, 7, seed=1)
    found = style_loss(gram(x, name), gram(style, name), name).item()
    assert found == pytest.approx(style_by_hand(name, x, style), rel=1e-12)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_content_loss_is_the_sources_formula(name):
    x, p = drawn(2, 3, 4, 5), drawn(2, 3, 4, 5, seed=1)
    assert content_loss(x, p, name).item() == pytest.approx(content_by_hand(name, x, p), rel=1e-12)


def test_gatys_is_the_papers_divisor_of_plain_grams_when_sizes_agree():
    x, a = drawn(1, 3, 4, 5), drawn(1, 3, 4, 5, seed=1)
    plain = ((by_loops(x) - by_loops(a)) ** 2).sum() / (4 * 3**2 * 20**2)
    assert style_loss(gram(x), gram(a)).item() == pytest.approx(plain, rel=1e-12)


def test_conventions_differ_as_their_table_says():
    x, a = drawn(1, 8, 4, 5), drawn(1, 8, 4, 5, seed=1)
    value = {n: style_loss(gram(x, n), gram(a, n), n).item() for n in CONVENTIONS}
    assert value["gatys-pytorch"] / value["jcjohnson"] == pytest.approx(8**2)
    assert value["johnson"] / value["jcjohnson"] == pytest.approx(8**2)
    assert value["gatys-pytorch"] / value["gatys"] == pytest.approx(4)


def test_relative_loss_does_not_see_a_layers_factor_and_others_do():
    x, a = drawn(1, 3, 4, 5), drawn(1, 3, 4, 5, seed=1)

    def loss(scale: float, name: str) -> float:
        return style_loss(gram(scale * x, name), gram(scale * a, name), name).item()

    assert loss(1e-3, "relative") == pytest.approx(loss(1, "relative"), rel=1e-9)
    assert loss(1e-3, "gatys") == pytest.approx(1e-12 * loss(1, "gatys"), rel=1e-9)


def test_variation_is_half_the_squared_differences_of_the_interior():
    x = drawn(2, 3, 4, 5)
    total = sum(
        (x[n, c, i + 1, j] - x[n, c, i, j]) ** 2 + (x[n, c, i, j + 1] - x[n, c, i, j]) ** 2
        for n in range(2) for c in range(3) for i in range(3) for j in range(4)
    )
    assert variation_loss(x).item() == pytest.approx(total / 2, rel=1e-12)
    assert variation_loss(x, "relative").item() == pytest.approx(total / 2 / 72, rel=1e-12)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_gradients_are_those_of_finite_differences(name):
    x, p, style = drawn(2, 3, 3, 4), drawn(2, 3, 3, 4, seed=1), drawn(1, 3, 2, 5, seed=2)
    mask = rng(3).random((3, 4))
    gradcheck(lambda x: content_loss(x, p, name), [x])
    gradcheck(lambda x: style_loss(gram(x, name), gram(style, name), name), [x])
    gradcheck(lambda x: style_loss(gram(x, name, mask), gram(style, name), name), [x])
    gradcheck(lambda x: variation_loss(x, name), [x])


def test_the_kernels_give_the_same_loss_and_gradient():
    x = drawn(1, 5, 4, 7).astype(np.float32)
    style = gram(drawn(1, 5, 6, 3, seed=1).astype(np.float32))

    def both() -> tuple[float, np.ndarray]:
        leaf = minidl.tensor(x, requires_grad=True)
        loss = style_loss(gram(leaf), style)
        loss.backward()
        return loss.item(), leaf.grad.numpy()

    value, slope = both()
    with use_kernels("emulated"):
        emulated, emulated_slope = both()
    assert emulated == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(emulated_slope, slope, rtol=1e-4, atol=1e-7)


def test_a_mask_counts_only_its_region():
    x = drawn(1, 3, 4, 6)
    left = np.zeros((4, 6))
    left[:, :2] = 1
    np.testing.assert_allclose(
        gram(x, "gatys", left).numpy(), gram(x[..., :2], "gatys").numpy(), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: content_loss(drawn(1, 2, 3, 3), drawn(1, 2, 3, 4)), "size"),
        (lambda: content_loss(drawn(2, 3, 3), drawn(2, 3, 3)), "axes"),
        (lambda: gram(drawn(1, 2, 3, 3), mask=np.zeros((3, 3))), "not all 0"),
        (lambda: gram(drawn(1, 2, 3, 3), mask=np.ones((2, 3))), "as large"),
        (lambda: style_loss(drawn(1, 2, 2), drawn(1, 3, 3)), "same channels"),
        (lambda: style_loss(drawn(1, 2, 3, 3), drawn(1, 2, 3, 3)), "Gram"),
        (lambda: gram(drawn(1, 2, 3, 3), "gattys"), "jcjohnson"),
        (lambda: Convention("HW", "mean", "mean"), "unknown gram"),
        (lambda: Recipe("gatys", {}, {}), "layers"),
        (lambda: Recipe("gatys", {"relu1_1": -1}), "0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    with pytest.raises((ShapeError, ArgumentError), match=words):
        call()


# --- recipes ---


def test_recipes_have_their_published_numbers():
    assert RECIPES["pytorch-examples"].content == {"relu2_2": 1e5}
    assert list(RECIPES["pytorch-examples"].style) == ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    assert RECIPES["gatys-pytorch"].style["relu4_1"] == pytest.approx(1e3 / 512**2)
    assert RECIPES["neural-style"].variation == 1e-3
    gatys = RECIPES["gatys"]
    beta = sum(gatys.style.values())
    assert gatys.content["relu4_2"] / beta == pytest.approx(1e-3)
    assert gatys.normalised and not RECIPES["gatys-pytorch"].normalised
    assert all(name.startswith("relu") for recipe in RECIPES.values() for name in recipe.layers)
    for name in ("gatys", "neural-style", "gatys-pytorch"):
        assert list(RECIPES[name].style) == [f"relu{k}_1" for k in range(1, 6)]
    assert gatys.pooling == "average" and RECIPES["fast-neural-style"].network == "vgg16"
    assert RECIPES["fast-neural-style"].content == {"relu3_3": 1}
    assert RECIPES["neural-style"].content == {"relu4_2": 5}


@pytest.mark.parametrize(("name", "style", "variation"), [
    ("gatys", 200, 0), ("neural-style", 100, 1e-3), ("fast-neural-style", 5, 1e-6),
    ("pytorch-examples", 1e10, 0), ("random", 250, 20), ("random-fast", 10, 3),
])
def test_layers_of_style_weigh_alike_and_as_published(name, style, variation):
    assert set(RECIPES[name].style.values()) == {style}
    assert RECIPES[name].variation == variation


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_runs_on_its_network(name):
    recipe = RECIPES[name]
    features = narrow(network=recipe.network, pooling=recipe.pooling, width=2)
    z = features.prepare(picture()[None])
    losses = Objective(features, recipe, [picture(24, 36, 1)])
    at_itself = losses(z, losses.content_of(z))
    assert at_itself.content.item() == 0 and at_itself.style.item() > 0
    assert at_itself.total.item() == pytest.approx(
        at_itself.style.item() + at_itself.variation.item(), rel=1e-5
    )


# --- the objective ---


def test_objective_is_the_weighted_sum_of_its_layers():
    features = narrow()
    recipe = Recipe("johnson", {"relu2_2": 3.0}, {"relu1_1": 5.0, "conv3_1": 7.0}, 0.25)
    x, c, s = picture(), picture(seed=1), picture(20, 24, 2)
    objective = Objective(features, recipe, [s])
    z = features.prepare(x[None])
    found = objective(z, objective.content_of(features.prepare(c[None])))
    taps, kept, styled = (
        {k: v.numpy().astype(np.float64) for k, v in features(features.prepare(p[None]),
                                                              recipe.layers).items()}
        for p in (x, c, s)
    )
    content = 3 * content_by_hand("johnson", taps["relu2_2"], kept["relu2_2"])
    style = sum(w * style_by_hand("johnson", taps[n], styled[n]) for n, w in recipe.style.items())
    assert found.content.item() == pytest.approx(content, rel=1e-4)
    assert found.style.item() == pytest.approx(style, rel=1e-4)
    assert found.total.item() == pytest.approx(
        content + style + 0.25 * variation_loss(z).item(), rel=1e-4
    )


def test_blended_styles_lie_between_the_two():
    features = narrow()
    recipe = Recipe("gatys", {}, {"relu2_1": 1.0})
    a, b = picture(seed=1), picture(20, 28, 2)

    def target(weights) -> np.ndarray:
        return Objective(features, recipe, [a, b], weights).targets[0]["relu2_1"].numpy()

    np.testing.assert_allclose(target([1, 3]), 0.25 * target([1, 0]) + 0.75 * target([0, 1]),
                               rtol=1e-5)
    assert abs(target([1, 0]) - target([0, 1])).max() > 0


def test_each_style_is_compared_with_its_own_region_of_the_canvas():
    """The one style on the left, the other on the right: the picture made so has a small loss."""
    features = narrow()
    recipe = Recipe("relative", {}, {"relu1_1": 1.0, "relu2_1": 1.0})
    dark, bright = picture(32, 32, 1) * 0.2, 0.8 + 0.2 * picture(32, 32, 2)
    left = np.zeros((16, 32), np.float32)  # another size than the canvas: masks are resized
    left[:, :16] = 1
    objective = Objective(features, recipe, [dark, bright], masks=[left, 1 - left])

    def style(canvas: np.ndarray) -> float:
        return objective(features.prepare(canvas[None]), {}).style.item()

    there = style(np.concatenate([dark, bright], 2))
    swapped = style(np.concatenate([bright, dark], 2))
    assert there < 0.1 * swapped


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"styles": [picture() * 255]}, "from 0 to 1"),
        ({"styles": [picture()[0]]}, "RGB"),
        ({"styles": [picture(1, 1)]}, "at least 2"),
        ({"styles": []}, "0 pictures"),
        ({"style_weights": [1, 2]}, "for each of 1"),
        ({"style_weights": [0]}, "all 0"),
        ({"masks": []}, "one mask"),
        ({"masks": [np.zeros((4, 4))]}, "not all 0"),
        ({"recipe": Recipe("gatys", {}, {"relu9_9": 1})}, "relu9_9"),
        ({"recipe": Recipe("gatys", {}, {"fc6": 1})}, "fc6"),
        ({"recipe": "gatis"}, "no recipe"),
    ],
)
def test_an_objective_refuses_what_it_cannot_judge(options, words):
    given = {"recipe": Recipe("gatys", {}, {"relu2_1": 1.0}), "styles": [picture()], **options}
    with pytest.raises((ArgumentError, ShapeError), match=words):
        Objective(narrow(), **given)


# --- networks ---


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_denormalise_undoes_normalise(kind):
    x = picture()[None].astype(np.float64)
    np.testing.assert_allclose(denormalise(normalise(x, kind), kind).numpy(), x, atol=1e-12)


def test_random_networks_are_of_their_seed_and_leave_other_random_numbers_alone():
    random.manual_seed(5)
    before = random.normal((3,)).numpy()
    random.manual_seed(5)
    a, b, other = narrow(seed=1), narrow(seed=1), narrow(seed=2)
    assert (random.normal((3,)).numpy() == before).all()
    pairs = [f.vgg.features[0].weight.numpy() for f in (a, b, other)]
    assert (pairs[0] == pairs[1]).all() and (pairs[0] != pairs[2]).any()
    assert not a.pretrained


def test_random_weights_are_hes_and_layers_keep_their_size_up_to_the_pooling():
    features = random_features(width=32)
    weight = features.vgg.features[2].weight.numpy()  # conv1_2, fan-in 32 x 9
    assert weight.std() == pytest.approx(np.sqrt(2 / (32 * 9)), rel=0.05)
    assert not features.vgg.features[2].bias.numpy().any()
    z = Tensor(drawn(1, 3, 32, 32).astype(np.float32))
    for name, y in features(z, ["relu1_1", "relu2_1", "relu3_1"]).items():
        assert 0.3 < np.sqrt((y.numpy() ** 2).mean()) < 1.5, name


@pytest.mark.parametrize(
    ("layer", "least"), [("relu1_2", 1), ("pool1", 2), ("relu4_1", 8), ("relu5_1", 16)]
)
def test_a_picture_must_be_as_large_as_its_halvings_ask(layer, least):
    features = narrow()
    for shape in ((1, 3, least, 40), (1, 3, 40, least)):
        features.check(["relu1_1", layer], shape)
        smaller = tuple(side - 1 if side == least else side for side in shape)
        with pytest.raises(ShapeError, match=f"at least {least} for relu1_1, {layer}"):
            features.check(["relu1_1", layer], smaller)


def test_features_are_frozen_and_gradients_reach_the_picture_alone():
    features = narrow()
    z = minidl.tensor(features.prepare(picture()[None]).numpy(), requires_grad=True)
    features(z, ["relu2_1"])["relu2_1"].sum().backward()
    assert z.grad is not None and abs(z.grad.numpy()).max() > 0
    assert all(p.grad is None for p in features.vgg.parameters())


REAL_VGG = DATA / "weights" / "vgg16_caffe_conv.safetensors"
real_weights = pytest.mark.skipif(
    not REAL_VGG.exists(), reason="neither MINIDL_DATA nor shared/data has VGG-16's weights"
)


@real_weights
@pytest.mark.slow
@pytest.mark.parametrize("style", ["starry", "pebbles"])
def test_the_recipe_for_any_weights_paints_without_a_setting_to_find(style):
    """By the network's own measure; the pictures were looked at when it was made."""
    content, painting = (
        resized(read_image(DATA / "images" / f"{name}.jpg"), (96, 128))
        for name in ("tubingen", style)
    )
    features = load_features(REAL_VGG)
    objective = Objective(features, "relative", [painting])
    kept = objective.content_of(features.prepare(content[None]))

    def judged(picture):
        return objective(features.prepare(picture[None]), kept).numbers()

    made = stylise(content, painting, features, steps=30, every=30, progress=False).picture
    before, after = judged(content), judged(made)
    assert after["style"] < 0.12 * before["style"]
    assert after["content"] < judged(painting)["content"] / 2  # the houses are still there


@real_weights
@pytest.mark.slow
def test_gatys_program_ends_where_the_published_run_does_in_order_of_size():
    """Tuebingen as the Starry Night: 1,388,532 after 50 evaluations of VGG-19 at 512 pixels.

    Here VGG-16 at 96 pixels, whose losses are means over positions, too: 1.09 million. With
    activations scaled to a mean of 1 it would be below 1.
    """
    content, style = (
        resized(read_image(DATA / "images" / f"{name}.jpg"), (96, 128))
        for name in ("tubingen", "starry")
    )
    made = stylise(content, style, load_features(REAL_VGG), "gatys-pytorch", start="content",
                   steps=50, every=50, progress=False)
    assert 3e5 < made.losses[-1]["total"] < 3e6
    assert abs(made.picture - content).mean() > 0.03  # the photograph did not stay as it was


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_normalised_filters_have_mean_activation_one_and_do_what_they_did(pooling):
    features, plain = narrow(pooling=pooling), narrow(pooling=pooling)
    shown = [picture(), picture(40, 32, 1)]
    names = ["relu1_1", "relu2_1", "relu4_2", "relu5_4"]

    def means(f: Features) -> dict[str, np.ndarray]:
        each = [f(f.prepare(p[None]), names) for p in shown]
        return {n: np.mean([e[n].numpy().mean((0, 2, 3)) for e in each], 0) for n in names}

    before = means(plain)
    for name, mean in means(normalise_activations(features, shown)).items():
        alive = before[name] > 1e-8
        np.testing.assert_allclose(mean[alive], 1, rtol=1e-3)
    with no_grad():
        z = features.prepare(shown[0][None])
        ratio = features(z, ["relu4_2"])["relu4_2"].numpy()[0]
        was = plain(z, ["relu4_2"])["relu4_2"].numpy()[0]
    alive = before["relu4_2"] > 1e-8
    np.testing.assert_allclose(
        ratio[alive] * before["relu4_2"][alive, None, None], was[alive], rtol=1e-3, atol=1e-5
    )


# --- DeePSiM ---


def softmax_cross_entropy(logits: np.ndarray, label: int) -> float:
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return float(-np.log(p[:, label]).mean())


def test_deepsims_terms_are_caffes_sums():
    g, x = drawn(2, 3, 4, 5), drawn(2, 3, 4, 5, seed=1)
    fg, fx, logits = drawn(2, 7, seed=2), drawn(2, 7, seed=3), drawn(2, 2, seed=4)
    found = deepsim_loss(g, x, fg, fx, logits)
    assert found.feature.item() == pytest.approx(0.01 * ((fg - fx) ** 2).sum() / 4, rel=1e-12)
    assert found.image.item() == pytest.approx(2e-6 * ((g - x) ** 2).sum() / 4, rel=1e-12)
    fooled = 100 * softmax_cross_entropy(logits, 0)  # the generator wants "real", which is 0
    assert found.adversarial.item() == pytest.approx(fooled, rel=1e-12)
    parts = found.feature.item() + found.image.item() + fooled
    assert found.total.item() == pytest.approx(parts, rel=1e-12)


def test_deepsims_restatement_in_means_is_the_same_loss():
    assert tuple(restated()) == pytest.approx((46, 100, 0.155), rel=3e-3)
    g, x = drawn(2, 3, 4, 5), drawn(2, 3, 4, 5, seed=1)
    fg, fx, logits = drawn(2, 7, seed=2), drawn(2, 7, seed=3), drawn(2, 2, seed=4)
    means = restated(PUBLISHED, pixels=60, features=7)
    a = deepsim_loss(g, x, fg, fx, logits)
    b = deepsim_loss(g, x, fg, fx, logits, means, reduction="mean")
    assert [t.item() for t in b] == pytest.approx([t.item() for t in a], rel=1e-12)


def test_deepsims_discriminator_calls_real_0_and_generated_1():
    real, made = drawn(3, 2), drawn(3, 2, seed=1)
    for logits, label, number in ((real, REAL, 0), (made, GENERATED, 1)):
        by_hand = softmax_cross_entropy(logits, number)
        assert adversarial_loss(logits, label).item() == pytest.approx(by_hand, rel=1e-12)
    sure = np.array([[20.0, -20.0]])
    assert adversarial_loss(sure, REAL).item() < 1e-9 < adversarial_loss(sure, GENERATED).item()


def test_deepsims_gradient_is_that_of_finite_differences():
    x, fx = drawn(2, 3, 2, 2, seed=1), drawn(2, 5, seed=3)
    even = Weights(1, 1, 1)
    gradcheck(
        lambda g, f, logits: deepsim_loss(g, x, f, fx, logits, even).total,
        [drawn(2, 3, 2, 2), drawn(2, 5, seed=2), drawn(2, 2, seed=4)],
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: adversarial_loss(drawn(2, 2), 2),
        lambda: adversarial_loss(drawn(2, 1), 0),
        lambda: deepsim_loss(*[drawn(1, 3, 2, 2)] * 2, *[drawn(1, 2)] * 3, reduction="none"),
    ],
)
def test_deepsim_refuses_other_labels_logits_and_reductions(call):
    with pytest.raises((ArgumentError, ShapeError)):
        call()


# --- CRN ---


def test_crn_is_a_weighted_sum_of_mean_absolute_differences():
    features = narrow()
    loss = CRNLoss(features)
    x, target = picture()[None], picture(seed=1)[None]
    names = ["relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2"]
    with no_grad():
        mine, wanted = (features(features.prepare(p), names) for p in (x, target))
    apart = [np.abs(mine[n].numpy() - wanted[n].numpy()).mean() for n in names]
    by_hand = 255 * np.abs(x - target).mean() + np.dot(
        apart, [1 / 1.6, 1 / 2.3, 1 / 1.8, 1 / 2.8, 10 / 0.8]
    )
    assert loss(x, target).item() == pytest.approx(by_hand, rel=1e-4)
    assert loss(x, x).item() == 0


def test_crn_measures_then_makes_its_terms_equal_and_the_last_ten_times_as_large():
    loss = CRNLoss(narrow(), "measured")
    pairs = [(picture(seed=k)[None], picture(seed=k + 9)[None]) for k in range(3)]
    with no_grad():
        plain = [sum(t.item() for t in loss.terms(*p).values()) for p in pairs]
        seen = [loss(*p).item() for p in pairs]
        assert seen == pytest.approx(plain, rel=1e-5)  # 1 / N_l alone, no boost yet
        terms = np.mean([[t.item() for t in loss.terms(*p).values()] for p in pairs], 0)
        loss.rescale()
        np.testing.assert_allclose(loss.divisors.numpy(), terms, rtol=1e-5)
        after = np.mean([loss(*p).item() for p in pairs])
    assert after == pytest.approx(5 + 10, rel=1e-4)


def test_crn_in_evaluation_does_not_measure_and_cannot_rescale_by_nothing():
    loss = CRNLoss(narrow(), "measured").eval()
    with no_grad():
        loss(picture()[None], picture(seed=1)[None])
    with pytest.raises(DataError, match="0 batches"):
        loss.rescale()


def test_crn_rescales_at_half_of_the_epochs_and_a_checkpoint_keeps_it(tmp_path):
    class Painter(minidl.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.paint = Conv2d(3, 3, 3, padding=1)
            self.loss = CRNLoss(narrow(), "measured", ("input", "relu1_2"), (1.0, 10.0))

    def trained(epochs: int, out, resume: bool = False) -> Painter:
        random.manual_seed(0)
        model = Painter()
        images = np.stack([picture(8, 8, k) for k in range(4)])
        fit(
            model, DataLoader(ArrayDataset(images), 2), Adam(model.parameters(), lr=1e-2),
            lambda m, batch: m.loss(m.paint(batch[0]), batch[0]), epochs=epochs, out=out,
            callbacks=[model.loss.at_epoch(2)], progress=False, resume=resume,
        )
        return model

    whole = trained(4, tmp_path / "whole")
    assert (whole.loss.divisors.numpy() != 1).all() and whole.loss.count.item() == 4
    assert bool(trained(1, tmp_path / "parts").loss.boosted.numpy()) is False
    trained(3, tmp_path / "parts", resume=True)
    parts = trained(4, tmp_path / "parts", resume=True)
    np.testing.assert_array_equal(parts.loss.divisors.numpy(), whole.loss.divisors.numpy())
    np.testing.assert_array_equal(parts.paint.weight.data, whole.paint.weight.data)


def test_k_pictures_are_split_reds_first():
    k, output = 3, drawn(2, 9, 4, 5)
    pictures = split_pictures(output, k).numpy()
    assert pictures.shape == (2, 3, 3, 4, 5)
    for u in range(k):
        for c in range(3):
            np.testing.assert_array_equal(pictures[:, u, c], output[:, c * k + u])


def diversity_by_hand(loss: CRNLoss, pictures, target, masks) -> float:
    names = [n for n in loss.layers if n != "input"]
    n, k, p = len(pictures), pictures.shape[1], masks.shape[1]
    errors = np.zeros((n, k, p))
    for i in range(n):
        for u in range(k):
            with no_grad():
                mine, wanted = (
                    loss.features(loss.features.prepare(x[None]), names)
                    for x in (pictures[i, u], target[i])
                )
            for layer, lam in zip(loss.layers, loss.weights(), strict=True):
                a, b = ((255 * pictures[i, u], 255 * target[i]) if layer == "input"
                        else (mine[layer].numpy()[0], wanted[layer].numpy()[0]))
                apart = np.abs(a - b).mean(0)
                step = masks.shape[2] // len(apart)
                for q in range(p):
                    m = masks[i, q].reshape(len(apart), step, -1, step).mean((1, 3))
                    errors[i, u, q] += lam * (m * apart).mean()
    each = 0.999 * errors.min(1).sum(1) + 0.001 * errors.mean(1).sum(1)
    return float(each.mean())


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pictures = rng(0).random((2, 3, 3, 16, 16)).astype(np.float32)
    target = rng(1).random((2, 3, 16, 16)).astype(np.float32)
    labels = rng(2).integers(0, 4, (2, 16, 16))
    return pictures, target, (labels[:, None] == np.arange(4)[:, None, None]).astype(np.float32)


def test_diversity_loss_is_its_formula_written_with_loops():
    pictures, target, masks = scene()
    loss = CRNLoss(narrow()).eval()
    found = diversity_loss(loss, pictures, target, masks).item()
    assert found == pytest.approx(diversity_by_hand(loss, pictures, target, masks), rel=1e-4)


def test_diversity_loss_lets_each_class_choose_its_picture():
    """One picture is right on the left, the other on the right: by the best, both are."""
    layers = ("input",)
    loss = CRNLoss(narrow(), (1.0,), layers).eval()
    target = picture(8, 8)[None]
    a, b = target.copy(), target.copy()
    a[..., 4:], b[..., :4] = 0, 0
    masks = np.zeros((1, 2, 8, 8), np.float32)
    masks[0, 0, :, :4] = masks[0, 1, :, 4:] = 1
    both = np.stack([a, b], 1)
    assert diversity_loss(loss, both, target, masks, mean=0.0).item() == 0
    alone = diversity_loss(loss, both[:, :1], target, masks, mean=0.0).item()
    assert alone == pytest.approx(0.999 * 255 * np.abs(a - target).mean(), rel=1e-4)
    moved = minidl.tensor(both, requires_grad=True)
    diversity_loss(loss, moved, target, masks).backward()
    assert abs(moved.grad.numpy()).max() > 0  # the mean reaches the picture that was not chosen


def test_crn_refuses_what_does_not_fit():
    features = narrow()
    pictures, target, masks = scene()
    for call in (
        lambda: CRNLoss(features, "cityscapes"), lambda: CRNLoss(features, (1, 2)),
        lambda: CRNLoss(features, layers=("input", "relu7_1")),
        lambda: CRNLoss(features)(pictures[:, 0], target[..., :8]),
        lambda: diversity_loss(CRNLoss(features), pictures, target, masks[..., :8]),
        lambda: diversity_loss(CRNLoss(features), pictures[:, 0], target, masks),
        lambda: split_pictures(target, 2),
    ):
        with pytest.raises((ArgumentError, ShapeError)):
            call()


# --- photographs ---


def test_photographs_are_squares_of_the_shorter_side(tmp_path):
    (tmp_path / "more").mkdir()
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 30:] = 255
    save_png(tmp_path / "wide.png", wide)
    save_png(tmp_path / "more" / "tall.png", np.full((30, 10, 3), 128, np.uint8))
    photographs = Photographs(tmp_path, 16)
    assert len(photographs) == 2
    batches = [b[0].numpy() for b in DataLoader(photographs, 2, shuffle=True, seed=3)]
    assert batches[0].shape == (2, 3, 16, 16)
    draws = partial(photographs.draw, 1)
    means = {float(draws(rng(k))[0].mean()) for k in range(8)}
    assert len(means) > 1 and all(0 <= m <= 1 for m in means)


def test_a_photographs_shorter_side_becomes_the_squares(tmp_path):
    ramp = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8)[:, None], (24, 60, 3))
    save_png(tmp_path / "ramp.png", ramp)
    square = Photographs(tmp_path, 12).draw(0, rng(0))[0]
    steps = np.diff(np.asarray(square)[:, :, 1:-1], axis=2) * 255  # of twice as many pixels
    np.testing.assert_allclose(steps, 8, atol=0.05)


def test_photographs_refuse_a_folder_that_training_would_stumble_over(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        Photographs(tmp_path / "none")
    with pytest.raises(DataError, match="no pictures"):
        Photographs(tmp_path)
    with pytest.raises(ArgumentError, match="multiple of 4"):
        Photographs(tmp_path, 30)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        Photographs(tmp_path)


def test_crns_state_is_its_scales_without_the_network():
    assert set(CRNLoss(narrow()).state_dict()) == {"divisors", "totals", "count", "boosted"}


# --- another device ---


def test_everything_runs_where_the_weights_are(monkeypatch):
    strict_cupy.install(monkeypatch)
    pictures, target, masks = scene()
    g, fx, logits = drawn(2, 3, 4, 5), drawn(2, 7), drawn(2, 2)
    left = np.zeros((16, 20), np.float32)
    left[:, :10] = 1

    def values(device: str) -> list[float]:
        def there(x: np.ndarray) -> Tensor:
            return Tensor(x).to(device) if device != "cpu" else Tensor(x)

        features = normalise_activations(narrow().to(device), [picture()])
        z = features.prepare(there(picture()[None]))
        found = []
        for regions in (None, [left, 1 - left]):
            styles = [picture(seed=1), picture(24, 28, 2)]
            objective = Objective(features, "random", styles, [1, 2], regions)
            found += objective(z, objective.content_of(z * 0.5))
        loss = CRNLoss(features, "measured").to(device)
        found += [loss(there(pictures[:, 0]), there(target))]
        loss.rescale()
        found += [diversity_loss(loss, there(pictures), there(target), there(masks))]
        found += deepsim_loss(there(g), there(g + 1), there(fx), there(fx - 1), there(logits))
        found += [gram(features(z, ["relu1_1"])["relu1_1"]).sum()]
        assert {t.device for t in found} == {device}
        return [t.item() for t in found]

    with use_kernels("reference"):
        assert values("cuda") == pytest.approx(values("cpu"), rel=1e-4)


# --- pictures made ready ---


def test_a_grey_photograph_becomes_rgb_and_its_middle_square_is_cut_out():
    image = np.arange(24, dtype=np.uint8).reshape(1, 4, 6)
    picture = rgb(image)
    assert picture.shape == (3, 4, 6) and picture.dtype == np.float32
    np.testing.assert_array_equal(picture[2], image[0].astype(np.float32) / 255)
    np.testing.assert_array_equal(middle_square(image), image[:, :, 1:5])
    np.testing.assert_array_equal(middle_square(image, 0.5), image[:, 1:3, 2:4])


def test_resizing_stays_between_black_and_white():
    edge = np.zeros((3, 8, 8), np.float32)
    edge[:, :, 4:] = 1
    larger = resized(edge, (24, 16))
    assert larger.shape == (3, 24, 16) and larger.dtype == np.float32
    assert (larger.min(), larger.max()) == (0, 1)


def test_a_recoloured_picture_has_the_styles_values_in_its_own_order():
    pytest.importorskip("skimage", reason="the histograms are matched by scikit-image")
    rng = np.random.default_rng(0)
    picture, style = rng.random((2, 3, 6, 6)).astype(np.float32)
    found = recoloured(picture, style)
    np.testing.assert_allclose(np.sort(found, None), np.sort(style, None), atol=1e-6)
    assert (found[0].argsort(None) == picture[0].argsort(None)).all()
