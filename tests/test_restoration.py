"""Restoration: MATLAB's imresize, luma, PSNR and SSIM, the protocol, released files, the command.

The acceptance tests need the authors' weights and Set5: folders ``weights`` and ``Set5`` in the
folder that MINIDL_DATA names, or in ``shared/data`` beside the checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minidl
from minidl import Tensor
from minidl.__main__ import main
from minidl.commands.run import pictures, superres
from minidl.data.images import ORIENTATION
from minidl.errors import ArgumentError, DataError, DtypeError, ShapeError
from minidl.lecture.quality_table import comparison
from minidl.models.rednet import REDNet
from minidl.models.srcnn import SRCNN
from minidl.models.vdsr import VDSR
from minidl.tasks import restoration
from minidl.tasks.restoration import (
    Recipe,
    add_noise,
    denoising_patches,
    evaluate,
    evaluate_denoising,
    imresize,
    load_model,
    luma,
    modcrop,
    psnr,
    read_folder,
    read_released,
    rgb_to_ycbcr,
    save_model,
    shave,
    ssim,
    super_resolution_patches,
    ycbcr_to_rgb,
)
from tests import strict_cupy

DATA = Path(os.environ.get("MINIDL_DATA", Path(__file__).parents[2] / "shared" / "data"))
WEIGHTS = DATA / "weights"
needs_release = pytest.mark.skipif(
    not ((DATA / "Set5").is_dir() and WEIGHTS.is_dir()),
    reason="neither MINIDL_DATA nor shared/data has the authors' weights and Set5",
)


def photograph(h=40, w=52, seed=0) -> np.ndarray:
    """Smooth colours with edges, (3, H, W) uint8."""
    rng = np.random.default_rng(seed)
    i, j = np.mgrid[:h, :w]
    waves = [np.sin(i / rng.uniform(2, 6) + j / rng.uniform(2, 6)) for _ in range(3)]
    picture = 0.5 + 0.3 * np.stack(waves) + 0.2 * ((i - h / 2) ** 2 + (j - w / 2) ** 2 < 90)
    return (picture.clip(0, 1) * 255).astype(np.uint8)


# --- imresize ---

SQUARES = np.arange(9.0) ** 2
VECTORS = [
    (SQUARES, 1 / 3, True, [1.0987654321, 16.2222222222, 50.6790123457]),
    (SQUARES, 1 / 3, False, [1, 16, 49]),
    (SQUARES[:8], 1 / 2, True, [0.30078125, 6.26171875, 20.42578125, 43.01171875]),
    ([0, 1, 4], 3, True, [-0.1111111111, 0, 0.1851851852, 0.4814814815, 1, 1.962962963,
                          3.1481481481, 4, 4.3333333333]),
    ([0, 1, 4], 2, True, [-0.09375, 0.1328125, 0.5859375, 1.6796875, 3.4140625, 4.28125]),
]


@pytest.mark.parametrize("given, scale, antialias, expected", VECTORS)
def test_imresize_gives_matlabs_numbers(given, scale, antialias, expected):
    row = np.asarray(given, np.float64)
    for image, turn in ((np.tile(row, (6, 1)), False), (np.tile(row[:, None], (1, 6)), True)):
        y = imresize(image, scale, antialias=antialias)
        lines = y.T if turn else y
        assert lines.shape == (int(6 * scale), len(expected))
        np.testing.assert_allclose(lines, np.tile(expected, (len(lines), 1)), atol=5e-10)


def test_imresize_rounds_sizes_up_and_takes_sizes():
    x = np.random.default_rng(0).random((2, 3, 7, 10))
    assert imresize(x, 1 / 3).shape == (2, 3, 3, 4)
    assert imresize(x, (2, 0.5)).shape == (2, 3, 14, 5)
    assert imresize(x, size=(5, 31)).shape == (2, 3, 5, 31)
    # As in MATLAB: 0.07 * 100 is a little above 7, and rounded up.
    assert imresize(np.zeros((100, 2)), (0.07, 1)).shape == (8, 2)
    np.testing.assert_array_equal(imresize(x, 1), x)
    # A constant stays one, and far from the border a straight line stays straight.
    np.testing.assert_allclose(imresize(np.full((5, 6), 0.3), 1.7), 0.3)
    line = np.tile(np.arange(20.0), (20, 1))
    middle = imresize(line, 2)[0, 8:32]
    np.testing.assert_allclose(np.diff(middle), 0.5)


def test_imresize_of_bytes_rounds_after_each_pass_the_smaller_scale_first():
    x = np.random.default_rng(0).integers(0, 256, (8, 9), np.uint8)

    def pass_of(x, scale):
        return np.floor(imresize(x.astype(float), scale).clip(0, 255) + 0.5)

    rows_first = pass_of(pass_of(x, (0.5, 1)), (1, 3))
    columns_first = pass_of(pass_of(x, (1, 3)), (0.5, 1))
    y = imresize(x, (0.5, 3))
    assert y.dtype == np.uint8 and (rows_first != columns_first).any()
    np.testing.assert_array_equal(y, rows_first)
    np.testing.assert_array_equal(imresize(x.T.copy(), (3, 0.5)), rows_first.T)
    both = imresize(x, 2)
    np.testing.assert_array_equal(both, pass_of(pass_of(x, (2, 1)), (1, 2)))


@pytest.mark.parametrize("scale", [1 / 3, 2, (0.5, 1.5)])
def test_imresize_is_differentiable_and_keeps_what_it_is_given(scale):
    x = minidl.tensor(np.random.default_rng(0).random((2, 6, 8)), requires_grad=True)
    y = imresize(x, scale)
    assert isinstance(y, Tensor) and isinstance(imresize(x.data, scale), np.ndarray)
    weight = np.random.default_rng(1).random(y.shape)
    (y * weight).sum().backward()
    step = np.zeros(x.shape)
    step[1, 2, 3] = 1
    slope = (weight * (imresize(x.data + step, scale) - y.data)).sum()
    assert x.grad.data[1, 2, 3] == pytest.approx(slope)
    assert imresize(x.data.astype(np.float32), scale).dtype == np.float32


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda x: imresize(x), ArgumentError), (lambda x: imresize(x, 0), ArgumentError),
        (lambda x: imresize(x, 2, (4, 4)), ArgumentError),
        (lambda x: imresize(x, (1, 2, 3)), ArgumentError),
        (lambda x: imresize(x[0], 2), ShapeError),
        (lambda x: imresize(x.astype(int), 2), DtypeError),
    ],
)
def test_imresize_refuses_what_makes_no_sense(call, error):
    with pytest.raises(error, match="imresize"):
        call(np.ones((3, 4)))


def test_imresize_works_on_a_device(monkeypatch):
    strict_cupy.install(monkeypatch)
    for x in (photograph()[0], photograph()[0] / 255):
        here = imresize(Tensor(x), (0.5, 1.5)).data
        with minidl.use_kernels("reference"):
            there = imresize(minidl.tensor(x, device="cuda"), (0.5, 1.5))
        np.testing.assert_allclose(there.numpy(), here, rtol=1e-12)


# --- luma ---


def test_luma_is_matlabs():
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]])
    pixels = colours.T[:, :, None]
    y = 255 * luma(pixels / 255)
    np.testing.assert_allclose(y[:, 0], [81.481, 144.553, 40.966, 235, 31.5876], atol=5e-5)
    assert luma(pixels.astype(np.uint8))[:, 0].tolist() == [81, 145, 41, 235, 32]
    grey = photograph()[0]
    assert luma(grey) is grey


def test_colours_come_back_and_greys_have_no_chroma():
    x = np.random.default_rng(0).random((3, 5, 6))
    ycbcr = rgb_to_ycbcr(x)
    np.testing.assert_allclose(ycbcr_to_rgb(ycbcr), x, atol=1e-12)
    np.testing.assert_allclose(ycbcr[0], luma(x), rtol=1e-14)
    grey = rgb_to_ycbcr(np.full((3, 1, 1), 77, np.uint8))
    assert grey[1:, 0, 0].tolist() == [128, 128]
    with pytest.raises(ShapeError):
        luma(x[:2])
    with pytest.raises(DtypeError):
        luma(x.astype(int))


# --- PSNR and SSIM ---


def test_ssim_is_scikit_images_at_the_same_settings():
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(0)
    target = photograph()[0]
    noisy = (target + rng.normal(0, 20, target.shape)).clip(0, 255).astype(np.uint8)
    for a, b, peak in ((noisy, target, None), (noisy / 255, target / 255, 1)):
        theirs = metrics.structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            data_range=peak or 255,
        )
        assert ssim(a, b, peak) == pytest.approx(theirs, abs=1e-10)
        assert 0.1 < theirs < 0.95
        assert psnr(a, b, peak) == pytest.approx(
            metrics.peak_signal_noise_ratio(b, a, data_range=peak or 255)
        )


def test_quality_of_equals_and_errors():
    x = photograph()[0]
    assert psnr(x, x) == np.inf and ssim(x, x) == pytest.approx(1)
    with pytest.raises(ArgumentError, match="peak"):
        psnr(x / 255, x / 255)
    with pytest.raises(DtypeError):
        psnr(x, x / 255, 255)
    with pytest.raises(ShapeError):
        ssim(x, x[:-1])
    with pytest.raises(ShapeError, match="11"):
        ssim(x[:10], x[:10])


# --- the protocol ---


def test_steps_cut_what_they_should():
    x = np.arange(7 * 8).reshape(7, 8)
    np.testing.assert_array_equal(modcrop(x, 3), x[:6, :6])
    np.testing.assert_array_equal(shave(x, 2), x[2:5, 2:6])
    np.testing.assert_array_equal(shave(x, 0), x)
    with pytest.raises(ShapeError):
        modcrop(x, 9)


def test_a_model_that_changes_nothing_is_as_good_as_bicubic_and_is_given_it():
    images = {"a": photograph(), "b": photograph(41, 50, 1)[0]}
    given = []
    report = evaluate(lambda x: given.append(x.shape) or x, images, 3)
    assert given == [(1, 1, 39, 51), (1, 1, 39, 48)]
    assert report.model == report.baseline
    assert report.baseline.psnr == pytest.approx(np.mean([r.baseline.psnr for r in report.rows]))
    assert [r.name for r in report.rows] == ["a", "b"] and "bicubic" in str(report)
    # The first image by hand.
    y = luma(images["a"])[:39, :51] / 255
    bicubic = np.floor(255 * imresize(imresize(y, 1 / 3), 3).clip(0, 1) + 0.5)[3:-3, 3:-3]
    assert report.rows[0].baseline.psnr == pytest.approx(psnr(bicubic, 255 * y[3:-3, 3:-3], 255))


def test_a_model_that_knows_the_answer_is_perfect_only_after_rounding():
    image = photograph(39, 51)
    target = luma(image)[None, None] / 255

    def oracle(x):
        return Tensor(target + 0.001)

    assert evaluate(oracle, [image], 3).model.psnr == np.inf
    assert evaluate(oracle, [image], 3, Recipe(rounded=False)).model.psnr < 65


def test_every_option_of_the_recipe_changes_the_figures():
    images = [photograph(60, 60), 255 - photograph(60, 60, 3)]
    plain = evaluate(lambda x: x * 1.3 - 0.1, images, 2)
    options = [{"shaved": False}, {"rounded": False}, {"rounded": False, "clipped": False},
               {"luma_rounded": False}, {"small_rounded": True}, {"antialias": False}]
    found = {evaluate(lambda x: x * 1.3 - 0.1, images, 2, Recipe(**o)).model for o in options}
    assert len({plain.model, *found}) == len(options) + 1


def test_a_model_that_shrinks_the_image_is_told_to_pad():
    with pytest.raises(ShapeError, match="replicate"):
        evaluate(SRCNN("9-1-5", "valid"), [photograph()], 2)
    with pytest.raises(DataError, match="uint8"):
        evaluate(SRCNN("9-1-5"), [photograph() / 255], 2)


def test_noise_has_the_strength_that_it_says_and_is_repeatable():
    image = np.full((200, 200), 0.5)
    noisy = add_noise(image, 25, seed=3)
    assert 255 * (noisy - image).std() == pytest.approx(25, rel=0.02)
    np.testing.assert_array_equal(noisy, add_noise(image, 25, seed=3))
    assert (noisy != add_noise(image, 25, seed=4)).any()
    with pytest.raises(DtypeError):
        add_noise(photograph(), 25)
    for call in (lambda: add_noise(image, -1), lambda: restoration.NoiseOfLevels([])):
        with pytest.raises(ArgumentError):
            call()
    report = evaluate_denoising(lambda x: x, [photograph(90, 90)] * 2, 25)
    assert report.baseline.psnr == pytest.approx(20 * np.log10(255 / 25), abs=0.1)
    assert report.rows[0].baseline != report.rows[1].baseline and report.title == "noisy"


# --- patches ---


def test_patches_are_the_windows_of_the_protocols_images():
    image = photograph(50, 70)
    x, y = super_resolution_patches([image], (3,), size=33, stride=14, label=21).arrays
    given, target = restoration.pair_of(image, 3)
    assert x.shape == (2 * 3, 1, 33, 33) and y.shape == (6, 1, 21, 21) and x.dtype == np.float32
    np.testing.assert_allclose(x[4, 0], given[14:47, 14:47], atol=1e-7)
    np.testing.assert_allclose(y[4, 0], target[20:41, 20:41], atol=1e-7)


def test_patches_multiply_by_scales_sizes_and_symmetries():
    image = photograph(48, 48)
    one = super_resolution_patches([image], (2,), 12, 12)
    assert len(one) == 16
    assert len(super_resolution_patches([image], (2, 3, 4), 12, 12)) == 48
    x, _ = super_resolution_patches([image], (2,), 12, 12, symmetries=8).arrays
    assert len(x) == 128 and len({p.tobytes() for p in x}) == 128
    assert len(super_resolution_patches([image], (2,), 12, 12, sizes=(1, 0.5))) == 20
    for wrong in ({"label": 11}, {"symmetries": 3}, {"stride": 0}):
        with pytest.raises(ArgumentError):
            super_resolution_patches([image], (2,), **{"size": 12, "stride": 12, **wrong})
    with pytest.raises(DataError):
        super_resolution_patches([image], (2,), 49)


def test_noisy_patches_are_noisy_anew_and_their_labels_clean():
    data = denoising_patches([photograph(50, 50)], [50], 25, 25)
    (noisy, clean), (again, _) = (data.draw(1, np.random.default_rng(k)) for k in (0, 1))
    assert (noisy != again).any()
    assert 255 * (noisy - clean).std() == pytest.approx(50, rel=0.1)
    np.testing.assert_allclose(clean[0], luma(photograph(50, 50))[:25, 25:] / 255, atol=1e-6)


# --- released files ---


def srcnn_variables(model: SRCNN) -> dict[str, np.ndarray]:
    """As the authors' program lays them out."""
    flat = [layer.weight.data.astype(float).swapaxes(2, 3).reshape(*layer.weight.shape[:2], -1)
            for layer in (model.conv1, model.conv2, model.conv3)]
    return {
        "weights_conv1": flat[0][:, 0].T, "weights_conv2": flat[1].transpose(1, 2, 0),
        "weights_conv3": flat[2][0],
        **{f"biases_conv{k}": layer.bias.data.astype(float)[:, None] + k
           for k, layer in enumerate((model.conv1, model.conv2, model.conv3), 1)},
    }


def cells(arrays):
    row = np.empty((1, len(arrays)), object)
    row[0, :] = arrays
    return row


def vdsr_variables(model: VDSR) -> dict[str, dict[str, np.ndarray]]:
    weights = [np.squeeze(c.weight.data.transpose(2, 3, 1, 0), 3) if len(c.weight.data) == 1
               else c.weight.data.transpose(2, 3, 1, 0) for c in model.convolutions]
    biases = [c.bias.data + 1 for c in model.convolutions]
    return {"model": {"weight": cells(weights), "bias": cells(biases)}}


@pytest.fixture
def savemat():
    return pytest.importorskip("scipy.io").savemat


@pytest.mark.parametrize("kind", ["9-1-5", "9-3-5", "9-5-5"])
def test_srcnns_file_is_read_column_by_column(kind, tmp_path, savemat):
    model = SRCNN(kind)
    savemat(tmp_path / "a.mat", srcnn_variables(model))
    read = read_released(tmp_path / "a.mat")
    assert (read.kind, read.padding) == (kind, "replicate")
    for k in (1, 2, 3):
        np.testing.assert_array_equal(
            getattr(read, f"conv{k}").weight.data, getattr(model, f"conv{k}").weight.data
        )
        assert (getattr(read, f"conv{k}").bias.data == k).all()


def test_vdsrs_file_is_read_and_converts_to_ours(tmp_path, savemat):
    model = VDSR(4, 6)
    savemat(tmp_path / "a.mat", vdsr_variables(model))
    read = load_model(tmp_path / "a.mat")
    save_model(tmp_path / "a.safetensors", read)
    for one in (read, load_model(tmp_path / "a.safetensors")):
        for mine, theirs in zip(one.convolutions, model.convolutions, strict=True):
            np.testing.assert_array_equal(mine.weight.data, theirs.weight.data)
            assert (mine.bias.data == 1).all()


def broken(change):
    """SRCNN's variables with one change."""
    variables = srcnn_variables(SRCNN("9-1-5"))
    change(variables)
    return variables


@pytest.mark.parametrize(
    "variables, reason",
    [
        (broken(lambda v: v.pop("biases_conv2")), "missing: biases_conv2"),
        ({"x": np.ones(3)}, "missing: weights_conv1"),
        (broken(lambda v: v.update(weights_conv1=np.ones((81, 63)))), r"\(81, 63\)"),
        (broken(lambda v: v.update(weights_conv2=np.ones((64, 2, 32)))), "shapes"),
        (broken(lambda v: v.update(weights_conv2=np.ones((64, 32)))), "axes"),
        (broken(lambda v: v.update(biases_conv1=np.ones((5, 1)))), "conv1.bias"),
        (broken(lambda v: v.update(biases_conv1=np.full((64, 1), np.nan))), "NaN"),
        (broken(lambda v: v.update(weights_conv3="text")), "weights_conv3"),
        (broken(lambda v: v.update(weights_conv1={"a": 1})), "weights_conv1"),
        ({"model": np.ones(3)}, "struct"),
        ({"model": {"weight": cells([np.ones((3, 3, 1, 4))])}}, "bias"),
        ({"model": {"weight": cells([np.ones((3, 3, 1, 4))] * 2),
                    "bias": cells([np.ones(4)])}}, "2 weights and 1 biases"),
        ({"model": {"weight": cells([np.ones((5, 5, 1, 4))] * 2),
                    "bias": cells([np.ones(4)] * 2)}}, "3, 3"),
        ({"model": {"weight": cells([np.ones((3, 3, 1, 4))] * 3),
                    "bias": cells([np.ones(4)] * 3)}}, "convolutions.1"),
        ({"model": {"weight": cells(["a", "b"]), "bias": cells(["c", "d"])}}, "weight{1}"),
    ],
)
def test_wrong_contents_are_refused_by_name(variables, reason, tmp_path, savemat):
    savemat(tmp_path / "odd.mat", variables)
    with pytest.raises(DataError, match=reason) as caught:
        read_released(tmp_path / "odd.mat")
    assert "odd.mat" in str(caught.value)


def test_damaged_files_are_refused_wherever_they_are_cut_or_changed(tmp_path, savemat):
    whole = tmp_path / "whole.mat"
    savemat(whole, srcnn_variables(SRCNN("9-1-5")), do_compression=True)
    text = whole.read_bytes()
    path = tmp_path / "part.mat"
    for size in (0, 10, 127, 128, 140, 1000, len(text) - 5):
        path.write_bytes(text[:size])
        with pytest.raises(DataError, match=r"part\.mat"):
            read_released(path)
    for place in (130, 150, 2000, len(text) // 2):
        path.write_bytes(text[:place] + bytes([text[place] ^ 0xFF]) + text[place + 1 :])
        with pytest.raises(DataError, match=r"part\.mat"):
            read_released(path)
    with pytest.raises(DataError, match=r"none\.mat"):
        read_released(tmp_path / "none.mat")


# --- acceptance: the authors' weights give the published figures ---

BICUBIC = {2: (33.66, 0.9299), 3: (30.39, 0.8682), 4: (28.42, 0.8104)}
NAMES = ("baby", "bird", "butterfly", "head", "woman")
BICUBIC_EACH = {
    2: [37.0660, 36.8058, 27.4332, 34.8580, 32.1440],
    3: [33.9101, 32.5723, 24.0365, 32.8793, 28.5628],
    4: [31.7764, 30.1773, 22.0975, 31.5899, 26.4623],
}
SRCNN_955 = {
    2: (36.66, 0.9542, [38.5367, 40.9126, 32.7466, 35.7225, 35.3635]),
    3: (32.75, 0.9090, [35.2489, 35.4751, 27.9469, 33.7116, 31.3614]),
    4: (30.48, 0.8628, [33.1268, 32.5204, 25.4476, 32.4437, 28.8817]),
}
SRCNN_SSIM = [0.9241, 0.9549, 0.9098, 0.8272, 0.9291]  # x3, each image
VDSR_EACH = {
    2: (37.53, 0.9587, [38.7520, 42.4103, 34.4903, 35.9326, 36.0494]),
    3: (33.66, 0.9213, [35.3767, 36.6491, 29.9553, 33.9591, 32.3513]),
    4: (31.34, 0.8838, [33.4086, 33.5235, 27.2769, 32.7027, 29.8033]),
}


@pytest.fixture(scope="module")
def set5():
    images = read_folder(DATA / "Set5")
    assert [name.removesuffix("_GT") for name in images] == list(NAMES)
    return images


def check_figures(report, mean, ssim_mean, each, bicubic=None):
    found = report.baseline if bicubic else report.model
    assert found.psnr == pytest.approx(mean, abs=0.02)
    assert found.ssim == pytest.approx(ssim_mean, abs=2e-4)
    column = [(r.baseline if bicubic else r.model).psnr for r in report.rows]
    np.testing.assert_allclose(column, each, atol=0.01)


@needs_release
@pytest.mark.parametrize(
    "scale", [3, pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_the_authors_srcnn_and_bicubic_give_the_published_figures(scale, set5):
    report = evaluate(load_model(WEIGHTS / f"srcnn_9-5-5_ImageNet__x{scale}.mat"), set5, scale)
    check_figures(report, *BICUBIC[scale], BICUBIC_EACH[scale], bicubic=True)
    check_figures(report, *SRCNN_955[scale])
    if scale == 3:
        np.testing.assert_allclose([r.model.ssim for r in report.rows], SRCNN_SSIM, atol=1e-4)


@needs_release
def test_the_authors_small_srcnn_gives_its_figures(set5):
    report = evaluate(load_model(WEIGHTS / "srcnn_9-1-5_91_images__x3.mat"), set5, 3)
    assert report.model.psnr == pytest.approx(32.39, abs=0.01)
    assert report.model.ssim == pytest.approx(0.9033, abs=1e-4)


@needs_release
@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_authors_vdsr_gives_the_published_figures(scale, set5):
    report = evaluate(load_model(WEIGHTS / "VDSR_Official.mat"), set5, scale)
    check_figures(report, *VDSR_EACH[scale])


@needs_release
@pytest.mark.parametrize(
    "padding, recipe, bicubic, srcnn",
    [
        ("zeros", Recipe(), 30.392, 29.970),
        pytest.param("zeros", Recipe(shaved=False), 30.396, 22.921, marks=pytest.mark.slow),
        pytest.param("replicate", Recipe(shaved=False), 30.396, 32.666, marks=pytest.mark.slow),
        pytest.param("replicate", Recipe(rounded=False), 30.399, 32.760, marks=pytest.mark.slow),
        pytest.param("replicate", Recipe(antialias=False), 29.722, 27.478, marks=pytest.mark.slow),
        pytest.param("replicate", Recipe(small_rounded=True), 30.386, 32.723,
                     marks=pytest.mark.slow),
    ],
)
def test_what_other_recipes_cost(padding, recipe, bicubic, srcnn, set5):
    """Zeros around the image cost 2.8 dB even where the border is shaved, and 9.8 otherwise."""
    model = SRCNN("9-5-5", padding)
    model.load_state_dict(load_model(WEIGHTS / "srcnn_9-5-5_ImageNet__x3.mat").state_dict())
    report = evaluate(model, set5, 3, recipe)
    assert report.baseline.psnr == pytest.approx(bicubic, abs=0.005)
    assert report.model.psnr == pytest.approx(srcnn, abs=0.005)


@needs_release
def test_set5_has_as_many_patches_as_the_authors_count(set5):
    patches = super_resolution_patches(set5.values(), (3,), 33, 21, label=21)
    assert len(patches) == 1113


# --- the command ---


@pytest.fixture
def files(tmp_path):
    """A folder with a picture and a network that doubles nothing and changes luma visibly."""
    save_model(tmp_path / "srcnn.safetensors", _offset(SRCNN("9-1-5")))
    Image.fromarray(photograph(21, 30).transpose(1, 2, 0)).save(tmp_path / "a.png")
    return tmp_path


def _offset(model):
    """Answers x + 0.05 in the middle: the first channel carries x through."""
    for p in model.parameters():
        p.data[...] = 0
    for layer, size in ((model.conv1, 9), (model.conv2, 1), (model.conv3, 5)):
        layer.weight.data[0, 0, size // 2, size // 2] = 1
    model.conv3.bias.data[...] = 0.05
    return model


def run(folder, *arguments, image="a.png", weights="srcnn.safetensors"):
    return main(["run", "superres", str(folder / image), "--weights", str(folder / weights),
                 *arguments])


def test_a_picture_is_enlarged_luma_by_the_network_and_colours_bicubically(files, capsys):
    assert run(files, "--scale", "2", "--out", str(files / "b.png")) == 0
    assert "30 x 21 pixels to 60 x 42 by SRCNN 9-1-5" in capsys.readouterr().out
    with Image.open(files / "b.png") as image:
        assert (image.size, image.mode) == ((60, 42), "RGB")
        pixels = np.asarray(image).transpose(2, 0, 1) / 255
    expected = imresize(rgb_to_ycbcr(photograph(21, 30) / 255), 2)
    expected[0] += 0.05
    np.testing.assert_allclose(pixels, ycbcr_to_rgb(expected), atol=0.5 / 255 + 1e-5)


@pytest.mark.parametrize("scale, size", [("3", (90, 63)), ("1.5", (45, 32))])
def test_the_default_name_stands_beside_the_picture(files, scale, size):
    assert run(files, "--scale", scale) == 0
    with Image.open(files / f"a_x{scale}.png") as image:
        assert image.size == size


def test_tiles_change_nothing(files):
    run(files, "--out", str(files / "whole.png"), "--tile", "1000")
    run(files, "--out", str(files / "tiles.png"), "--tile", "20")
    assert (files / "whole.png").read_bytes() == (files / "tiles.png").read_bytes()


def test_grey_transparent_and_turned_pictures_stay_what_they_are(files):
    rgb = Image.fromarray(photograph(21, 30).transpose(1, 2, 0))
    rgb.convert("L").save(files / "grey.png")
    clear = rgb.copy()
    clear.putalpha(Image.fromarray(photograph(21, 30, 5)[0]))
    clear.save(files / "clear.png")
    rgb.convert("P").save(files / "palette.png")
    rgb.convert("L").save(files / "keyed.png", transparency=200)
    rgb.convert("I;16").save(files / "deep.png")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    rgb.save(files / "turned.jpg", exif=exif, icc_profile=b"a profile")
    expected = {"grey.png": ("L", (60, 42)), "clear.png": ("RGBA", (60, 42)),
                "palette.png": ("RGB", (60, 42)), "keyed.png": ("LA", (60, 42)),
                "deep.png": ("L", (60, 42)), "turned.jpg": ("RGB", (42, 60))}
    for name, found in expected.items():
        assert run(files, "--scale", "2", "--out", str(files / "b.png"), image=name) == 0
        with Image.open(files / "b.png") as image:
            assert (image.mode, image.size) == found, name
            assert image.info.get("icc_profile") == (b"a profile" if "turned" in name else None)
            if name == "clear.png":
                alpha = imresize(photograph(21, 30, 5)[0] / 255, 2)
                made = np.asarray(image)[..., 3] / 255
                np.testing.assert_allclose(made, alpha.clip(0, 1), atol=0.5 / 255 + 1e-5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_pillow_turns_them(orientation, tmp_path):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(photograph(5, 7).transpose(1, 2, 0)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        theirs = np.asarray(ImageOps.exif_transpose(image)).transpose(2, 0, 1)
    ours = pictures.read_picture(tmp_path / "a.png").colours
    np.testing.assert_array_equal((255 * ours).round(), theirs)


@pytest.mark.parametrize("model", [VDSR(3, 4), REDNet(4, 3)], ids=["VDSR", "REDNet"])
def test_other_networks_are_recognised(model, files, capsys):
    save_model(files / "other.safetensors", model)
    assert run(files, weights="other.safetensors") == 0
    assert type(model).__name__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "given, arguments, reason",
    [
        ({"image": "none.png"}, [], "there is no file"),
        ({"image": "srcnn.safetensors"}, [], "not a whole image file"),
        ({"weights": "none.safetensors"}, [], "no such file"),
        ({"weights": "a.png"}, [], "safetensors"),
        ({"weights": "other.safetensors"}, [], "does not hold the weights"),
        ({"weights": "colour.safetensors"}, [], "3 channels"),
        ({}, ["--out", "nowhere/b.png"], "there is no folder"),
        ({}, ["--out", "b.xyz"], "unknown ending"),
        ({}, ["--out", "b.pgm"], "no colours"),
        ({}, ["--out", "a.png"], "the picture itself"),
        ({"image": "clear.png"}, ["--out", "b.jpg"], "transparent"),
    ],
)
def test_mistakes_are_told_before_anything_is_computed(
    given, arguments, reason, files, monkeypatch, capsys
):
    minidl.files.serialize.save_arrays(files / "other.safetensors", {"a": np.ones(3)})
    save_model(files / "colour.safetensors", REDNet(4, 3, channels=3))
    Image.new("RGBA", (20, 20), (10, 20, 30, 40)).save(files / "clear.png")
    monkeypatch.setattr(superres, "enlarged_picture", lambda *_: pytest.fail("computed"))
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    assert run(files, *arguments, **given) == 2
    assert reason in capsys.readouterr().err
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize("flag", [["--scale", "0.5"], ["--scale", "x"], ["--tile", "0"]])
def test_wrong_flags_are_refused(flag, files):
    with pytest.raises(SystemExit):
        run(files, *flag)


def test_a_picture_that_would_fill_the_memory_is_refused(files, monkeypatch, capsys):
    monkeypatch.setattr(superres, "MAX_PIXELS", 1000)
    assert run(files) == 2
    assert "too large" in capsys.readouterr().err


def test_run_lists_its_topics_and_each_has_help():
    ran = subprocess.run([sys.executable, "-W", "error", "-m", "minidl", "run"],
                         capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0 and "superres" in ran.stdout
    ran = subprocess.run([sys.executable, "-W", "error", "-m", "minidl", "run", "superres", "-h"],
                         capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0 and "--weights" in ran.stdout


@needs_release
@pytest.mark.parametrize("name, tile", [("srcnn_9-5-5_ImageNet__x3.mat", 50),
                                        ("VDSR_Official.mat", 50)])
def test_released_networks_answer_the_same_in_pieces(name, tile, set5):
    model = load_model(WEIGHTS / name)
    y = luma(set5["head_GT"])[:100, :90] / np.float32(255)
    whole = restoration.restored(model, y)
    pieces = restoration.restored_in_pieces(model, y, tile, model.radius)
    np.testing.assert_allclose(pieces, whole, atol=1e-5)
    short = restoration.restored_in_pieces(model, y, tile, model.radius // 4)
    assert np.abs(short - whole).max() > 1e-4


def test_a_comparison_has_a_dash_where_nothing_was_measured():
    found = {"bicubic": {"x2": restoration.Quality(33.0, 0.9), "x3": restoration.Quality(30, 0.8)},
             "SRCNN": {"x3": restoration.Quality(31.5, 0.85)}}
    rows = comparison(found).splitlines()
    assert rows[0].split() == ["PSNR,", "SSIM", "x2", "x3"]
    assert rows[-1].split() == ["SRCNN", "-", "31.50", "0.8500"]
    assert restoration.as_numbers(found)["SRCNN"] == {"x3": {"psnr": 31.5, "ssim": 0.85}}
