"""DeePSiM: published sizes and initial values, the pausing rule, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import Tensor, nn, no_grad
from minidl.errors import ArgumentError, ShapeError
from minidl.models.deepsim import (
    CaffeNet,
    Comparator,
    DeepsimAutoencoder,
    DeepsimVAE,
    Discriminator,
    Generator,
    PauseRule,
    caffenet_vae,
    small_vae,
    to_bytes,
    to_rgb,
)
from minidl.models.vgg import VGG
from minidl.nn import init
from minidl.optim import Adam
from tests import strict_cupy


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture
def undrawn(monkeypatch):
    """Weights stay the zeros they are made of, which take no memory until they are read."""
    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(init, name, lambda x, *args, **kwargs: x)


# --- published sizes ---


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (Generator, 3 * (4096**2 + 4096) + 5_752_320),
        (
            lambda: Generator((256, 6, 6)),
            (256 + 512 + 512) * 512 * 9 + 3 * 512 + 5_752_320 + 256 * 256 * 16,
        ),
        (Discriminator, 1_081_410),
        (
            lambda: Discriminator(4096),
            1_081_410 + 4097 * 1024 + 1025 * 512 + 512 * 256,
        ),
        (CaffeNet, 60_965_224),
    ],
    ids=["fc6", "pool5", "discriminator", "conditional", "caffenet"],
)
def test_networks_have_the_derived_number_of_parameters(undrawn, build, expected):
    assert count(build()) == expected


def test_generator_has_the_published_rows(undrawn):
    model = Generator().eval()
    sizes = {}
    with no_grad():
        x = model.head(Tensor(drawn(1, 4096)))
        assert x.shape == (1, 256, 4, 4)
        for name, layer in model.rows.named_children():
            x = layer(x)
            if isinstance(layer, nn.ConvTranspose2d):
                sizes[name] = x.shape[1:]
                assert layer.bias is None
        assert model(drawn(1, 4096)).shape == (1, 3, 227, 227)
    assert sizes == {
        "deconv5": (256, 8, 8), "conv5_1": (512, 8, 8), "deconv4": (256, 16, 16),
        "conv4_1": (256, 16, 16), "deconv3": (128, 32, 32), "conv3_1": (128, 32, 32),
        "deconv2": (64, 64, 64), "deconv1": (32, 128, 128), "deconv0": (3, 256, 256),
    }
    slopes = {m.negative_slope for m in model.modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.3}


def test_generator_cuts_the_centre_from_row_and_column_14():
    model = Generator(8, width=1 / 64)
    with no_grad():
        whole = model.rows(model.head(Tensor(drawn(1, 8)))).numpy()
        cut = model(drawn(1, 8)).numpy()
    np.testing.assert_array_equal(cut, whole[:, :, 14:241, 14:241])


def test_discriminator_has_the_published_sizes(undrawn):
    model = Discriminator()
    with no_grad():
        x, sizes = Tensor(drawn(1, 3, 227, 227)), []
        for layer in model.convolutions:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                sizes.append(x.shape[1:])
    assert sizes == [(32, 56, 56), (64, 52, 52), (128, 25, 25), (256, 23, 23), (256, 11, 11)]


def test_caffenets_pool5_is_what_the_generator_takes(undrawn):
    model = CaffeNet()
    with no_grad():
        found = model.taps(drawn(1, 3, 227, 227), ["pool1", "norm2", "pool5"])
    assert [found[n].shape[1:] for n in found] == [(96, 27, 27), (256, 13, 13), (256, 6, 6)]
    groups = [m.groups for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert groups == [1, 2, 1, 2, 2]


@pytest.mark.parametrize("image", [24, 32, 64, 100, 128])
def test_smaller_generators_draw_smaller_images(image):
    with no_grad():
        assert Generator(8, image, 1 / 64)(drawn(2, 8)).shape == (2, 3, image, image)
        from_map = Generator((4, 6, 6), image, 1 / 64)
        assert from_map(drawn(2, 4, 6, 6)).shape == (2, 3, image, image)


# --- initial values ---


def test_weights_spread_as_caffes_filler_spreads_them():
    minidl.manual_seed(0)
    model = Generator(512, 64, 1 / 4)
    layers = dict(model.rows.named_children())
    for name, coefficient, outputs, window in (
        ("deconv5", 1.8, 64, 4), ("conv5_1", 0.9, 128, 3), ("deconv3", 1.8, 32, 4),
        ("deconv2", 1.8, 3, 4),
    ):
        weight = layers[name].weight.detach().numpy()
        assert weight.shape[1:] == (outputs, window, window)  # Caffe's fan_in is O K L
        expected = coefficient * math.sqrt(2 / (outputs * window**2))
        assert weight.std() == pytest.approx(expected, rel=0.03), name
    first = model.head[0]
    assert first.weight.detach().numpy().std() == pytest.approx(math.sqrt(2 / 512), rel=0.01)
    assert not first.bias.detach().numpy().any()


def test_discriminator_starts_undecided():
    minidl.manual_seed(0)
    model = Discriminator(image=64)
    weight = model.convolutions[0].weight.detach().numpy()
    assert weight.std() == pytest.approx(0.1 * math.sqrt(2 / 147), rel=0.05)
    second = model.convolutions[2].weight.detach().numpy()
    assert second.std() == pytest.approx(math.sqrt(2 / 800), rel=0.05)
    with no_grad():
        p = F.softmax(model(100 * drawn(4, 3, 64, 64)), 1).numpy()
    assert np.abs(p - 0.5).max() < 0.2


# --- the pausing rule ---


def test_discriminator_pauses_below_a_tenth():
    assert PauseRule().update(0.05, 0.0499, 1.0) == (False, True)
    assert PauseRule().update(0.05, 0.0501, 1.0) == (True, True)
    # Also when the generator had paused: it learns again.
    assert PauseRule(generator=False).update(0.01, 0.01, 1.0) == (False, True)


def test_discriminator_resumes_above_a_half():
    assert PauseRule(discriminator=False).update(0.2, 0.299, 1.0) == (False, True)
    assert PauseRule(discriminator=False).update(0.2, 0.301, 1.0) == (True, True)


def test_generator_pauses_above_ten():
    assert PauseRule().update(5, 4.9, 1.0) == (True, True)
    assert PauseRule().update(5, 5.1, 1.0) == (True, False)
    assert PauseRule(discriminator=False).update(5, 5.1, 1.0) == (True, False)


def test_generator_stays_paused_until_the_discriminator_is_ahead():
    rule = PauseRule()
    assert rule.update(5, 6, 1) == (True, False)
    assert rule.update(0.7, 0.7, 0.7) == (True, False)
    assert rule.update(0.01, 0.01, 1) == (False, True)


def test_errors_of_zero_leave_the_rule_defined():
    assert PauseRule().update(0.1, 0.1, 0.0) == (True, False)
    assert PauseRule().update(0.0, 0.0, 0.0) == (True, True)
    assert PauseRule(low=0.3).update(0.1, 0.1, 1.0) == (False, True)


# --- comparators ---


@pytest.mark.parametrize(
    ("network", "layer", "size"),
    [
        (lambda: CaffeNet(5, 67, 1 / 16), "pool5", 67),
        (lambda: VGG((1, 1), width=4, hidden=8, num_classes=5), "relu2_1", 16),
    ],
)
def test_comparator_is_frozen_and_lets_gradients_through(network, layer, size):
    minidl.manual_seed(0)
    model = network()
    compare = Comparator(model, layer)
    x = Tensor(drawn(2, 3, size, size)).requires_grad_()
    F.square(compare(x)).sum().backward()
    assert np.abs(x.grad.numpy()).max() > 0
    assert not model.training and all(p.grad is None for p in model.parameters())


def test_caffenets_pools_take_what_is_left_over_at_the_edge():
    """At 227 nothing is; at 71 pixels conv1 leaves 16, and each pool rounds up."""
    minidl.manual_seed(0)
    net = CaffeNet(5, 71, 1 / 16).eval()
    x, names = drawn(1, 3, 71, 71), ("conv1", "pool1", "pool2", "pool5", "fc8")
    shapes = {name: y.shape[2:] for name, y in net.taps(x, names).items()}
    assert shapes == {"conv1": (16, 16), "pool1": (8, 8), "pool2": (4, 4), "pool5": (2, 2),
                      "fc8": ()}


def test_an_autoencoders_encoder_doubles_its_channels_to_the_code(undrawn):
    layers = [m for m in DeepsimAutoencoder(64).encoder if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in layers] == [64, 128, 256, 8]
    assert [m.stride for m in layers] == [(2, 2)] * 3 + [(1, 1)]


# --- learning ---


def small_parts():
    minidl.manual_seed(0)
    generator = Generator(16, 32, 1 / 16)
    discriminator = Discriminator(16, 32, 1 / 8, stride=1)
    comparator = Comparator(VGG((1, 1), width=4, hidden=8, num_classes=5), "relu2_1")
    return generator, discriminator, comparator


def test_gradients_reach_every_parameter():
    generator, discriminator, compare = small_parts()
    generator.eval()
    discriminator.eval()  # dropout could leave out a unit
    f, x = Tensor(drawn(4, 16)), Tensor(drawn(4, 3, 32, 32))
    y = generator(f)
    scores = discriminator(y, f)
    labels = np.zeros(4, np.int64)
    loss = F.cross_entropy(scores, labels) + F.square(compare(y) - compare(x)).mean()
    loss.backward()
    for model in (generator, discriminator):
        for name, p in model.named_parameters():
            assert p.grad is not None and np.abs(p.grad.numpy()).max() > 0, name


@pytest.mark.parametrize(
    "build",
    [
        lambda: DeepsimAutoencoder(32, width=1 / 16),
        lambda: DeepsimAutoencoder(64, width=1 / 16),
        lambda: small_vae(8, width=1 / 16),
        lambda: caffenet_vae(8, 67, 1 / 16),
    ],
    ids=["autoencoder-32", "autoencoder-64", "small-vae", "caffenet-vae"],
)
def test_gradients_reach_every_parameter_of_autoencoders(build):
    minidl.manual_seed(0)
    model = build().eval()
    x = drawn(4, 3, model.generator.image, model.generator.image)
    out = model(x)
    y, kl = out if isinstance(out, tuple) else (out, 0.0)
    assert y.shape == x.shape
    (F.square(y - x).mean() + F.mean(kl)).backward()
    unreached = [
        name for name, p in model.named_parameters()
        if p.grad is None or not np.abs(p.grad.numpy()).max() > 0
    ]
    assert unreached == []


def smooth_images() -> Tensor:
    """Four images of two colours each, (4, 3, 32, 32) in [0, 1]."""
    rng = np.random.default_rng(0)
    images = np.repeat(rng.random((4, 3, 1, 1)), 32, 2).repeat(32, 3)
    images[:, :, 8:24, 8:20] = rng.random((4, 3, 1, 1))
    return Tensor(images.astype(np.float32))


def test_generator_learns_images_by_heart():
    generator, _, compare = small_parts()
    x, f = to_bytes(smooth_images()), drawn(4, 16)
    optimizer = Adam(generator.parameters(), 3e-3)
    errors = []
    for _ in range(80):
        y = generator(f)
        pixels = F.square(y - x).mean()
        loss = pixels + F.square(compare(y) - compare(x)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float(pixels))
    assert errors[-1] < 0.2 * errors[0]


def test_discriminator_learns_what_is_generated():
    minidl.manual_seed(0)
    model = Discriminator(image=32, width=1 / 8, stride=1).eval()
    x = F.cat([to_bytes(smooth_images()), Tensor(60 * drawn(4, 3, 32, 32))])
    labels = np.repeat([0, 1], 4)
    optimizer = Adam(model.parameters(), 2e-3)
    for _ in range(40):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss) < 0.2


def test_vae_draws_codes_of_the_deviation_that_the_encoder_says():
    """Deviations of 1/2 and 2; with exp(log_var) they would be 1/4 and 4."""

    class Codes(nn.Module):
        code = (2,)

        def forward(self, z):
            return z

    class Encoder(nn.Module):
        def forward(self, x):
            parameters = [3.0, -1.0, 2 * math.log(0.5), 2 * math.log(2.0)]
            return Tensor(np.tile(np.array(parameters), (len(x), 1)))

    minidl.manual_seed(0)
    z, _ = DeepsimVAE(Encoder(), Codes())(np.zeros((50_000, 1)))
    np.testing.assert_allclose(z.numpy().mean(0), [3, -1], atol=0.04)
    np.testing.assert_allclose(z.numpy().std(0), [0.5, 2], rtol=0.02)


def test_vae_draws_codes_and_charges_for_them():
    minidl.manual_seed(0)
    model = small_vae(8, width=1 / 16)
    x = drawn(2, 3, 32, 32)
    with no_grad():
        first, kl = model(x)
        second, _ = model(x)
        mean, log_var = (part.numpy() for part in model.encode(x))
        assert model.sample(3).shape == (3, 3, 32, 32)
    assert np.abs(first.numpy() - second.numpy()).max() > 0
    expected = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).sum(1)
    np.testing.assert_allclose(kl.numpy(), expected, rtol=1e-5)


# --- pixels and errors ---


def test_bytes_are_blue_green_red_minus_means():
    x = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    y = to_bytes(x).numpy()
    for c, mean in enumerate((104, 117, 123)):
        np.testing.assert_allclose(y[:, c], x[:, 2 - c] * 255 - mean, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(to_rgb(y).numpy(), x, atol=1e-5)
    assert to_rgb(y + 300).numpy().max() == 1


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda: Generator(8, 300), ArgumentError, "up to 256"),
        (lambda: Generator((4, 5, 5)), ArgumentError, "start from 3"),
        (lambda: Generator((4, 6, 8)), ArgumentError, "start from 0"),  # as it is not square
        (lambda: Generator(8, 32, 1 / 64)(drawn(2, 9)), ShapeError, r"\(2, 9\)"),
        (lambda: Discriminator(image=32), ArgumentError, "stride=1"),
        (
            lambda: Discriminator(4, 64, 1 / 16)(drawn(1, 3, 64, 64)),
            ArgumentError, "condition = 4",
        ),
        (lambda: CaffeNet(image=60), ArgumentError, "67"),
        (lambda: CaffeNet(5, 67, 1 / 48).taps(drawn(1, 3, 67, 67), ["fc9"]), ArgumentError, "fc9"),
        (lambda: DeepsimAutoencoder(48), ArgumentError, "48"),
        (lambda: DeepsimVAE(nn.Flatten(), Generator((4, 6, 6), 32, 1 / 64)), ArgumentError,
         "vector"),
        (lambda: to_bytes(drawn(1, 4, 2, 2)), ShapeError, r"\(1, 4, 2, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, error, words):
    with pytest.raises(error, match=words):
        wrong()


def test_device_gives_the_same_numbers(monkeypatch):
    strict_cupy.install(monkeypatch)
    found = []
    with minidl.use_kernels("reference"):
        for device in ("cpu", "cuda"):
            generator, discriminator, compare = small_parts()
            generator.to(device)
            discriminator.to(device).eval()
            compare.network.to(device)
            f = minidl.tensor(drawn(2, 16), device=device)
            y = generator(f)
            loss = compare(y).mean() + discriminator(y, f)[:, 0].mean() + to_rgb(y).mean()
            loss.backward()
            found.append([p.grad.numpy() for p in generator.parameters()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4)


def test_autoencoders_have_the_papers_sizes_unless_told_otherwise():
    assert caffenet_vae(4, width=1 / 64).sample(1).shape == (1, 3, 227, 227)
    model = small_vae()
    assert model.latent == 32 and model.sample(2).shape == (2, 3, 32, 32)
    assert model.encode(np.zeros((2, 3, 32, 32), np.float32))[0].shape == (2, 32)
    assert [p.shape[0] for p in model.encoder.parameters() if p.ndim == 4] == [8, 16, 32]
