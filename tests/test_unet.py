"""U-Net: published sizes and counts, what each option changes, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import Tensor, nn, no_grad
from minidl.errors import ArgumentError, ShapeError
from minidl.models.unet import UNet, border, centre_crop, input_size_for, input_sizes, output_size
from minidl.optim import Adam
from minidl.tasks.segmentation import (
    ConfusionMatrix,
    mirrored_mean,
    overlap_tile,
    overlap_tiles,
    pixel_cross_entropy,
)
from tests import strict_cupy


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


def drawn(*shape: int, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(dtype)


def torch_unet(torch, released: bool, width: int, depth: int):
    """The table of the paper once more, with PyTorch's layers and its own way of cropping."""
    tn = torch.nn

    def two(a, b):
        return tn.Sequential(tn.Conv2d(a, b, 3), tn.ReLU(), tn.Conv2d(b, b, 3), tn.ReLU())

    class Net(tn.Module):
        def __init__(self):
            super().__init__()
            w = [width << level for level in range(depth + 1)]
            self.down = tn.ModuleList(two(1 if i == 0 else w[i - 1], w[i]) for i in range(depth))
            raised = [w[1] if released and i == 0 else w[i] for i in range(depth)]
            self.up = tn.ModuleList(
                tn.ConvTranspose2d(w[i + 1], raised[i], 2, 2) for i in range(depth)
            )
            self.merge = tn.ModuleList(two(raised[i] + w[i], w[i]) for i in range(depth))
            self.bottom = two(w[-2], w[-1])
            self.head = tn.Conv2d(width, 2, 1)

        def forward(self, x):
            kept = []
            for layers in self.down:
                kept.append(layers(x))
                x = tn.functional.max_pool2d(kept[-1], 2)
            x = self.bottom(x)
            for i in range(depth)[::-1]:
                x = self.up[i](x)
                x = x.relu() if released else x
                cut = (kept[i].shape[-1] - x.shape[-1]) // 2
                x = self.merge[i](torch.cat([x, kept[i][..., cut:-cut, cut:-cut]], 1))
            return self.head(x)

    return Net()


# --- counts ---


def test_paper_network_has_its_number_of_parameters_and_convolutions():
    model = UNet()
    assert count(model) == 31_030_658
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == 23
    # He's variance, also where a tap reaches each output once.
    for layer, incoming in ((model.down[1][2], 128 * 9), (model.up[2], 512)):
        std = float(layer.weight.data.std())
        assert std == pytest.approx(math.sqrt(2 / incoming), rel=0.02)
        assert not layer.bias.data.any()


def test_released_network_has_its_number_of_parameters():
    model = UNet(released=True)
    assert count(model) == 31_100_354
    assert model.up[0].weight.shape == (128, 128, 2, 2)
    assert model.merge[0][0].weight.shape == (64, 192, 3, 3)


# --- sizes ---


def test_572_pixels_become_388():
    with no_grad():
        assert UNet(width=1).eval()(drawn(1, 1, 572, 572)).shape == (1, 2, 388, 388)


@pytest.mark.parametrize("depth, size", [(1, 18), (2, 44), (3, 100), (4, 188)])
def test_sizes_of_outputs_are_those_that_the_functions_say(depth, size):
    model = UNet(3, 5, width=1, depth=depth).eval()
    wide = size + 2 * 2**depth
    with no_grad():
        y = model(drawn(2, 3, size, wide))
    assert y.shape == (2, 5, output_size(size, depth), output_size(wide, depth))
    assert size - y.shape[2] == 2 * border(depth)


def test_fitting_sizes_are_the_published_ones():
    fitting = input_sizes()
    assert list(fitting[:3]) == [16 * k + 60 for k in (8, 9, 10)]
    assert [output_size(16 * k + 60) for k in (8, 32, 50)] == [16 * k - 124 for k in (8, 32, 50)]
    assert (border(), output_size(188), output_size(572)) == (92, 4, 388)
    assert (input_size_for(388), input_size_for(389), input_size_for(1)) == (572, 588, 188)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_a_size_fits_if_and_only_if_every_pooling_meets_an_even_size(depth):
    """The arithmetic done layer by layer."""

    def walk(size):
        for _ in range(depth):
            size -= 4
            if size < 2 or size % 2:
                return None
            size //= 2
        for _ in range(depth + 1):
            size -= 4
            if size < 1:
                return None
            size *= 2
        return size // 2

    fitting = input_sizes(depth)
    for size in range(1, 700):
        out = walk(size)
        assert (size in fitting) == (out is not None)
        if out is not None:
            assert output_size(size, depth) == out


@pytest.mark.parametrize(
    "size, nearest", [(570, "556 or 572"), (557, "556 or 572"), (100, "is 188;"), (1, "is 188;")]
)
def test_a_size_that_does_not_fit_is_refused_with_the_nearest_that_do(size, nearest):
    with pytest.raises(ShapeError, match=nearest):
        UNet(width=1)(drawn(1, 1, size, 572))


def test_padded_network_keeps_the_size_and_names_multiples():
    model = UNet(width=2, depth=3, padding="same").eval()
    with no_grad():
        assert model(drawn(1, 1, 24, 16)).shape == (1, 2, 24, 16)
    with pytest.raises(ShapeError, match="24 or 32"):
        model(drawn(1, 1, 24, 30))


def test_centre_crop_takes_the_middle_and_refuses_to_grow():
    x = Tensor(np.arange(30).reshape(1, 5, 6))
    assert centre_crop(x, (3, 2)).data.tolist() == [[[8, 9], [14, 15], [20, 21]]]
    np.testing.assert_array_equal(centre_crop(x, (3, 6)).data, x.data[:, 1:4])
    np.testing.assert_array_equal(centre_crop(x, (5, 4)).data, x.data[:, :, 1:5])
    with pytest.raises(ShapeError, match="larger"):
        centre_crop(x, (6, 6))


@pytest.mark.parametrize("option", [{"padding": "reflect"}, {"depth": 0}, {"width": 0}])
def test_unknown_options_are_refused(option):
    with pytest.raises(ArgumentError, match="UNet"):
        UNet(**option)


# --- what it computes ---


@pytest.mark.parametrize("released", [False, True])
def test_outputs_and_gradients_equal_pytorchs(released):
    torch = pytest.importorskip("torch")
    model = UNet(width=3, depth=2, released=released, dropout=0.0).to(np.float64)
    other = torch_unet(torch, released, 3, 2).double()
    other.load_state_dict({n: torch.from_numpy(v) for n, v in model.state_dict().items()})
    x = drawn(2, 1, 52, 60, dtype=np.float64)
    y, theirs = model(x), other(torch.from_numpy(x))
    np.testing.assert_allclose(y.data, theirs.detach().numpy(), rtol=1e-9, atol=1e-12)
    (y * y).sum().backward()
    (theirs * theirs).sum().backward()
    by_name = dict(other.named_parameters())
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad.data, by_name[name].grad.numpy(), rtol=1e-8, atol=1e-10)


def test_dropout_acts_twice_while_training_and_never_after():
    model = UNet(width=2, depth=2)
    x = drawn(1, 1, 44, 44)
    met = []
    model.dropout.register_forward_hook(lambda module, given, out: met.append(out.shape[1:]))
    with no_grad():
        assert (model(x).data != model(x).data).any()
        assert met[:2] == [(4, 16, 16), (8, 4, 4)]  # the end of level 1, and the bottom
        model.eval()
        np.testing.assert_array_equal(model(x).data, model(x).data)


def test_the_deepest_bridge_carries_the_dropped_map_and_the_others_the_whole():
    """Everything dropped: a network of one level sees nothing of the image, one of two does.

    Weights are made positive, so that no ReLU is dead: without dropout, both see it.
    """
    for depth in (1, 2):
        for dropout in (0.0, 1.0):
            model = UNet(width=2, depth=depth, dropout=dropout)
            for p in model.parameters():
                p.data[...] = np.abs(p.data)
            with no_grad():
                y = model(drawn(1, 1, 52, 52)).data
            assert (np.ptp(y[:, 0]) > 1e-3) == (depth == 2 or not dropout)


def test_without_bridges_fine_detail_reaches_the_output_only_through_the_bottom():
    """The bottom silenced: with bridges the image still shows, without them it does not."""
    x = drawn(2, 1, 44, 44)
    for skips in (True, False):
        model = UNet(width=2, depth=2, skips=skips).eval()
        for p in model.bottom.parameters():
            nn.init.zeros_(p)
        with no_grad():
            y = model(x).data
        assert (np.ptp(y[:, 1]) > 1e-6) == skips
    assert count(UNet(width=2, skips=False)) < count(UNet(width=2))


# --- tiles ---


@pytest.mark.parametrize("size", [(37, 50), (8, 3), (70, 24)])
def test_overlap_tiles_equal_one_big_forward_on_a_mirrored_image(size):
    model = UNet(2, 3, width=2, depth=2).to(np.float64).eval()
    image = drawn(2, *size, dtype=np.float64)
    out, rim = output_size(60, 2), border(2)
    tiled = overlap_tile(model, image, out, rim, stride=4)
    assert tiled.shape == (3, *size)
    fitting = [input_size_for(n, 2) for n in size]
    spare = [f - n - 2 * rim for f, n in zip(fitting, size, strict=True)]
    padded = np.pad(image, ((0, 0), *((rim, rim + s) for s in spare)), mode="reflect")
    with no_grad():
        whole = model(padded[None]).data[0, :, : size[0], : size[1]]
    np.testing.assert_allclose(tiled, whole, rtol=1e-10, atol=1e-13)


def test_tiles_that_step_by_no_multiple_of_the_stride_pool_other_pixels_together():
    """Why the default step is not the whole output, as it is in the released code."""
    model = UNet(width=2, depth=2).to(np.float64).eval()
    image = drawn(1, 40, 40, dtype=np.float64)
    args = (model, image, 18, border(2))
    with pytest.raises(ShapeError, match="does not fit"):
        overlap_tile(*args)
    # A step of 18 needs inputs of 58, which do not fit either: take 20 of 60, stepping by 18.
    exact = overlap_tile(model, image, 20, border(2), stride=4)
    shifted = overlap_tile(model, image, 20, border(2), step=18)
    np.testing.assert_allclose(shifted[:, :18, :18], exact[:, :18, :18], rtol=1e-12)
    assert not np.allclose(shifted[:, 18:, 18:], exact[:, 18:, 18:])


def test_tiles_cover_each_pixel_once_and_read_no_more_than_they_need():
    class File:
        """An image that tells which part was read."""

        shape, ndim = (1, 50, 33), 3

        def __init__(self):
            self.parts = []

        def __getitem__(self, where):
            part = drawn(*self.shape)[where]
            self.parts.append(part.shape)
            return part

    file, seen = File(), np.zeros((50, 33), int)
    for tile in overlap_tiles(lambda x: x[:, :, 3:-3, 3:-3], file, (10, 12), 3):
        seen[tile.rows, tile.columns] += 1
        expected = drawn(1, 50, 33)[:, tile.rows, tile.columns]
        np.testing.assert_array_equal(tile.scores, expected)
    assert (seen == 1).all()
    assert max(h for _, h, _ in file.parts) <= 16 and max(w for *_, w in file.parts) <= 18


def test_a_padded_network_is_tiled_by_its_middle():
    image = drawn(1, 20, 20)
    for model in (lambda x: x * 2, lambda x: x[:, :, 3:-3] * 2, lambda x: x[..., 3:-3] * 2):
        np.testing.assert_array_equal(overlap_tile(model, image, 8, 4), image * 2)


def test_tiles_that_leave_gaps_or_come_out_small_are_refused():
    image = drawn(1, 20, 20)
    with pytest.raises(ArgumentError, match="step"):
        overlap_tile(lambda x: x, image, 8, 4, step=9)
    with pytest.raises(ArgumentError, match="step"):
        overlap_tile(lambda x: x, image, 8, 4, stride=16)
    with pytest.raises(ShapeError, match="at least"):
        overlap_tile(lambda x: x[:, :, 5:-5, 5:-5], image, 8, 4)


def test_mean_over_mirrorings_answers_a_mirrored_image_with_the_mirrored_answer():
    model = UNet(width=2, depth=1, padding="same").eval()
    x = drawn(1, 1, 8, 6)
    with no_grad():
        mean = mirrored_mean(model)
        y = mean(x).data
        np.testing.assert_allclose(mean(x[..., ::-1].copy()).data, y[..., ::-1], rtol=1e-5)
        np.testing.assert_allclose(mean(x[..., ::-1, :].copy()).data, y[..., ::-1, :], rtol=1e-5)
        assert not np.allclose(model(x[..., ::-1].copy()).data, model(x).data[..., ::-1])


# --- learning ---


def discs(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey discs in noise, and where they are."""
    rng = np.random.default_rng(1)
    i, j = np.mgrid[:size, :size]
    centres = rng.uniform(size / 3, size * 2 / 3, (n, 2))
    labels = np.stack([(i - a) ** 2 + (j - b) ** 2 < 64 for a, b in centres]).astype(np.int64)
    images = labels[:, None] * 0.5 + rng.normal(0, 0.2, (n, 1, size, size))
    return images.astype(np.float32), labels


@pytest.mark.parametrize("padding, size", [("valid", 60), ("same", 32)])
def test_a_small_network_learns_a_few_images_by_heart(padding, size):
    model = UNet(width=4, depth=2, padding=padding, dropout=0.0)
    x, labels = discs(3, size)
    out = output_size(size, 2, padding)
    target = centre_crop(Tensor(labels), (out, out))
    optimizer = Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        y = model(x)
        loss = pixel_cross_entropy(y, target)
        loss.backward()
        optimizer.step()
    assert 0 < target.data.mean() < 1
    assert (y.argmax(1).data == target.data).mean() > 0.97


def test_one_step_on_the_emulated_kernels_gives_the_same_gradients():
    x, labels = discs(1, 22)
    target = centre_crop(Tensor(labels), (6, 6))
    found = []
    for code in ("default", "emulated"):
        minidl.manual_seed(0)
        model = UNet(width=2, depth=1)
        with minidl.use_kernels(code):
            loss = pixel_cross_entropy(model(x), target, class_weight=np.array([1.0, 2.0]))
            loss.backward()
        found.append([loss.item(), *(p.grad.data for p in model.parameters())])
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=2e-4, atol=1e-6)
    assert any(np.abs(g).max() > 1e-3 for g in found[0][1:])


def test_training_step_and_tiles_work_on_a_device(monkeypatch):
    """On a stand-in that is as strict as CuPy about what is mixed with what."""
    strict_cupy.install(monkeypatch)
    x, labels = discs(2, 18)
    weight = drawn(2, 2, 2)
    found = []
    with minidl.use_kernels("reference"):
        for device in ("cpu", "cuda"):
            minidl.manual_seed(0)
            model = UNet(width=2, depth=1).to(device)
            target = centre_crop(minidl.tensor(labels, device=device), (2, 2))
            y = model(minidl.tensor(x, device=device))
            loss = pixel_cross_entropy(y, target, np.array([1.0, 2.0]), weight)
            loss.backward()
            grads = [p.grad.numpy() for p in model.parameters()]
            matrix = ConfusionMatrix(2)
            matrix.add(y.argmax(1), target)
            scores = overlap_tile(
                mirrored_mean(model.eval()), x[0], 4, border(1), stride=2, device=device
            )
            found.append([loss.item(), matrix.counts, scores, *grads])
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-6)


def test_logits_of_a_mirrored_mean_carry_gradients():
    model = UNet(width=1, depth=1, padding="same", dropout=0.0)
    F.mean(mirrored_mean(model)(drawn(1, 1, 4, 4))).backward()
    assert all(p.grad is not None for p in model.parameters())
