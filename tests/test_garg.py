"""Garg's networks: published sizes and counts, coarse to fine, learning from two views."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minidl import Tensor, nn, no_grad, random
from minidl.data import stereo_scenes
from minidl.errors import ArgumentError, ShapeError
from minidl.models.garg import Garg, coarse_size
from minidl.models.garg_resnet import Bottleneck, GargResNet
from minidl.optim import Adam
from minidl.tasks.depth import photometric, quadratic_smoothness, warp


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


def small(**settings) -> Garg:
    random.manual_seed(0)
    return Garg(widths=(8, 12, 16, 16, 16), hidden=24, **settings)


def drawn(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(0).random(shape).astype(np.float32))


# --- the paper's ---


def test_the_papers_maps_have_their_published_sizes():
    net = small()
    with no_grad():
        sizes = [net(drawn(1, 3, 188, 620), k).shape[2:] for k in range(4)]
    assert sizes == [(22, 76), (44, 152), (88, 304), (176, 608)]
    assert net.seen(drawn(1, 3, 188, 620)).shape == (1, 3, 176, 608)
    assert net.seen(drawn(1, 3, 188, 620), 0).shape == (1, 3, 22, 76)


def test_the_paper_network_has_the_parameters_of_its_table():
    wide = [3 * 121 * 96, 96 * 25 * 256, 256 * 9 * 384, 384 * 9 * 384, 384 * 9 * 256,
            256 * 25 * 2048, 2048 * 2048, 2048]
    biases = 96 + 256 + 384 + 384 + 256 + 2048 + 2048 + 1
    refinements = (256 + 1 + 96 + 1 + 3 + 1) + 3 * 16
    assert count(Garg()) == sum(wide) + biases + refinements == 21_055_255
    assert count(Garg(stages=0)) == sum(wide) + biases


@pytest.mark.parametrize("upsampling", ["fixed", "learned"])
def test_a_new_stage_first_repeats_what_is_known_with_doubled_values(upsampling):
    net = small(kernel=7, padding="same", upsampling=upsampling)
    net.coarse.weight.data[...] = 0.01
    x = drawn(2, 3, 32, 48)
    with no_grad():
        maps = [net(x, k).numpy() for k in range(4)]
    assert maps[0].std() > 0
    for coarse, fine in itertools.pairwise(maps):
        assert fine.shape[2:] == tuple(2 * s for s in coarse.shape[2:])
        inner = fine[:, :, 2:-2, 2:-2]
        blocks = inner.reshape(*inner.shape[:2], inner.shape[2] // 2, 2, -1, 2).mean((3, 5))
        # Bilinear enlargement: means over 2x2 are 2 times a blur of the coarse map.
        blur = np.array([0.125, 0.75, 0.125])
        taps = sum(
            blur[i] * blur[j] * coarse[:, :, i : coarse.shape[2] - 2 + i,
                                       j : coarse.shape[3] - 2 + j]
            for i in range(3) for j in range(3)
        )
        np.testing.assert_allclose(blocks, 2 * taps, rtol=1e-4)


def test_only_fixed_enlargement_keeps_a_constant_map_constant_along_the_border():
    spread = {}
    for upsampling in ("fixed", "learned"):
        net = small(kernel=7, padding="same", upsampling=upsampling)
        net.coarse.bias.data[...] = 1.0
        with no_grad():
            spread[upsampling] = net(drawn(1, 3, 32, 48)).numpy()
    np.testing.assert_allclose(spread["fixed"], 8, rtol=1e-6)
    assert spread["learned"][0, 0, 0, 0] < 4 and spread["learned"][0, 0, 16, 24] == pytest.approx(8)


def test_what_is_seen_is_the_mean_over_the_pixels_of_each_cell():
    net = small(kernel=7, padding="same")
    x = drawn(1, 3, 32, 48)
    np.testing.assert_allclose(
        net.seen(x, 1).numpy(), x.numpy().reshape(1, 3, 8, 4, 12, 4).mean((3, 5)), rtol=1e-5
    )
    np.testing.assert_array_equal(net.seen(x, 3).numpy(), x.numpy())


def test_only_the_parameters_of_the_stages_so_far_have_gradients():
    net = small(kernel=7, padding="same", upsampling="learned")
    (net(drawn(1, 3, 32, 48), 1) - 1).sum().backward()
    reached = {id(p) for p in net.parameters() if p.grad is not None}
    assert reached == {id(p) for p in net.trained_by(1)}


def test_every_layer_has_the_width_that_was_given_for_it():
    net = Garg(widths=(2, 3, 4, 5, 6), hidden=7, kernel=7, padding="same")
    found = [p.shape[:2] for name, p in net.named_parameters() if p.ndim == 4 and "up" not in name]
    chain = [3, 2, 3, 4, 5, 6, 7, 7, 1]
    assert found == [*zip(chain[1:], chain[:-1], strict=True), (1, 3), (1, 2), (1, 3)]
    assert net(drawn(1, 3, 16, 24)).shape == (1, 1, 16, 24)


def test_sizes_and_options_that_do_not_fit_are_refused():
    assert coarse_size((188, 620)) == (22, 76)
    with pytest.raises(ShapeError, match="multiples of 8"):
        small(kernel=7, padding="same")(drawn(1, 3, 30, 48))
    with pytest.raises(ShapeError, match="17 at least"):
        coarse_size((16, 620))
    assert coarse_size((17, 17)) == (1, 1)
    with pytest.raises(ShapeError):  # the finest map would have 16 rows, and the image has 15
        coarse_size((15, 16), kernel=1)
    for wrong in ({"stages": 4}, {"kernel": 8}, {"padding": "full"}, {"upsampling": "nearest"}):
        with pytest.raises(ArgumentError):
            small(**wrong)
    with pytest.raises(ArgumentError, match="0 to 1"):
        small(stages=1)(drawn(1, 3, 64, 64), 2)


def test_it_learns_disparity_from_two_views_without_being_told_any():
    scenes = stereo_scenes(2, (48, 96), 0, noise=0.0)
    net = small(stages=0, kernel=7, padding="same", upsampling="fixed")
    left, right = Tensor(scenes.left), Tensor(scenes.right)
    seen = [net.seen(x) for x in (left, right)]
    truth = scenes.disparity.reshape(2, 1, 6, 8, 12, 8).mean((3, 5)) / 8
    optimizer = Adam(net.parameters(), lr=3e-3)
    errors = []
    for _ in range(120):
        optimizer.zero_grad()
        disparity = net(left)
        loss = photometric(warp(seen[1], disparity, padding_mode="border"), seen[0])
        (loss + 0.01 * quadratic_smoothness(disparity)).backward()
        optimizer.step()
        errors.append(np.abs(disparity.data - truth).mean())
    constant = np.abs(truth - np.median(truth)).mean()
    assert errors[-1] < 0.75 * constant < errors[0]


# --- the released one ---


def test_the_released_network_has_its_number_of_parameters_and_its_sizes():
    net = GargResNet()
    assert count(net) == 6_003_269
    assert [skip.scale.data[0] for skip in net.skips] == pytest.approx([1e-6, 1e-5, 1e-4, 1e-2])
    seen = []
    with no_grad():
        for stage in net.stages:
            stage.register_forward_hook(lambda m, i, y: seen.append(y.shape))
        y = net(drawn(1, 3, 64, 96))
    assert y.shape == (1, 1, 64, 96)
    assert [s[1:] for s in seen] == [
        (128, 32, 48), (128, 16, 24), (256, 8, 12), (512, 4, 6), (1024, 2, 3)
    ]


def test_the_released_network_starts_at_zero_and_its_skips_learn_at_once():
    random.manual_seed(0)
    net = GargResNet(width=8, blocks=(1, 1, 1, 1))
    y = net(drawn(2, 3, 32, 64))
    assert not y.data.any()
    y.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert all(skip.score.weight.grad.data.any() for skip in net.skips)


@pytest.mark.parametrize("project", [False, True])
def test_a_block_of_the_released_network_ends_in_a_relu(project):
    y = Bottleneck(8, 2, project).eval()(drawn(2, 8, 5, 6) - 0.5).data
    assert y.shape == (2, 8, 5, 6) and y.min() == 0 < y.max()


def test_the_released_rates_double_the_biases_and_slow_the_scales_of_the_skips():
    net = GargResNet(width=8, blocks=(1, 1, 1, 1))
    rest, biases, scales = net.parameter_groups(1e-3)
    assert rest["lr"] == 1e-3 and "weight_decay" not in rest
    assert biases["lr"] == 2e-3 and biases["weight_decay"] == 0.0
    assert len(biases["params"]) == sum(isinstance(m, nn.Conv2d) for m in net.modules())
    assert scales["lr"] == pytest.approx(1e-5) and len(scales["params"]) == 4
    assert "weight_decay" not in scales
    grouped = [id(p) for group in (rest, biases, scales) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters())
    with pytest.raises(ShapeError, match="multiples of 32"):
        net(drawn(1, 3, 40, 64))
