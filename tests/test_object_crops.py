"""Crops around objects, and images answered by many windows."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.data import ArrayDataset
from minidl.errors import ArgumentError
from minidl.tasks.segmentation import (
    NamedCrops,
    ObjectBox,
    ObjectCrops,
    balanced,
    cut_labels,
    empty_boxes,
    enlarged_box,
    largest_scores,
    object_boxes,
    square_windows,
)


@pytest.fixture
def scenes() -> ArrayDataset:
    """Two objects of class 1 that touch at a corner, one of class 2, and ignored pixels."""
    labels = np.zeros((2, 40, 60), np.int64)
    labels[0, 10:20, 10:20] = 1
    labels[0, 20:25, 20:26] = 1  # 8-connected with the one before
    labels[0, 30:32, 30:32] = 1  # too small
    labels[1, 5:30, 40:55] = 2
    labels[1, 0:12, 0:20] = 255
    images = np.stack([labels] * 3, 1).astype(np.float32) / 255
    return ArrayDataset(images, labels)


def test_objects_are_connected_pieces_with_enough_pixels(scenes):
    found = object_boxes(scenes, classes=3, least=20)
    assert found == [ObjectBox(0, 1, (10, 10, 25, 26)), ObjectBox(1, 2, (5, 40, 30, 55))]


def test_rare_classes_are_repeated_at_most_so_often():
    found = [ObjectBox(0, 1, (0, 0, 1, 1))] * 12 + [ObjectBox(0, 2, (0, 0, 1, 1))] * 4
    labels = [one.label for one in balanced(found)]
    assert labels.count(1) == labels.count(2) == 12
    assert len(balanced(found, most=2)) == 12 + 8


def test_boxes_are_enlarged_about_their_middle_within_the_image():
    assert enlarged_box((10, 10, 20, 30), (100, 100), 2.0) == (5, 0, 25, 40)
    assert enlarged_box((10, 10, 20, 30), (100, 100), 1.0, (0.5, -0.25)) == (15, 5, 25, 25)
    assert enlarged_box((0, 0, 20, 30), (22, 100), 1.5) == (0, 0, 22, 38)
    assert enlarged_box((21, 0, 22, 1), (22, 100), 1.0) == (18, 0, 22, 4)  # four pixels at least


def test_the_first_stage_keeps_the_object_in_the_middle_alone(scenes):
    found = object_boxes(scenes, 3, 20)
    both = [ObjectBox(1, 2, found[1].box)]
    scenes.arrays[1][1, 32:38, 45:50] = 1
    rng = np.random.default_rng
    first = ObjectCrops(scenes, both, 1, 32, ignore=255).draw(0, rng(0))[1]
    assert set(np.unique(first)) == {0, 2}
    wide = [ObjectBox(1, 2, (0, 0, 40, 60))]
    kept = ObjectCrops(scenes, wide, 1, 32, ignore=255).draw(0, rng(0))[1]
    assert set(np.unique(kept)) == {0, 2, 255}
    second = ObjectCrops(scenes, wide, 2, 32).draw(0, rng(0))[1]
    assert {0, 1, 2} <= set(np.unique(second))


def test_crops_show_the_labels_where_the_image_has_them(scenes):
    crops = ObjectCrops(scenes, object_boxes(scenes, 3, 20), 2, 32)
    for i in (0, 1, 0, 1):
        image, labels = crops.draw(i, np.random.default_rng(i))
        assert image.shape == (3, 32, 32) and labels.shape == (32, 32)
        assert (np.abs(image[0] * 255 - labels) < 0.5).mean() > 0.85
    images, labels = crops.arrays()
    assert images.shape == (2, 3, 32, 32) and labels.shape == (2, 32, 32)
    assert NamedCrops(scenes, crops.found, 1, 32).arrays()[1].tolist() == [1, 2]
    with pytest.raises(ArgumentError, match="stage is 1 or 2"):
        ObjectCrops(scenes, crops.found, 3, 32)


def test_empty_boxes_hold_next_to_nothing(scenes):
    labels = scenes.arrays[1]
    found = empty_boxes(labels, 20, seed=1)
    assert len(found) == 20 and {one.label for one in found} == {0}
    for one in found:
        assert (cut_labels(labels[one.image], one.box, 16) > 0).mean() < 0.03
        top, left, bottom, right = one.box
        assert bottom - top >= 12 and right - left >= 12
    assert empty_boxes(np.ones((1, 40, 40), int), 3, seed=1) == []


def test_windows_cover_the_image_half_a_side_apart():
    boxes = square_windows((40, 60), shares=(0.5,))
    sides = {(b - t, r - l) for t, l, b, r in boxes}
    assert sides == {(20, 20)}
    usual = square_windows((100, 160))
    assert {b - t for t, _, b, _ in usual} == {r - l for _, l, _, r in usual} == {70, 45, 30}
    covered = np.zeros((40, 60), int)
    for t, l, b, r in boxes:
        covered[t:b, l:r] += 1
    assert covered.min() >= 1
    tops = sorted({t for t, *_ in boxes})
    assert tops[0] == 0 and tops[-1] == 20 and max(np.diff(tops)) <= 10
    assert square_windows((40, 60), shares=(0.5, 0.9), least=21) == square_windows(
        (40, 60), shares=(0.9,)
    )


def test_each_pixel_takes_the_largest_score_of_its_boxes_and_zero():
    image = np.zeros((3, 8, 12), np.float32)
    image[:, :, 6:] = 1

    def scores(crops):
        """Brightness as class 0, and less than nothing as class 1."""
        return np.stack([crops.mean(1), -1 - crops.mean(1)], 1)

    boxes = [(0, 0, 8, 8), (0, 4, 8, 12)]
    best = largest_scores(scores, image, boxes, 8)
    assert best.shape == (2, 8, 12)
    assert (best[1] == 0).all()
    np.testing.assert_allclose(best[0], image[0], atol=1e-6)
