"""Whether a map points at what a unit uses."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.models.vgg import VGG
from minidl.tasks.units.masking import (
    SelectiveUnits,
    activation_lost,
    rivals,
    saliency_maps,
    selective_units,
    strongest_pixels,
)
from minidl.tasks.units.projection import RULES


@pytest.fixture
def vgg() -> VGG:
    minidl.manual_seed(0)
    return VGG((1, 1), width=4, hidden=8, num_classes=3).eval()


def test_painting_over_all_pixels_takes_what_the_mean_image_lacks(vgg):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((12, 3, 12, 12)).astype(np.float32)
    found = selective_units(vgg, images, "relu2_1", 3)
    assert found.layer == "relu2_1" and len(found.units) == 3
    lost = activation_lost(vgg, images, found, share=1.0, seed=0)
    assert set(lost) == {"random pixels", "the middle", "another unit's", *RULES}
    # Whoever chooses them, all pixels are all pixels.
    assert np.ptp(list(lost.values())) < 1e-5
    assert 0 < lost["gradient"] <= 1


def test_a_unit_that_uses_one_pixel_loses_all_where_it_is_pointed_at(vgg):
    """Channel 0 of conv1_1 copies the red pixel two rows up, by a 3x3 window: one row up."""
    weight, bias = vgg.features[0].weight.data, vgg.features[0].bias.data
    weight[...] = 0
    bias[...] = 0
    weight[0, 0, 0, 1] = 1
    weight[1, 1, 2, 2] = 1
    images = np.zeros((10, 3, 8, 8), np.float32)
    rng = np.random.default_rng(0)
    for image in images:
        row, column = rng.integers(2, 5, 2)
        image[0, row, column] = 5
    images[:, 1] = 0.01
    found = selective_units(vgg, images, "relu1_1", 1)
    best = found if found.units == [0] else selective_units(vgg, images, "relu1_1", 4)
    found = SelectiveUnits("relu1_1", [0], best.best)
    lost = activation_lost(vgg, images, found, share=0.1, seed=0)
    for rule in RULES:
        assert lost[rule] > 0.9
    assert lost["random pixels"] < 0.5
    assert lost["the middle"] < 0.1
    assert lost["another unit's"] < 0.1


def test_the_rival_is_another_unit_at_the_same_place(vgg):
    images = np.random.default_rng(1).random((3, 3, 12, 12), np.float32)
    with minidl.no_grad():
        maps = vgg.taps(images, ["conv2_1"])["conv2_1"].numpy()
    places = np.array([[0, 1], [2, 2], [5, 3]])
    for unit in range(maps.shape[1]):
        for i, other in enumerate(rivals(vgg, images, "conv2_1", unit, places)):
            column = maps[i, :, places[i, 0], places[i, 1]]
            assert other != unit and column[other] == np.delete(column, unit).max()


def test_every_map_of_a_unit_lies_in_the_box_of_its_place(vgg):
    images = np.random.default_rng(1).random((3, 3, 24, 24), np.float32)
    places = np.array([[0, 0], [11, 11], [0, 11]])
    maps, boxes = saliency_maps(vgg, images, "relu2_1", 0, places, np.random.default_rng(0))
    for name in ("another unit's", *RULES):
        for strength, (top, left, bottom, right) in zip(maps[name], boxes, strict=True):
            assert strength[top:bottom, left:right].sum() == pytest.approx(strength.sum())


def test_the_strongest_pixels_lie_in_the_box_and_are_so_many():
    strength = np.random.default_rng(0).random((9, 9))
    mask = strongest_pixels(strength, np.array([2, 3, 7, 9]), 0.2)
    assert mask.sum() == 6
    least = strongest_pixels(strength, np.array([2, 3, 7, 9]), 0.001)  # never none
    assert least.sum() == 1 and strength[least] == strength[2:7, 3:9].max()
    inside = np.zeros((9, 9), bool)
    inside[2:7, 3:9] = True
    assert not (mask & ~inside).any()
    assert strength[mask].min() >= np.sort(strength[inside])[-6]
