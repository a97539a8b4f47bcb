"""SRCNN, VDSR and RED-Net: published counts, wiring, padding, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import Tensor, nn, no_grad
from minidl.errors import ArgumentError, CheckpointError, DataError, ShapeError
from minidl.models.rednet import REDNet
from minidl.models.srcnn import SRCNN, parameter_groups
from minidl.models.vdsr import VDSR
from minidl.optim import SGD, Adam, clip_grad_adjustable_
from minidl.tasks.restoration import (
    euclidean_loss,
    imresize,
    load_model,
    restored,
    restored_in_pieces,
    save_model,
    self_ensemble,
    turned,
)
from minidl.tasks.restoration.luma import luma
from minidl.tasks.restoration.protocol import (
    PUBLISHED,
    RED_NET,
    Recipe,
    degrade,
    enlarge,
    pair_of,
)
from minidl.tasks.restoration.whole import count_pieces
from tests import strict_cupy


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


def drawn(*shape: int, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(dtype)


def loud(model: nn.Module, scale: float = 1.0) -> nn.Module:
    """With weights at which every pixel that is seen shows in the answer."""
    rng = np.random.default_rng(1)
    for p in model.parameters():
        fan = np.prod(p.shape[1:]) if p.ndim > 1 else 1
        values = np.abs(rng.standard_normal(p.shape)) / fan if p.ndim > 1 else 0.1 * rng.random(
            p.shape
        )
        p.data[...] = scale * values
    return model


# --- counts ---


@pytest.mark.parametrize(
    "model, parameters",
    [
        (lambda: SRCNN("9-1-5"), 8_129),
        (lambda: SRCNN("9-3-5"), 24_513),
        (lambda: SRCNN("9-5-5"), 57_281),
        (lambda: VDSR(), 665_921),
        (lambda: VDSR(bias=False), 664_704),
        (lambda: REDNet(10), 296_641),
        (lambda: REDNet(20), 665_921),
        (lambda: REDNet(30), 1_035_201),
        (lambda: REDNet(30, width=128), 4_134_785),
    ],
)
def test_networks_have_their_numbers_of_parameters(model, parameters):
    assert count(model()) == parameters


@pytest.mark.parametrize(
    "model, radius",
    [
        (SRCNN("9-1-5"), 6), (SRCNN("9-3-5"), 7), (SRCNN("9-5-5"), 8),
        (VDSR(20, 3), 20), (VDSR(4, 3), 4), (REDNet(10, 3), 10), (REDNet(20, 3), 20),
    ],
)
def test_an_output_looks_as_far_as_radius_says_and_no_further(model, radius):
    """By the gradient of the middle output, with weights at which none vanishes."""
    size = 2 * radius + 5
    x = minidl.tensor(drawn(1, 1, size, size, dtype=np.float64), requires_grad=True)
    loud(model).to(np.float64)(x)[0, 0, size // 2, size // 2].backward()
    seen = np.nonzero(x.grad.data[0, 0].any(0))[0]
    assert model.radius == radius
    assert (seen.min(), seen.max()) == (2, size - 3)


# --- SRCNN ---


def test_srcnn_starts_from_a_thousandth_and_pads_as_asked():
    x = drawn(1, 1, 20, 22)
    models = {padding: SRCNN("9-1-5", padding) for padding in ("replicate", "valid", "zeros")}
    state = loud(models["valid"]).state_dict()
    assert float(SRCNN().conv1.weight.data.std()) == pytest.approx(0.001, rel=0.05)
    answers = {}
    for padding, model in models.items():
        model.load_state_dict(state)
        with no_grad():
            answers[padding] = model(x).data
    assert answers["valid"].shape == (1, 1, 8, 10)
    for padding in ("replicate", "zeros"):
        assert answers[padding].shape == x.shape
        np.testing.assert_allclose(
            answers[padding][..., 6:-6, 6:-6], answers["valid"], rtol=1e-5, atol=1e-6
        )
    # Of a constant image the repeated edge shows nothing; zeros around it do.
    with no_grad():
        flat = {p: models[p](np.ones_like(x)).data for p in ("replicate", "zeros")}
    assert np.ptp(flat["replicate"]) < 1e-5 < 1e-2 < np.ptp(flat["zeros"])


def test_srcnn_pads_each_layer_and_not_the_image_once():
    model, x = loud(SRCNN("9-5-5")), drawn(1, 1, 12, 12)
    y = x
    with no_grad():
        for layer, size, last in ((model.conv1, 4, 0), (model.conv2, 2, 0), (model.conv3, 2, 1)):
            padded = np.pad(y, ((0, 0), (0, 0), (size, size), (size, size)), mode="edge")
            y = F.conv2d(padded, layer.weight, layer.bias).data
            y = y if last else y.clip(0)
        np.testing.assert_allclose(model(x).data, y, rtol=1e-5)


def test_srcnns_groups_give_biases_and_the_last_layer_a_tenth():
    model = SRCNN("9-1-5")
    optimizer = SGD(parameter_groups(model, lr=1e-3), momentum=0.9)
    before = {n: p.data.copy() for n, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = Tensor(np.ones_like(p.data))
    optimizer.step()
    for name, p in model.named_parameters():
        step = 1e-3 if name in ("conv1.weight", "conv2.weight") else 1e-4
        np.testing.assert_allclose(before[name] - p.data, step, rtol=2e-3)


# --- VDSR ---


def test_vdsr_adds_what_its_convolutions_say():
    x = drawn(2, 1, 9, 8)
    model, plain = VDSR(5, 6), VDSR(5, 6, residual=False)
    plain.load_state_dict(model.state_dict())
    with no_grad():
        np.testing.assert_allclose(model(x).data, x + plain(x).data, rtol=1e-6)
        assert np.abs(plain(x).data).max() > 1e-3
    assert [c.weight.shape[:2] for c in VDSR(3, 6).convolutions] == [(6, 1), (6, 6), (1, 6)]


# --- RED-Net ---


def rednet_of_the_text(model: REDNet, x, pairs):
    """The table of the release, written out: d_k is joined with c_m for (k, m) in pairs."""
    n = len(model.convolutions)
    c = [None]
    y = x
    for layer in model.convolutions:
        y = F.relu(layer(y))
        c.append(y)
    for k, layer in enumerate(model.deconvolutions, start=1):
        y = layer(y)
        y = F.relu(y) if k < n else y
        if k in pairs:
            y = F.relu(y + c[pairs[k]])
    return y + x if pairs else y


@pytest.mark.parametrize(
    "depth, pairs",
    [
        (10, {}),
        (20, {1: 9, 3: 7, 5: 5, 7: 3, 9: 1}),
        (30, {1: 14, 3: 12, 5: 10, 7: 8, 9: 6, 11: 4, 13: 2}),
    ],
)
def test_rednet_joins_the_layers_of_the_release(depth, pairs):
    model, x = loud(REDNet(depth, 4), 0.7).to(np.float64), drawn(1, 1, 9, 7, dtype=np.float64)
    with no_grad():
        y = model(x).data
        expected = rednet_of_the_text(model, Tensor(x), pairs).data
        np.testing.assert_allclose(y, expected, rtol=1e-12)
        # And a wiring shifted by one layer would show.
        other = {k: m - 1 for k, m in pairs.items() if m > 1}
        if pairs:
            assert np.abs(rednet_of_the_text(model, Tensor(x), other).data - y).max() > 1e-6


def test_rednets_weights_keep_the_size_of_what_runs_through_them():
    """He et al.: of 9 C connections, each weight has the variance 2 / (9 C)."""
    minidl.manual_seed(0)
    model = REDNet(4, 64)
    for layer in (*model.convolutions, *model.deconvolutions):
        expected = (2 / (9 * layer.in_channels)) ** 0.5
        three_errors = 3 / (2 * layer.weight.size) ** 0.5
        assert layer.weight.data.std() == pytest.approx(expected, rel=three_errors)
        assert not layer.bias.data.any()


def test_rednets_skips_can_be_chosen():
    x = drawn(1, 1, 8, 8)
    for skips in (True, False):
        model = REDNet(10, 4, skips=skips)
        for layer in model.convolutions:
            nn.init.zeros_(layer.weight)
        with no_grad():
            assert (np.ptp(model(x).data[0, 0]) > 0.1) == skips


@pytest.mark.parametrize(
    "build",
    [lambda: SRCNN("9-2-5"), lambda: SRCNN(padding="same"), lambda: VDSR(1),
     lambda: REDNet(7), lambda: REDNet(2), lambda: REDNet(10, 0)],
)
def test_unknown_options_are_refused(build):
    with pytest.raises(ArgumentError):
        build()


# --- learning ---


def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Four sharp patches of edges, and the same shrunk and enlarged."""
    i, j = np.mgrid[:24, :24]
    sharp = np.stack([(i + k * j) % (7 + k) < 3 for k in range(4)]).astype(np.float64)
    sharp = 0.2 + 0.6 * sharp
    return imresize(imresize(sharp, 1 / 2), 2)[:, None], sharp[:, None]


@pytest.mark.parametrize(
    "build, lr, steps, share",
    [
        (lambda: SRCNN("9-1-5", "valid"), 5e-3, 120, 0.35),
        (lambda: VDSR(6, 16), 3e-3, 60, 0.25),
        (lambda: REDNet(10, 16, skips=True), 3e-3, 100, 0.3),
    ],
)
def test_a_network_learns_one_batch_by_heart(build, lr, steps, share):
    """To a share of the error that its input has."""
    x, sharp = (a.astype(np.float32) for a in pairs())
    model = build()
    if isinstance(model, SRCNN):  # from a thousandth, hundreds of steps lead nowhere
        for layer in (model.conv1, model.conv2, model.conv3):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    margin = model.radius if getattr(model, "padding", "") == "valid" else 0
    inside = slice(margin, 24 - margin)
    target = sharp[..., inside, inside]
    optimizer = Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = euclidean_loss(model(x), target)
        loss.backward()
        optimizer.step()
    assert loss.item() < share * euclidean_loss(x[..., inside, inside], target).item()


def test_euclidean_loss_is_half_the_squared_distance_of_each_image():
    answer, target = drawn(2, 3, 4, 5, dtype=np.float64), np.ones((2, 3, 4, 5))
    distances = [np.linalg.norm(a - t) for a, t in zip(answer, target, strict=True)]
    assert euclidean_loss(answer, target).item() == pytest.approx(np.square(distances).mean() / 2)
    with pytest.raises(ShapeError, match="the middle"):
        euclidean_loss(answer, target[..., 1:])


@pytest.mark.parametrize("rate", [0.1, 4.0])
def test_adjustable_clipping_cuts_at_theta_by_the_rate(rate):
    """Section 3.2: [-theta / rate, theta / rate], so that a step is theta at the most."""
    theta = 0.02
    layer = VDSR(2, 1).convolutions[0]
    given = np.linspace(-2, 2, 9).reshape(layer.weight.shape)
    layer.weight.grad = Tensor(given.astype(np.float32))
    clip_grad_adjustable_([layer.weight], theta, rate)
    expected = np.clip(given, -theta / rate, theta / rate)
    np.testing.assert_allclose(layer.weight.grad.data, expected, rtol=1e-6)
    before = layer.weight.data.copy()
    SGD([layer.weight], lr=rate).step()
    assert np.abs(layer.weight.data - before).max() == pytest.approx(theta, rel=1e-5)


def test_vdsr_bears_a_large_rate_only_with_clipped_gradients():
    """Section 3.2: the clipped run stays within reach, the other one is lost at once."""
    x, sharp = (a.astype(np.float32) for a in pairs())
    ends = {}
    for theta in (0.01, None):
        minidl.manual_seed(0)
        model = VDSR(6, 16)
        optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(25):
            optimizer.zero_grad()
            with np.errstate(all="ignore"):
                loss = euclidean_loss(model(x), sharp)
                loss.backward()
                if theta:
                    clip_grad_adjustable_(model.parameters(), theta, 0.1)
                optimizer.step()
        ends[theta] = loss.item()
    assert ends[0.01] < 1e3
    assert not ends[None] < 1e6


# --- steps of a comparison ---


def test_bytes_are_shrunk_to_bytes_where_a_recipe_says_so():
    image = np.random.default_rng(0).integers(0, 256, (12, 15)).astype(np.uint8)
    for luma_rounded in (False, True):
        recipe = Recipe(luma_rounded=luma_rounded)
        given, target = pair_of(image, 3, recipe)
        np.testing.assert_allclose(target * 255, luma(image), atol=0.5 * (not luma_rounded) + 1e-9)
        np.testing.assert_allclose(given, enlarge(degrade(target, 3), 3), atol=1e-12)
    small = degrade(np.round(255 * target).astype(np.uint8), 3)
    assert small.dtype == np.uint8
    given, _ = pair_of(image, 3, Recipe(small_rounded=True))
    np.testing.assert_allclose(given, enlarge(small / 255, 3), atol=1e-12)


def test_pieces_are_counted_before_they_are_answered():
    assert [count_pieces((h, 50), 16) for h in (1, 16, 17, 48)] == [4, 4, 8, 12]


def test_red_nets_program_differs_from_the_papers_in_three_steps():
    steps = ("shaved", "clipped", "rounded", "luma_rounded", "small_rounded", "antialias")
    assert [getattr(PUBLISHED, s) for s in steps] == [True, True, True, True, False, True]
    assert [getattr(RED_NET, s) for s in steps] == [False, False, False, True, False, True]


# --- eight times ---


def test_self_ensemble_is_the_mean_over_turns_and_mirrorings():
    model, x = loud(SRCNN("9-1-5")).to(np.float64), drawn(1, 1, 9, 12, dtype=np.float64)
    model.conv1.weight.data[...] *= np.linspace(-1, 1, 9)[:, None] + np.linspace(0, 1, 9)
    with no_grad():
        y = self_ensemble(model, x).data
        assert np.abs(y - model(x).data).max() > 1e-3
        for k in range(4):
            for mirrored in (False, True):
                other = self_ensemble(model, turned(x, k, mirrored)).data
                np.testing.assert_allclose(other, turned(y, k, mirrored).data, rtol=1e-10)


def test_turned_is_numpys_rot90():
    x = drawn(2, 1, 3, 4)
    for k in range(-4, 5):
        np.testing.assert_array_equal(turned(x, k).data, np.rot90(x, k, (2, 3)))
        np.testing.assert_array_equal(
            turned(x, k, True).data, np.rot90(x[..., ::-1], k, (2, 3))
        )


# --- pieces ---


@pytest.mark.parametrize(
    "model",
    [SRCNN("9-5-5"), SRCNN("9-1-5", "zeros"), VDSR(8, 4), REDNet(10, 4)],
    ids=lambda m: type(m).__name__,
)
def test_pieces_make_up_the_answer_to_the_whole_image(model):
    loud(model)
    y = drawn(50, 37)
    whole = restored(model, y)
    pieces = []
    for tile in (16, 100):
        answer = restored_in_pieces(model, y, tile, model.radius, lambda: pieces.append(1))
        np.testing.assert_allclose(answer, whole, atol=1e-5)
    assert len(pieces) == 4 * 3 + 1
    short = restored_in_pieces(model, y, 16, model.radius - 1)
    assert np.abs(short - whole).max() > 1e-5  # so the radius is needed


# --- files ---


@pytest.mark.parametrize(
    "model",
    [
        SRCNN("9-3-5", "zeros"), VDSR(4, 5), VDSR(3, 5, residual=False, bias=False),
        REDNet(4, 3, skips=True), REDNet(20, 2), REDNet(4, 3, channels=3),
    ],
    ids=repr,
)
def test_a_saved_network_comes_back_as_it_was(model, tmp_path):
    loud(model)
    save_model(tmp_path / "a.safetensors", model)
    again = load_model(tmp_path / "a.safetensors")
    x = drawn(1, 3 if getattr(model, "convolutions", None) and
              model.convolutions[0].weight.shape[1] == 3 else 1, 12, 12)
    with no_grad():
        np.testing.assert_array_equal(again(x).data, model(x).data)
    assert type(again) is type(model) and not again.training


def test_an_srcnn_trained_on_valid_convolutions_comes_back_ready_to_be_tested(tmp_path):
    save_model(tmp_path / "a.safetensors", SRCNN("9-1-5", "valid"))
    assert load_model(tmp_path / "a.safetensors").padding == "replicate"


@pytest.mark.parametrize(
    "state, reason",
    [
        ({"encoder.weight": drawn(2, 2)}, "encoder.weight"),
        ({f"conv{k}.weight": drawn(2, 2, 3, 3) for k in (1, 2, 3)}, "no SRCNN has kernels"),
        ({"convolutions.0.weight": drawn(4, 1, 3, 3)}, "VDSR"),
        ({"convolutions.0.weight": drawn(4, 1, 3, 3), "convolutions.3.weight": drawn(4, 4, 3, 3)},
         "do not fit"),
        ({}, "arrays"),
    ],
)
def test_weights_of_another_network_are_refused(state, reason, tmp_path):
    path = tmp_path / "other.safetensors"
    minidl.files.serialize.save_arrays(path, state)
    with pytest.raises(CheckpointError, match=reason) as caught:
        load_model(path)
    assert "other.safetensors" in str(caught.value)


def test_a_file_of_another_ending_is_refused(tmp_path):
    with pytest.raises(DataError, match="safetensors"):
        load_model(tmp_path / "weights.onnx")


def test_a_training_step_works_on_a_device(monkeypatch):
    """On a stand-in that is as strict as CuPy about what is mixed with what."""
    strict_cupy.install(monkeypatch)
    x, found = drawn(2, 1, 10, 10), []
    with minidl.use_kernels("reference"):
        for device in ("cpu", "cuda"):
            minidl.manual_seed(0)
            here = []
            for model in (SRCNN("9-1-5"), VDSR(3, 2), REDNet(4, 2, skips=True)):
                model.to(device)
                given = minidl.tensor(x, device=device)
                loss = euclidean_loss(self_ensemble(model, given), given * 2)
                loss.backward()
                here += [loss.item(), *(p.grad.numpy() for p in model.parameters())]
                here.append(restored(model, x[0, 0]))
            found.append(here)
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-6)
