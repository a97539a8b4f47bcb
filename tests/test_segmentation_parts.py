"""Weights, losses, deformations and scores of segmentation, against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import Tensor
from minidl.data import cell_images
from minidl.errors import ArgumentError, DtypeError, ShapeError
from minidl.lecture.label_pictures import largest_piece
from minidl.tasks.segmentation import (
    BorderAccuracy,
    BoundaryF1,
    ClassFrequencies,
    ConfusionMatrix,
    DeformedTiles,
    ElasticDeformation,
    border_distance,
    border_weight_map,
    boundary,
    boundary_f1,
    cell_fates,
    components,
    displacement_field,
    distance_to,
    median_frequency_weights,
    pixel_cross_entropy,
    pixel_error,
    rand_error,
    separate_touching,
    two_nearest,
    warp,
    warping_error,
)
from minidl.tasks.segmentation.membranes import RING, is_simple, warped


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(*rows: str) -> np.ndarray:
    """Drawn with characters: digits are labels, "." is 0, "#" is 1."""
    return np.array([[int(c) if c.isdigit() else int(c == "#") for c in row] for row in rows])


# --- class weights ---


def test_median_frequency_weights_equal_the_formula_worked_by_hand():
    """f = 6/16, 2/8, 8/16: class 1 is in the first image only, and the median is 6/16."""
    first = [[0, 0, 1, 1], [2, 2, 2, 2]]
    second = [[0, 0, 0, 0], [2, 2, 2, 2]]
    weights = median_frequency_weights([first, second], 3)
    np.testing.assert_allclose(weights, [1, (6 / 16) / (2 / 8), (6 / 16) / (8 / 16)])
    assert weights.dtype == np.float32


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("kernel, stride", [(2, 2), (3, 2), (3, 3), (2, 3), (4, 3)])
def test_whatever_was_pooled_with_ceil_mode_is_unpooled_to_the_size_it_had(
    kernel, stride, padding
):
    """And to no size that is a stride away, which could not have been pooled to it."""
    for h, w in ((5, 6), (7, 8), (9, 10)):
        x = 1.0 + np.random.default_rng(0).permutation(h * w).reshape(1, 1, h, w)
        y, index = F.max_pool2d(x, kernel, stride, padding, ceil_mode=True, return_indices=True)
        undone = F.max_unpool2d(y, index, kernel, stride, padding, output_size=(h, w)).data
        kept = np.isin(x, y.data)
        np.testing.assert_array_equal(undone != 0, kept)
        if stride >= kernel:  # no two windows meet the same pixel
            np.testing.assert_array_equal(undone, np.where(kept, x, 0))
        for wrong in ((h + 2 * stride, w), (h, w + 2 * stride), (h - 2 * stride, w)):
            with pytest.raises(ShapeError, match="max_unpool2d"):
                F.max_unpool2d(y, index, kernel, stride, padding, output_size=wrong)


def test_ignored_pixels_and_absent_classes_have_no_say_in_class_weights():
    with_void = [[0, 0, 1, 255], [255, 255, 1, 0]]
    weights = median_frequency_weights([with_void], 3, ignore_index=255)
    np.testing.assert_allclose(weights, [(1 / 2) / (3 / 5), (1 / 2) / (2 / 5), 0])
    counted = ClassFrequencies(2)
    with pytest.raises(ArgumentError, match="no class 255"):
        counted.add(with_void)
    with pytest.raises(DtypeError, match="integers"):
        counted.add(np.zeros((2, 2)))


# --- losses ---


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Logits, labels with some ignored, weights of classes and of pixels."""
    draw = rng(3)
    target = draw.integers(0, 3, (2, 4, 5))
    target[0, 1:3, 2] = 9
    return (draw.standard_normal((2, 3, 4, 5)), target, np.array([0.5, 2.0, 3.5]),
            draw.random((2, 4, 5)) + 0.1)


def test_each_normalisation_of_the_pixel_loss_equals_naive_loops():
    x, target, of_class, of_pixel = problem()
    total, pixels, weights = 0.0, 0, 0.0
    for n, i, j in np.ndindex(target.shape):
        t = target[n, i, j]
        if t != 9:
            p = np.exp(x[n, :, i, j]) / np.exp(x[n, :, i, j]).sum()
            w = of_pixel[n, i, j] * of_class[t]
            total, pixels, weights = total - w * math.log(p[t]), pixels + 1, weights + w
    for name, z in (("pixels", pixels), ("weights", weights), ("sum", 1)):
        loss = pixel_cross_entropy(x, target, of_class, of_pixel, 9, name)
        assert loss.item() == pytest.approx(total / z, rel=1e-12)


def test_pixel_loss_normalised_by_weights_is_pytorchs_and_by_pixels_is_not():
    torch = pytest.importorskip("torch")
    x, target, of_class, _ = problem()
    theirs = torch.nn.functional.cross_entropy(
        *map(torch.from_numpy, (x, target, of_class)), ignore_index=9
    ).item()
    ours = [pixel_cross_entropy(x, target, of_class, None, 9, z).item()
            for z in ("weights", "pixels")]
    assert ours[0] == pytest.approx(theirs, rel=1e-12)
    assert ours[1] != pytest.approx(theirs, rel=0.05)


def test_pixel_loss_without_a_counted_pixel_is_zero_with_zero_gradient():
    x = minidl.tensor(rng().standard_normal((1, 2, 3, 3)), requires_grad=True)
    target = np.full((1, 3, 3), -100)
    for z in ("pixels", "weights", "sum"):
        loss = pixel_cross_entropy(x, target, np.array([1.0, 0.0]), None, -100, z)
        (slope,) = minidl.grad(loss, [x])
        assert loss.item() == 0 and not slope.data.any()


def test_gradient_of_the_pixel_loss_equals_finite_differences():
    x, target, of_class, of_pixel = problem()
    given = minidl.tensor(x, requires_grad=True)
    (slope,) = minidl.grad(pixel_cross_entropy(given, target, of_class, of_pixel, 9), [given])
    for place in ((0, 1, 0, 0), (1, 2, 3, 4), (0, 0, 1, 2)):
        step = np.zeros_like(x)
        step[place] = 1e-6
        up, down = (pixel_cross_entropy(x + s, target, of_class, of_pixel, 9).item()
                    for s in (step, -step))
        assert slope.data[place] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-9)


def test_pixel_loss_keeps_float32_and_refuses_weights_that_do_not_fit():
    x, target, of_class, of_pixel = problem()
    loss = pixel_cross_entropy(x.astype(np.float32), target, of_class, of_pixel, 9)
    assert loss.dtype == np.float32
    with pytest.raises(ShapeError, match="per class"):
        pixel_cross_entropy(x, target, of_class[:2], ignore_index=9)
    with pytest.raises(ShapeError, match="per pixel"):
        pixel_cross_entropy(x, target, None, of_pixel[:1], ignore_index=9)
    with pytest.raises(ArgumentError, match="mean"):
        pixel_cross_entropy(x, target, normalisation="mean")


# --- distances, components ---


def two_nearest_naive(labels: np.ndarray) -> np.ndarray:
    names = [n for n in np.unique(labels) if n]
    found = np.full((2, *labels.shape), np.inf)
    for i, j in np.ndindex(labels.shape):
        each = sorted(
            min(math.hypot(i - a, j - b) for a, b in np.argwhere(labels == n)) for n in names
        )
        for k, d in enumerate(each[:2]):
            found[k, i, j] = d
    return found


def scattered(seed: int, size: tuple[int, int], objects: int, share: float) -> np.ndarray:
    """Labels strewn about, so that objects are neither connected nor convex."""
    draw = rng(seed)
    return draw.integers(1, objects + 1, size) * (draw.random(size) < share)


@pytest.mark.parametrize("objects", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.6])
def test_two_nearest_equals_a_search_through_all_pixels(objects, share):
    labels = scattered(objects, (13, 17), max(objects, 1), share if objects else 0)
    np.testing.assert_array_equal(two_nearest(labels), two_nearest_naive(labels))


def test_distances_above_a_limit_are_infinite_and_the_others_stay():
    labels = scattered(5, (20, 30), 4, 0.02)
    for full, cut in zip(two_nearest(labels), two_nearest(labels, 5.5), strict=True):
        np.testing.assert_array_equal(cut, np.where(full > 5.5, np.inf, full))
        assert np.isinf(cut).any() and np.isfinite(cut).any()


def test_distance_to_a_mask_equals_scipys():
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = rng(1).random((60, 45)) < 0.01
    np.testing.assert_allclose(distance_to(mask), ndimage.distance_transform_edt(~mask), rtol=1e-14)


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("share", [0.3, 0.55, 0.7, 1.0])
def test_components_equal_scipys(connectivity, share):
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = rng(2).random((40, 31)) < share
    theirs, count = ndimage.label(mask, np.ones((3, 3)) if connectivity == 8 else None)
    ours = components(mask, connectivity)
    assert ours.max() == count and ((ours > 0) == mask).all()
    # The same parts; numbers may differ where a component's topmost row begins twice.
    assert len(np.unique(ours * (count + 1) + theirs)) == count + (not mask.all())


def test_a_spiral_is_one_component_and_an_empty_mask_none():
    spiral = picture(
        "#########",
        "........#",
        "#######.#",
        "#.....#.#",
        "#.###.#.#",
        "#.#...#.#",
        "#.#####.#",
        "#.......#",
        "#########",
    )
    assert components(spiral).max() == 1
    assert components(np.zeros((3, 0))).shape == (3, 0)
    assert not components(np.zeros((3, 4))).any()


# --- weight map ---

CELLS = picture(
    "11...22222",
    "11...22222",
    "11........",
    "......3333",
    "1.....3333",
)


@pytest.mark.parametrize("background_only", [True, False])
def test_border_weights_of_hand_made_cells_equal_brute_force(background_only):
    nearest, second = two_nearest_naive(CELLS)
    expected = 10 * np.exp(-((nearest + second) ** 2) / (2 * 5**2))
    if background_only:
        expected[CELLS > 0] = 0
    expected += np.where(CELLS > 0, 3, 0.5)
    found = border_weight_map(CELLS, (0.5, 3), background_only=background_only)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32


def test_border_weights_are_highest_in_the_narrowest_gap_and_1_far_away():
    labels = np.zeros((9, 120), np.int64)
    labels[:, 20:30], labels[:, 31:40], labels[:, 44:50] = 1, 2, 3
    weights = border_weight_map(labels)
    assert np.unravel_index(weights.argmax(), weights.shape)[1] == 30
    assert weights[4, 30] == pytest.approx(1 + 10 * math.exp(-(2**2) / 50), rel=1e-6)
    assert weights[4, 41] > weights[4, 52] > 1
    assert weights[4, 119] == 1


def test_one_cell_alone_has_no_border_weights():
    assert (border_weight_map(CELLS == 1) == 1).all()
    with pytest.raises(ArgumentError, match="sigma"):
        border_weight_map(CELLS, sigma=0)
    with pytest.raises(ArgumentError, match="class_weight"):
        border_weight_map(CELLS, (1, 2, 3))


def test_cells_that_touch_are_parted_by_one_pixel_and_others_left_alone():
    touching = picture("1122", "1122", "3344", "3344")
    apart = separate_touching(touching)
    assert components(apart > 0, connectivity=8).max() == 4
    assert set(np.unique(apart)) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(separate_touching(CELLS), CELLS)
    at_a_corner = picture("100", "020", "300")
    np.testing.assert_array_equal(separate_touching(at_a_corner), picture("000", "000", "300"))


# --- elastic deformation ---


def test_displacement_field_passes_through_the_coarse_vectors_and_is_smooth():
    field = displacement_field((41, 61), rng(4), grid=3, sigma=10)
    coarse = 10 * rng(4).standard_normal((1, 2, 3, 3))[0]
    np.testing.assert_allclose(field[:, ::20, ::30], coarse, atol=1e-9)
    assert np.abs(np.diff(field, axis=1)).max() < 3


def test_displacements_are_normal_with_the_asked_for_deviation():
    corners = np.array([displacement_field((5, 5), draw, 3, 7.0)[:, ::2, ::2]
                        for draw in (rng(s) for s in range(300))])
    assert corners.std() == pytest.approx(7, rel=0.05)
    assert abs(corners.mean()) < 0.4


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_a_whole_displacement_moves_pixels_and_mirrors_at_the_border(mode):
    image = rng().random((2, 7, 9))
    field = np.stack([np.full((7, 9), -2.0), np.full((7, 9), 3.0)])
    expected = np.pad(image, ((0, 0), (2, 0), (0, 3)), mode="reflect")[:, :7, 3:]
    np.testing.assert_allclose(warp(image, field, mode), expected, atol=1e-12)


def test_image_and_labels_bend_together():
    """A picture of the labels themselves: bent, it must still show the bent labels."""
    i, j = np.mgrid[:80, :90]
    labels = ((i // 20 + j // 30) % 4).astype(np.uint8)
    image = labels[None].astype(np.float32)
    bend = ElasticDeformation(sigma=6.0)
    bent, bent_labels = bend(image, labels, rng=rng(7))
    assert bent.dtype == np.float32 and bent_labels.dtype == np.uint8
    assert (bent_labels != labels).mean() > 0.05
    assert set(np.unique(bent_labels)) <= {0, 1, 2, 3}
    # Between two labels, the bilinear image is a mixture; away from edges it is the label.
    within = bent[0] == np.rint(bent[0])
    assert within.mean() > 0.8
    np.testing.assert_array_equal(bent[0][within], bent_labels[within])


def test_elastic_deformation_repeats_with_its_seed_and_zero_leaves_all_as_it_is():
    image = rng().random((1, 12, 10)).astype(np.float32)
    first, again, other = (ElasticDeformation()(image, rng=rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_allclose(ElasticDeformation(sigma=0)(image, rng=rng()), image, atol=1e-6)
    with pytest.raises(ShapeError, match="displacement"):
        warp(image, np.zeros((2, 10, 12)))
    with pytest.raises(ArgumentError, match="sigma"):
        displacement_field((3, 3), rng(), sigma=-1)


# --- scores in pixels ---


def test_scores_equal_those_worked_by_hand():
    """Two images, added up before anything is divided: n = [[5, 1], [2, 2]]."""
    matrix = ConfusionMatrix(2, ignore_index=255)
    matrix.add(Tensor(np.array([0, 0, 0, 1, 0])), [0, 0, 0, 0, 1])
    matrix.add([[0, 1, 0], [0, 1, 0]], [[1, 1, 0], [0, 1, 255]])
    assert matrix.counts.tolist() == [[5, 1], [2, 2]]
    assert matrix.pixel_accuracy == pytest.approx(7 / 10)
    assert matrix.class_accuracy == pytest.approx((5 / 6 + 2 / 4) / 2)
    np.testing.assert_allclose(matrix.ious, [5 / 8, 2 / 5])
    assert matrix.mean_iou == pytest.approx((5 / 8 + 2 / 5) / 2)
    assert matrix.frequency_weighted_iou == pytest.approx((6 * 5 / 8 + 4 * 2 / 5) / 10)


def test_confusion_matrix_equals_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    draw = rng(8)
    target, answer = draw.integers(0, 5, (2, 3, 20, 30))
    target[target == 4] = 255
    matrix = ConfusionMatrix(5, ignore_index=255)
    for a, t in zip(answer, target, strict=True):
        matrix.add(a, t)
    counted = target != 255
    theirs = metrics.confusion_matrix(target[counted], answer[counted], labels=range(5))
    np.testing.assert_array_equal(matrix.counts, theirs)
    jaccard = metrics.jaccard_score(target[counted], answer[counted], average=None)
    np.testing.assert_allclose(matrix.ious, jaccard)
    weighted = metrics.jaccard_score(target[counted], answer[counted], average="weighted")
    assert matrix.frequency_weighted_iou == pytest.approx(weighted)
    recall = metrics.recall_score(target[counted], answer[counted], average=None, labels=range(4))
    np.testing.assert_allclose(matrix.class_accuracies[:4], recall)
    assert matrix.class_accuracy == pytest.approx(recall.mean())
    assert np.isnan(matrix.class_accuracies[4]) and matrix.ious[4] == 0


def test_scores_of_nothing_are_not_numbers_and_do_not_warn():
    matrix = ConfusionMatrix(3)
    for score in (matrix.pixel_accuracy, matrix.class_accuracy, matrix.mean_iou,
                  matrix.frequency_weighted_iou):
        assert math.isnan(score)
    with pytest.raises(ShapeError, match="same shape"):
        matrix.add(np.zeros((2, 3), int), np.zeros((3, 2), int))
    with pytest.raises(ArgumentError, match="no class 3"):
        matrix.add([3], [0])


# --- boundaries ---


def test_boundary_is_where_a_side_meets_another_class():
    found = boundary(picture("####", "####", "####", "##.."))
    np.testing.assert_array_equal(found, picture("....", "....", "..##", ".#..") > 0)


def boundary_f1_naive(answer, target, c, reach):
    def edge(labels):
        h, w = labels.shape
        return [
            (i, j) for i, j in np.argwhere(labels == c)
            if any(0 <= a < h and 0 <= b < w and labels[a, b] != c
                   for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)))
        ]

    def share(some, others):
        near = [any(math.hypot(i - a, j - b) <= reach for a, b in others) for i, j in some]
        return sum(near) / len(near)

    p, r = share(edge(answer), edge(target)), share(edge(target), edge(answer))
    return 2 * p * r / (p + r) if p + r else 0.0


@pytest.mark.parametrize("reach", [0, 1, 2.5])
def test_boundary_f1_equals_naive_loops(reach):
    draw = rng(9)
    target = np.kron(draw.integers(0, 3, (4, 5)), np.ones((6, 5), int))
    answer = np.roll(target, (1, 2), (0, 1))
    expected = [boundary_f1_naive(answer, target, c, reach) for c in range(3)]
    np.testing.assert_allclose(boundary_f1(answer, target, 3, tolerance=reach), expected)
    assert 0 < min(expected) < 1


def test_boundary_tolerance_is_three_quarters_of_a_percent_of_the_diagonal():
    """A diagonal of 500 pixels allows 3.75: a shift by 3 is right, one by 4 is wrong."""
    target = np.zeros((300, 400), int)
    target[:, 200:] = 1
    right, wrong = np.roll(target, 3, 1), np.roll(target, 4, 1)
    right[:, :3] = wrong[:, :4] = 0
    assert boundary_f1(right, target, 2).tolist() == [1, 1]
    assert boundary_f1(wrong, target, 2).tolist() == [0, 0]


def test_boundary_f1_of_absent_whole_and_ignored_classes():
    whole, half = np.zeros((4, 6), int), np.repeat([[0, 0, 0, 1, 1, 1]], 4, 0)
    np.testing.assert_array_equal(boundary_f1(whole, whole, 2), [1, np.nan])
    np.testing.assert_array_equal(boundary_f1(whole + 1, whole, 2), [0, np.nan])
    np.testing.assert_array_equal(boundary_f1(whole, half, 2), [0, 0])
    void = np.where(np.arange(6) < 2, 255, half)
    answer = np.where(np.arange(6) < 2, 1, half)
    assert boundary_f1(answer, void, 2, ignore_index=255, tolerance=0).tolist() == [1, 1]
    score = BoundaryF1(2)
    assert math.isnan(score.value)
    score.add(half, half)
    score.add(whole, half)
    assert score.value == 0.5


# --- membranes ---

TWO_CELLS = picture("###.###", "###.###", "###.###") > 0
BROKEN = picture("###.###", "#######", "###.###") > 0


def test_a_gap_in_a_membrane_joins_cells_for_rand_and_not_for_pixels():
    """18 pixels in cells, two of 9. Joined: sum p_ij^2 = 162, targets 162, answer 18^2."""
    assert pixel_error(BROKEN, TWO_CELLS) == pytest.approx(1 / 21)
    assert rand_error(TWO_CELLS, TWO_CELLS) == 0
    assert rand_error(BROKEN, TWO_CELLS) == pytest.approx(1 - 2 * 162 / (162 + 324))


def rand_error_naive(answer, target, singletons):
    """F1 over pairs, the pair of a pixel with itself among them."""
    cells, parts = components(target), components(answer)
    places = np.argwhere(cells > 0)
    same_cell = same_part = both = 0
    for a, p in enumerate(places):
        for b, q in enumerate(places):
            cell = cells[tuple(p)] == cells[tuple(q)]
            part = parts[tuple(p)] == parts[tuple(q)]
            if singletons and parts[tuple(p)] == 0:
                part = a == b
            same_cell, same_part, both = same_cell + cell, same_part + part, both + (cell and part)
    precision, recall = both / same_part, both / same_cell
    return 1 - 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("membranes", ["singletons", "segment"])
def test_rand_error_equals_counting_pairs(membranes):
    draw = rng(10)
    target, answer = draw.random((2, 9, 11)) < 0.6
    expected = rand_error_naive(answer, target, membranes == "singletons")
    assert rand_error(answer, target, membranes) == pytest.approx(expected)
    assert 0.1 < expected < 1


def test_membrane_errors_refuse_probabilities_and_unknown_names():
    with pytest.raises(ShapeError, match="threshold"):
        pixel_error(TWO_CELLS * 0.5, TWO_CELLS)
    with pytest.raises(ArgumentError, match="background"):
        rand_error(TWO_CELLS, TWO_CELLS, "background")
    assert rand_error(TWO_CELLS, np.zeros_like(TWO_CELLS)) == 0


def test_a_pixel_is_simple_if_its_flip_changes_no_count_of_cells_or_of_membranes():
    """All 256 neighbourhoods."""

    def counts(around: list[bool], centre: bool) -> tuple[int, int]:
        block = np.full((3, 3), centre)
        for value, (di, dj) in zip(around, RING, strict=True):
            block[1 + di, 1 + dj] = value
        return components(block, 4).max(), components(~block, 8).max()

    for code in range(256):
        around = [bool(code >> k & 1) for k in range(8)]
        assert is_simple(around) == (counts(around, False) == counts(around, True)), code


def test_warping_forgives_a_shifted_membrane_and_not_a_broken_one():
    shifted = picture("##.####", "##.####", "##.####") > 0
    assert pixel_error(shifted, TWO_CELLS) == pytest.approx(6 / 21)
    np.testing.assert_array_equal(warped(TWO_CELLS, shifted), shifted)
    assert warping_error(shifted, TWO_CELLS) == 0
    assert warping_error(BROKEN, TWO_CELLS) == pytest.approx(1 / 21)


def test_warping_keeps_the_number_of_cells_and_comes_closer():
    draw = rng(11)
    target = components(draw.random((30, 30)) < 0.5) % 3 > 0
    answer = draw.random((30, 30)) < 0.5
    bent = warped(target, answer)
    assert components(bent).max() == components(target).max()
    around = [components(~np.pad(m, 1), 8).max() for m in (bent, target)]
    assert around[0] == around[1]
    assert 0 < (bent != answer).sum() < (target != answer).sum()

# --- accuracy by distance from a border ---


def naive_border_distance(labels, farthest):
    h, w = labels.shape
    touching = [
        (i, j) for i in range(h) for j in range(w)
        if any(0 <= i + a < h and 0 <= j + b < w and labels[i + a, j + b] != labels[i, j]
               for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0)))
    ]
    found = np.full((h, w), farthest)
    for i in range(h):
        for j in range(w):
            nearest = min((math.hypot(i - a, j - b) for a, b in touching), default=math.inf)
            found[i, j] = min(math.ceil(nearest), farthest) if nearest < math.inf else farthest
    return found


def test_border_distance_is_that_of_the_nearest_pixel_that_touches_another_class():
    labels = np.random.default_rng(0).integers(0, 2, (3, 4)).repeat(4, 0).repeat(4, 1)
    assert (border_distance(labels, 5) == naive_border_distance(labels, 5)).all()
    assert (border_distance(np.zeros((3, 3), int), 4) == 4).all()


def test_border_accuracy_counts_each_distance_by_itself():
    target = np.array([[0, 0, 0, 0, 1, 1, 9]])
    answer = np.array([[0, 0, 1, 0, 0, 1, 1]])
    near = BorderAccuracy(farthest=2, ignore_index=9)
    near.add(answer, target)
    # Distances 2 (and 3, taken as 2), 2, 1, 0, 0; label 1 at the ignored pixel touches it: 0.
    assert near.pixels.tolist() == [3, 1, 2]
    assert near.right.tolist() == [2, 0, 2]
    assert near.by_distance == [2 / 3, 0, 1]
    assert near.between(1) == 2 / 3
    near.add(answer, target)
    assert near.pixels.tolist() == [6, 2, 4]
    with pytest.raises(ShapeError, match="must both be"):
        near.add(answer[:, :3], target)


# --- what became of each cell ---


def test_cells_are_alone_merged_or_missed():
    instances = np.array([
        [1, 1, 0, 2, 2, 0, 3, 3],
        [1, 1, 0, 2, 2, 0, 3, 3],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [4, 4, 4, 4, 0, 5, 5, 5],
    ])
    answer = np.array([
        [1, 1, 1, 1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 1, 1, 1],
    ], bool)
    # 1 and 2 by a bridge; 3 by just half of it; of 4 a quarter only; 5 whole.
    assert cell_fates(answer, instances) == {"cells": 5, "alone": 2, "merged": 2, "missed": 1}
    assert cell_fates(answer, instances * 0) == {"cells": 0, "alone": 0, "merged": 0, "missed": 0}


# --- tiles, deformed ---


def test_deformed_tiles_keep_image_labels_and_weights_together():
    images, _, instances = cell_images(2, 48, seed=3).arrays
    tiles = DeformedTiles(instances[:, None].astype(np.float32), instances, 40, 4, grey=0.0)
    assert len(tiles) == 2
    image, labels, weights = tiles.draw(1, np.random.default_rng(5))
    assert image.shape == (1, 40, 40) and labels.shape == weights.shape == (32, 32)
    # Without changes of grey, the "image" of instances says where labels must be, edges apart.
    agree = (image[0, 4:36, 4:36] > 0.5) == (labels > 0)
    assert agree.mean() > 0.93
    share = (instances > 0).mean()  # both images hold both classes, and have one size
    balanced = 0.5 / np.array([1 - share, share])
    np.testing.assert_allclose(weights[labels > 0], balanced[1], rtol=1e-6)
    np.testing.assert_allclose(weights[labels == 0].min(), balanced[0], rtol=1e-2)
    assert weights.max() > 5
    alike = DeformedTiles(images, instances, 40, 4, class_weight=(1, 1))
    assert (alike.draw(1, np.random.default_rng(5))[2][labels > 0] == 1).all()
    again = tiles.draw(1, np.random.default_rng(5))
    assert all((a == b).all() for a, b in zip(again, (image, labels, weights), strict=True))
    other, _, _ = tiles.draw(1, np.random.default_rng(6))
    assert (other != image).any()
    largest = DeformedTiles(images[:, :1], instances, 56, 4)
    assert largest.draw(0, np.random.default_rng(0))[0].shape == (1, 56, 56)
    with pytest.raises(ShapeError, match="hold a tile"):
        DeformedTiles(images, instances, 57, 4)
    with pytest.raises(ShapeError, match="instances"):
        DeformedTiles(images, instances[:1], 40, 4)


def test_grey_changes_about_the_middle_of_the_range():
    grey = np.full((1, 1, 24, 24), 0.5, np.float32)
    tiles = DeformedTiles(grey, np.zeros((1, 24, 24), np.int64), 20, 2, 0.1, class_weight=(1, 1))
    found = [tiles.draw(0, np.random.default_rng(k))[0].mean() for k in range(30)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)
    assert np.std(found) == pytest.approx(0.05, rel=0.3)


# --- pictures of labels ---


def test_the_largest_piece_of_a_class_is_found_in_whatever_scene_it_is():
    scenes = np.zeros((3, 40, 40), np.int64)
    scenes[0, :3, :3] = 1
    scenes[2, 30:36, 10:14] = 1
    window = largest_piece(scenes, 1)
    assert window.scene == 2
    assert (window.of(scenes) == 1).sum() == 24
    assert window.of(scenes).shape == (24, 24)
    assert largest_piece(scenes, 2) is None
