"""Depth from two views: warping and its two derivatives, losses, measures, scenes, readers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

import minidl
import minidl.functional as F
from minidl import Tensor, no_grad, tensor
from minidl.autograd import grad
from minidl.data import stereo_scenes
from minidl.data.readers import kitti
from minidl.errors import ArgumentError, DataError, ShapeError
from minidl.tasks.depth import (
    ResizedPair,
    block_matching,
    box_mean,
    depth_from_disparity,
    depth_metrics,
    edge_aware_tv,
    in_view,
    mean_metrics,
    mirrored,
    motorcycle,
    photometric,
    quadratic_smoothness,
    warp,
)
from minidl.tasks.depth.block_matching import cost_volume
from minidl.tasks.depth.warp import central_difference
from tests import strict_cupy

RNG = np.random.default_rng(0)


def wavy(n=2, c=3, h=5, w=12):
    """A smooth image in float64, so that its linear view holds for small steps."""
    x, y = np.arange(w) / w, np.arange(h)[:, None] / h
    waves = [np.sin(2 * np.pi * (k * x + y) + k) for k in range(1, n * c + 1)]
    return np.stack(waves).reshape(n, c, h, w)


def numeric(function, x, step=1e-6):
    """The gradient of a number, by central differences."""
    found = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        beside = [x.copy(), x.copy()]
        beside[0][i] += step
        beside[1][i] -= step
        found[i] = (function(beside[0]) - function(beside[1])) / (2 * step)
    return found


# --- warping ---


@pytest.mark.parametrize("derivative", ["exact", "taylor"])
def test_a_scene_of_known_disparity_is_rebuilt_and_tells_sign_and_scale(derivative):
    right = RNG.random((1, 3, 6, 20))
    left = np.zeros_like(right)
    left[..., 3:] = right[..., :-3]  # x_R = x_L - 3
    rebuilt = warp(right, np.full((1, 1, 6, 20), 3.0), derivative).numpy()
    np.testing.assert_allclose(rebuilt[..., 3:], left[..., 3:], atol=1e-12)
    np.testing.assert_allclose(rebuilt[..., :3], 0, atol=1e-12)  # outside the right view
    for wrong in (-3.0, 1.5, 6.0):
        other = warp(right, np.full((1, 1, 6, 20), wrong), derivative).numpy()
        assert np.abs(other - left)[..., 6:-3].mean() > 0.1


def test_half_a_pixel_lies_between_two_and_rows_are_not_mixed():
    right = np.arange(24.0).reshape(1, 1, 4, 6) ** 2
    y = warp(right, np.full((1, 1, 4, 6), 0.5)).numpy()
    np.testing.assert_allclose(y[..., 1:], (right[..., 1:] + right[..., :-1]) / 2)


def test_border_padding_repeats_the_outermost_pixel():
    right = RNG.random((1, 2, 3, 8))
    y = warp(right, np.full((1, 1, 3, 8), 5.5), padding_mode="border").numpy()
    np.testing.assert_allclose(y[..., :5], np.repeat(right[..., :1], 5, 3))


def test_exact_derivative_agrees_with_differences_of_the_warp():
    right, weight = wavy(), RNG.standard_normal((2, 3, 5, 12))
    at = RNG.uniform(0.2, 0.8, (2, 1, 5, 12)) + RNG.integers(-1, 3, (2, 1, 5, 12))
    disparity = tensor(at, requires_grad=True)
    (found,) = grad((warp(right, disparity) * weight).sum(), disparity)

    def value(d):
        return float((warp(right, d).numpy() * weight).sum())

    np.testing.assert_allclose(found.numpy(), numeric(value, at), atol=1e-7)


def test_taylor_derivative_agrees_with_differences_of_the_linearised_energy():
    right, left = wavy(), wavy()[:, ::-1]
    at = RNG.uniform(0.2, 0.8, (2, 1, 5, 12)) + RNG.integers(-1, 3, (2, 1, 5, 12))
    with no_grad():
        fixed = warp(right, at).numpy()
    slope = np.zeros_like(fixed)
    slope[..., 1:-1] = (fixed[..., 2:] - fixed[..., :-2]) / 2

    def energy(d):  # x_R = x_L - D: a larger D looks further to the left
        return float(((fixed - (d - at) * slope - left) ** 2).sum())

    disparity = tensor(at, requires_grad=True)
    loss = F.sum(F.square(warp(right, disparity, "taylor") - Tensor(left.copy())))
    (found,) = grad(loss, disparity)
    np.testing.assert_allclose(found.numpy(), numeric(energy, at), atol=1e-7)
    assert not found.numpy()[..., [0, -1]].any()


def test_both_derivatives_lead_towards_the_true_disparity_of_a_smooth_pair():
    x = np.linspace(0, 2 * np.pi, 40)
    right = np.tile(np.sin(x), (1, 1, 3, 1))
    left = np.tile(np.sin(x - 2 * x[1]), (1, 1, 3, 1))  # disparity 2
    for derivative in ("exact", "taylor"):
        for start, sign in ((1.5, -1), (2.5, 1)):
            disparity = tensor(np.full((1, 1, 3, 40), start), requires_grad=True)
            loss = photometric(warp(right, disparity, derivative), left)
            (found,) = grad(loss, disparity)
            inner = found.numpy()[..., 6:-6]
            assert (np.sign(inner) == sign).mean() > 0.95, (derivative, start)


def test_right_view_has_its_gradient_with_either_derivative():
    right = tensor(wavy(), requires_grad=True)
    weight = RNG.standard_normal((2, 3, 5, 12))
    found = [
        grad((warp(right, np.full((2, 1, 5, 12), 1.3), kind) * weight).sum(), right)[0].numpy()
        for kind in ("exact", "taylor")
    ]
    assert np.abs(found[0]).sum() > 1
    np.testing.assert_array_equal(*found)


def test_taylor_reaches_further_than_the_two_pixels_of_the_interpolation():
    right = np.zeros((1, 1, 1, 9))
    right[..., 4] = 1.0
    disparity = tensor(np.zeros((1, 1, 1, 9)), requires_grad=True)
    (found,) = grad(warp(right, disparity, "taylor").sum(), disparity)
    np.testing.assert_allclose(found.numpy().ravel(), [0, 0, 0, -0.5, 0, 0.5, 0, 0, 0])
    assert not central_difference(Tensor(np.ones((1, 1, 1, 2)))).numpy().any()


def test_in_view_knows_which_columns_leave_the_right_view():
    inside = in_view(np.array([[[[0.0, 1.0, 2.5, -1.0]]]])).numpy()
    assert inside.tolist() == [[[[1.0, 1.0, 0.0, 0.0]]]]


def test_warp_says_what_does_not_fit():
    with pytest.raises(ShapeError, match="disparity has shape"):
        warp(np.zeros((1, 3, 4, 5)), np.zeros((1, 3, 4, 5)))
    with pytest.raises(ArgumentError, match="unknown derivative"):
        warp(np.zeros((1, 3, 4, 5)), np.zeros((1, 1, 4, 5)), "central")


def test_warp_and_losses_stay_on_the_device(monkeypatch):
    strict_cupy.install(monkeypatch)
    right, left = (RNG.random((1, 3, 6, 10)).astype(np.float32) for _ in range(2))
    values = []
    for device in ("cpu", "cuda"):
        with minidl.use_kernels("reference"):
            views = [tensor(x, device=device) for x in (right, left)]
            d = tensor(np.full((1, 1, 6, 10), 1.3, np.float32), device=device, requires_grad=True)
            loss = 0.1 * quadratic_smoothness(d) + edge_aware_tv(d, views[1])
            for kind in ("exact", "taylor"):
                loss = loss + photometric(warp(views[0], d, kind), views[1], weight=in_view(d))
            loss.backward()
            values.append((loss.item(), d.grad.to("cpu").numpy()))
    assert values[0][0] == pytest.approx(values[1][0])
    np.testing.assert_allclose(values[0][1], values[1][1], atol=1e-6)


# --- losses ---


def test_photometric_sums_channels_and_averages_as_asked():
    a, b = np.zeros((2, 3, 4, 5)), np.full((2, 3, 4, 5), 0.5)
    assert photometric(a, b).item() == pytest.approx(3 * 0.25)
    assert photometric(a, b, "absolute").item() == pytest.approx(3 * 0.5)
    assert photometric(a, b, reduction="sum").item() == pytest.approx(3 * 0.25 * 20)
    half = np.zeros((2, 1, 4, 5))
    half[:, :, :2] = 1
    assert photometric(a, b, weight=half).item() == pytest.approx(3 * 0.25 / 2)
    with pytest.raises(ArgumentError, match="kind"):
        photometric(a, b, "ssim")
    with pytest.raises(ShapeError, match="one shape"):
        photometric(a, b[:, :1])


def test_smoothness_of_a_ramp_is_its_slope():
    ramp = np.broadcast_to(np.arange(10) * 0.3, (1, 1, 8, 10)).copy()
    assert quadratic_smoothness(ramp, "sum").item() == pytest.approx(0.09 * 8 * 9)
    flat = np.zeros((1, 3, 8, 10))
    assert edge_aware_tv(ramp, flat, reduction="sum").item() == pytest.approx(0.3 * 8 * 8)
    turned = ramp.swapaxes(2, 3).copy()
    assert edge_aware_tv(turned, flat.swapaxes(2, 3).copy(), reduction="sum").item() == (
        pytest.approx(0.3 * 8 * 8)
    )


def test_a_step_is_cheaper_where_the_image_has_one_and_tv_ignores_how_it_is_spread():
    step, ramp = np.zeros((1, 1, 4, 12)), np.zeros((1, 1, 4, 12))
    step[..., 6:] = 3.0
    ramp[...] = np.clip(np.arange(12) - 4, 0, 3)
    image = np.repeat(step, 3, 1)
    flat = np.zeros_like(image)
    assert edge_aware_tv(step, image).item() < 0.5 * edge_aware_tv(step, flat).item()
    assert edge_aware_tv(step, flat).item() == pytest.approx(edge_aware_tv(ramp, flat).item())
    assert quadratic_smoothness(step).item() == pytest.approx(3 * quadratic_smoothness(ramp).item())


def test_the_releases_horizontal_weight_lets_opposite_channels_cancel():
    image = np.zeros((1, 3, 4, 12))
    image[:, 0, :, 6:], image[:, 1, :, 6:] = 2.0, -2.0
    disparity = np.zeros((1, 1, 4, 12))
    disparity[..., 6:] = 1.0
    plain = edge_aware_tv(disparity, np.zeros_like(image)).item()
    assert edge_aware_tv(disparity, image, released=True).item() == pytest.approx(plain)
    assert edge_aware_tv(disparity, image).item() == pytest.approx(plain * np.exp(-0.33 * 2))
    upright = [x.swapaxes(2, 3).copy() for x in (disparity, image)]
    both = [edge_aware_tv(*upright, released=r).item() for r in (True, False)]
    assert both[0] == pytest.approx(both[1]) and both[0] < plain


# --- geometry and measures ---


def test_depth_does_not_depend_on_the_grid_of_the_disparity():
    depth = RNG.uniform(2, 40, (3, 8, 64))
    full = 721.5 * 0.54 / depth * 64 / 1242
    np.testing.assert_allclose(depth_from_disparity(full, 721.5, 0.54, 1242), depth)
    assert depth_from_disparity(np.array([[-1.0, 0.0]]), 60, 0.5, 2).min() > 1e6
    with pytest.raises(ArgumentError, match="above 0"):
        depth_from_disparity(full, 0, 0.54, 1242)


def test_measures_are_those_of_their_formulas():
    p, g = np.array([[2.0, 8.0, 30.0, 5.0]]), np.array([[4.0, 5.0, 90.0, 0.0]])
    found = depth_metrics(p, g)  # 90 m is beyond the cap, 0 is unknown
    e = np.log([4 / 2, 5 / 8])
    expected = [(0.5 + 0.6) / 2, (4 / 4 + 9 / 5) / 2, np.sqrt((4 + 9) / 2), np.sqrt((e**2).mean()),
                (np.abs(e) / np.log(10)).mean(), 0, 0, 0.5]
    assert list(found.values()) == pytest.approx(expected)
    far = depth_metrics(np.array([[1e9]]), np.array([[40.0]]))
    assert far["rmse"] == pytest.approx(10)  # brought to 50 m first
    near = depth_metrics(np.array([[0.2, 9.0]]), np.array([[1.5, 0.9]]))
    assert near["rmse"] == pytest.approx(0.5)  # brought to 1 m first, and 0.9 m does not count
    for cap in ((0, 50), (5, 5), (9, 2)):
        with pytest.raises(ArgumentError, match="0 < low < high"):
            depth_metrics(p, g, cap)
    with pytest.raises(DataError, match="no pixel"):
        depth_metrics(p, np.full_like(p, np.nan))
    with pytest.raises(ShapeError):
        depth_metrics(p, g[:, :2])


def test_images_count_alike_whatever_their_pixels():
    small, large = np.full((1, 1), 5.0), np.full((1, 99), 5.0)
    found = [depth_metrics(small + 1, small), depth_metrics(large, large)]
    assert mean_metrics(found)["rmse"] == pytest.approx(0.5)


# --- pairs that stay pairs ---


def test_a_mirrored_pair_keeps_the_sign_of_its_disparity():
    wide = box_mean(RNG.random((3, 16, 40)), 3)
    left, right = mirrored(wide[:, :, :36], wide[:, :, 4:])
    disparity, trusted = block_matching(left, right, 8, 5)
    assert np.abs(disparity[trusted] - 4).mean() < 0.1 and trusted.mean() > 0.8
    swapped = block_matching(right, left, 8, 5)[0]
    assert np.abs(swapped - 4).mean() > 1


def test_resized_pairs_are_changed_alike():
    wide = box_mean(RNG.random((3, 32, 72)), 5)
    left, right = wide[:, :, :64], wide[:, :, 8:]
    whole = ResizedPair((16, 32))(left, right, np.random.default_rng(0))
    np.testing.assert_allclose(whole[0].mean(), left.mean(), rtol=1e-2)
    change = ResizedPair((16, 32), zoom=2.0, colour=0.2, mirror=True)
    ratios = []
    for seed in range(6):
        a, b = change(left, right, np.random.default_rng(seed))
        assert a.shape == (3, 16, 32) and a.dtype == left.dtype
        disparity, trusted = block_matching(a, b, 12, 5)
        ratios.append(np.median(disparity[trusted]) / 4)  # 8 pixels, on half of the columns
    assert min(ratios) > 0.9 and max(ratios) < 2.1 and np.ptp(ratios) > 0.2
    pixel = np.full((3, 1, 1), 0.5)
    for view in ResizedPair((4, 4), zoom=2.0)(pixel, pixel, np.random.default_rng(0)):
        np.testing.assert_allclose(view, np.full((3, 4, 4), 0.5))
    with pytest.raises(ArgumentError, match="zoom at least 1"):
        ResizedPair((4, 4), zoom=0.5)


def test_colours_of_both_views_are_multiplied_alike_by_what_was_asked():
    grey, change = np.full((3, 2, 2), 0.4), ResizedPair((2, 2), colour=0.5)
    gains = []
    for seed in range(40):
        a, b = change(grey, grey, np.random.default_rng(seed))
        np.testing.assert_array_equal(a, b)
        gains.append(a[:, 0, 0] / 0.4)
        np.testing.assert_allclose(a, np.broadcast_to(0.4 * gains[-1][:, None, None], a.shape))
    assert 0.5 <= np.min(gains) < 0.55 and 1.45 < np.max(gains) <= 1.5
    assert np.ptp(gains, axis=1).min() > 0  # each channel by another number


# --- block matching ---


def test_box_mean_is_the_mean_of_the_window():
    x = RNG.random((7, 9))
    y = box_mean(x, 3)
    assert y[3, 4] == pytest.approx(x[2:5, 3:6].mean(), rel=1e-5)
    assert y[0, 0] == pytest.approx(x[:2, :2].mean(), rel=1e-5)


@pytest.mark.parametrize("cost", ["sad", "ncc"])
def test_block_matching_finds_a_shift_and_trusts_what_both_views_show(cost):
    wide = box_mean(RNG.random((3, 24, 48)), 3)
    left, right = wide[:, :, :40], wide[:, :, 5:45]  # x_R = x_L - 5
    disparity, trusted = block_matching(left, right, 9, 5, cost)
    assert trusted[:, 8:-3].mean() > 0.95
    assert np.abs(disparity[:, 8:-3] - 5).mean() < 0.1
    assert np.abs(disparity[:, :5] - 5).mean() < 1  # not in the right view: filled


def test_ncc_bears_another_exposure_where_sad_does_not():
    scenes = stereo_scenes(2, (48, 96), 3)
    errors = {}
    for cost in ("sad", "ncc"):
        found = [block_matching(left, 0.6 * right, 14, 7, cost)[0]
                 for left, right in zip(scenes.left, scenes.right, strict=True)]
        errors[cost] = np.abs(np.stack(found) - scenes.disparity[:, 0]).mean()
    assert errors["ncc"] < 0.8 < errors["sad"]


def test_cost_of_ncc_is_zero_for_equal_windows_and_two_for_opposite_ones():
    x = box_mean(RNG.random((1, 12, 16)), 3)
    for other, expected in ((x, 0), (0.5 * x + 0.2, 0), (1 - x, 2), (np.full_like(x, 0.5), 1)):
        cost = cost_volume(x, other, 0, 5, "ncc")[0]
        np.testing.assert_allclose(cost, expected, atol=0.01)


def test_block_matching_says_what_does_not_fit():
    with pytest.raises(ArgumentError, match="window odd"):
        block_matching(np.zeros((1, 4, 9)), np.zeros((1, 4, 9)), 3, 4)
    with pytest.raises(ShapeError):
        block_matching(np.zeros((4, 9)), np.zeros((4, 9)), 3)


# --- generated scenes ---


@pytest.fixture(scope="module")
def scenes():
    return stereo_scenes(4, (48, 96), 7, noise=0.0)


def test_true_disparity_rebuilds_the_left_view_where_both_see(scenes):
    def error(shift):
        rebuilt = warp(scenes.right, scenes.disparity + np.float32(shift)).numpy()
        return np.abs(rebuilt - scenes.left).mean(1, keepdims=True)[scenes.visible]

    right = error(0).mean()
    assert right < 0.008
    for wrong in (-0.5, 0.5):
        assert error(wrong).mean() > 2.2 * right
    hidden = np.abs(warp(scenes.right, scenes.disparity).numpy() - scenes.left).mean(
        1, keepdims=True
    )[~scenes.visible]
    assert hidden.mean() > 4 * right and 0.03 < (~scenes.visible).mean() < 0.2


def test_scenes_have_the_geometry_they_claim(scenes):
    assert scenes.left.shape == (4, 3, 48, 96) and scenes.left.dtype == np.float32
    assert scenes.disparity.shape == scenes.visible.shape == (4, 1, 48, 96)
    depth = depth_from_disparity(scenes.disparity, scenes.focal, scenes.baseline, 96)
    # The lowest row sees the floor, 1.5 m below, or a box that stands before it.
    floor = 1.5 * scenes.focal / (47.5 - 24)
    nearest = np.minimum(depth[:, 0, -1], floor + 1e-3)
    assert np.isclose(depth[:, 0, -1].max(1), floor, rtol=1e-4).all()
    np.testing.assert_array_equal(nearest, depth[:, 0, -1])


def test_a_scene_depends_on_its_seed_and_number_alone(scenes):
    again = stereo_scenes(2, (48, 96), 7, noise=0.0)
    for one, other in zip(again[:4], scenes[:4], strict=True):
        np.testing.assert_array_equal(one, other[:2])
    assert not np.array_equal(scenes.disparity[0], scenes.disparity[1])
    with pytest.raises(ArgumentError):
        stereo_scenes(0)


# --- KITTI ---


def kitti_folder(root):
    """A drive of two pairs and its laser, of a size that is no one else's."""
    drive = root / "2011_09_26" / "2011_09_26_drive_0001_sync"
    for camera in ("image_02", "image_03"):
        (drive / camera / "data").mkdir(parents=True)
        for i in range(2):
            pixels = RNG.integers(0, 256, (20, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(drive / camera / "data" / f"{i:010d}.png")
    p2 = "P_rect_02: 30 0 30 1.8 0 30 10 0 0 0 1 0\n"
    p3 = "P_rect_03: 30 0 30 -14.4 0 30 10 0 0 0 1 0\n"
    (drive.parent / "calib_cam_to_cam.txt").write_text(
        "calib_time: 09-Jan-2012 13:57:47\nR_rect_00: 1 0 0 0 1 0 0 0 1\n" + p2 + p3
    )
    # From the laser's axes (forward, left, up) to the camera's (right, down, forward).
    (drive.parent / "calib_velo_to_cam.txt").write_text(
        "calib_time: 15-Mar-2012 11:37:16\nR: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 -0.5\n"
    )
    return drive


def test_raw_drives_are_read_as_pairs(tmp_path):
    drive = kitti_folder(tmp_path)
    assert kitti.kitti_drives(tmp_path) == [drive]
    pairs = kitti.kitti_raw([drive], lambda left, right, rng: (right, left))
    assert len(pairs) == 2
    left, right = pairs.example(1)
    assert left.shape == (3, 20, 60) and left.dtype == np.float32 and left.max() <= 1
    np.testing.assert_array_equal(pairs[1][0], right)
    (drive / "image_03" / "data" / "0000000001.png").unlink()
    with pytest.raises(DataError, match="1 of 4 files are missing"):
        kitti.kitti_raw([drive])
    with pytest.raises(DataError, match="no drives"):
        kitti.kitti_drives(drive)


def test_calibration_gives_focal_length_and_baseline(tmp_path):
    drive = kitti_folder(tmp_path)
    cameras = kitti.read_calibration(drive.parent / "calib_cam_to_cam.txt")
    assert cameras["R_rect_00"].shape == (3, 3) and "calib_time" not in cameras
    assert kitti.focal_and_baseline(cameras) == pytest.approx((30, 0.54))
    with pytest.raises(DataError, match="no P_rect_02"):
        kitti.focal_and_baseline({"R": np.eye(3)})
    (tmp_path / "empty.txt").write_text("nothing here")
    with pytest.raises(DataError, match="no lines"):
        kitti.read_calibration(tmp_path / "empty.txt")


def test_drives_may_be_one_folder(tmp_path):
    drive = kitti_folder(tmp_path)
    expected = kitti.kitti_raw([drive]).files
    for folder in (drive, str(drive), tmp_path, str(tmp_path)):
        assert kitti.kitti_raw(folder).files == expected
    with pytest.raises(DataError, match="no drives"):
        kitti.kitti_raw(str(tmp_path / "none"))


P2 = "721.5 0 609.6 44.9 0 721.5 172.9 0.2 0 0 1 0"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("P_rect_02: " + P2.replace("609.6", "nan"), "something else than numbers"),
        ("P_rect_02: " + P2.replace("609.6", "1e308"), "numbers past"),
        ("P_rect_02: " + P2.replace("609.6", "6o9.6"), "something else than numbers"),
        ("P_rect_02: " + P2.replace("721.5", "0"), "focal lengths 0"),
        ("P2: -" + P2, "focal lengths -721.5"),
        ("P_rect_02: " + P2[:-2], "11 numbers, not 12"),
        ("R_rect_00: 1 0 0 0 1 0 0 0", "8 numbers, not 9"),
        ("T: 1 2", "2 numbers, not 3"),
        ("T: x y z", "something else than numbers"),
        ("corner_dist: 9.95e-02", "a second time"),
        ("corner_dist: inf", "second time"),
        ("delta_f: 0 inf", "something else than numbers"),
    ],
)
def test_damaged_calibrations_are_refused_by_line(line, reason, tmp_path):
    path = tmp_path / "calib.txt"
    path.write_text(f"calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.95e-02\n{line}\n")
    with pytest.raises(DataError, match=rf"line 3 of .*calib\.txt(.|\n)*{reason}"):
        kitti.read_calibration(path)


def test_a_calibration_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "calib.txt"
    path.write_bytes(f"\ufeffP2: {P2}\r\n".encode())
    assert kitti.read_calibration(path)["P2"][0, 0] == 721.5
    path.write_bytes(b"P2: \xff\xfe\n")
    with pytest.raises(DataError, match=r"calib\.txt' cannot be read"):
        kitti.read_calibration(path)


def test_matrices_made_by_hand_are_checked_too():
    good = np.array([float(n) for n in P2.split()]).reshape(3, 4)
    for bad, reason in ((good[:, :3], "matrix of"), (good * np.nan, "finite"), (good * 0, "focal")):
        with pytest.raises(DataError, match=f"P_rect_03.*{reason}"):
            kitti.focal_and_baseline({"P_rect_02": good, "P_rect_03": bad})


@pytest.mark.filterwarnings("error")
def test_laser_points_past_all_bounds_are_passed_over():
    matrices = {"R_rect_00": np.eye(3), "P_rect_02": np.eye(3, 4)}
    laser = {"R": np.eye(3)[[1, 2, 0]], "T": np.zeros(3)}
    points = np.float32([[10, 0, 0], [np.nan, 0, 0], [np.inf, 1, 1], [3, 3e38, 0], [5, 9e5, -9e5]])
    depth = kitti.laser_depth(points, matrices, laser, (2, 2))
    assert depth[0, 0] == 10 and np.isnan(depth).sum() == 3


def test_laser_points_fall_on_their_pixels_and_the_nearest_counts(tmp_path):
    drive = kitti_folder(tmp_path)
    rows = np.array([[10.5, 0, 0, 0.3],    # 10 m ahead of the camera
                     [20.5, 0, 0, 0.3],    # behind it
                     [10.5, 2, -1, 0.3],   # 2 m to the left, 1 m below
                     [-5, 0, 0, 0.3],      # behind the car
                     [5.5, 90, 0, 0.3]], np.float32)  # beside the image
    rows.tofile(tmp_path / "points.bin")
    cameras, laser = (kitti.read_calibration(drive.parent / f"calib_{name}.txt")
                      for name in ("cam_to_cam", "velo_to_cam"))
    points = kitti.read_points(tmp_path / "points.bin")
    depth = kitti.laser_depth(points, cameras, laser, (20, 60))
    assert np.isfinite(depth).sum() == 2
    # x = (30 X + 1.8) / 10 + 30: the left colour camera stands beside the origin.
    assert depth[10, 30] == pytest.approx(10) and depth[13, 24] == pytest.approx(10)
    (tmp_path / "points.bin").write_bytes(b"123")
    with pytest.raises(DataError, match="no multiple of 16"):
        kitti.read_points(tmp_path / "points.bin")


def test_sixteen_bit_disparities_are_divided_by_256_and_0_is_unknown(tmp_path):
    path = tmp_path / "training" / "disp_noc_0" / "000003_10.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.array([[0, 256, 12_345]], np.uint16)).save(path)
    values = kitti.read_disparity(path)
    assert np.isnan(values[0, 0]) and values[0, 1:].tolist() == [1.0, np.float32(12_345 / 256)]
    with pytest.raises(DataError, match=r"no file .*image_2"):
        kitti.kitti_stereo(tmp_path)
    for side in ("image_2", "image_3"):
        (tmp_path / "training" / side).mkdir()
        Image.fromarray(np.zeros((1, 3, 3), np.uint8)).save(
            tmp_path / "training" / side / path.name
        )
    assert kitti.kitti_stereo(tmp_path)[0][2] == path
    Image.fromarray(np.zeros((1, 3), np.uint8)).save(path)
    with pytest.raises(DataError, match="16 bits"):
        kitti.read_disparity(path)


# --- the motorcycle ---


def test_the_motorcycles_views_agree_by_its_disparity():
    pytest.importorskip("skimage")
    pair = motorcycle(4)
    assert pair.left.shape == pair.right.shape == (3, 125, 185)
    known = np.isfinite(pair.disparity)
    assert 0.9 < known.mean() < 1 and np.nanmin(pair.disparity) > 1
    assert np.nanmax(pair.disparity) < 16

    def error(scale):
        disparity = np.where(known, scale * pair.disparity, 0).astype(np.float32)
        rebuilt = warp(pair.right[None], disparity[None, None], padding_mode="border").numpy()[0]
        return np.abs(rebuilt - pair.left).mean(0)[known].mean()

    assert error(1) < 0.6 * min(error(-1), error(0), error(0.5), error(2))


def test_without_scikit_image_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(DataError, match=r"minidl\[data\]"):
        motorcycle()
