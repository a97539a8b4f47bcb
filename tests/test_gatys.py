"""Style transfer of one picture: it comes nearer to both, resumes to the bit, refuses nonsense."""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from minidl import random, use_kernels
from minidl.data.images import read_image
from minidl.errors import ArgumentError, CheckpointError, DataError, ShapeError
from minidl.files.serialize import save_arrays
from minidl.lecture.pictures import save_png
from minidl.models.vgg import STAGES_16, VGG
from minidl.tasks import perceptual
from minidl.tasks.perceptual import RECIPES, Features, Recipe, random_features
from minidl.tasks.perceptual import stylise as gatys
from minidl.tasks.perceptual.stylise import stylise, with_colours_of
from minidl.tasks.restoration.luma import luma, rgb_to_ycbcr
from minidl.train import DivergenceError
from tests import strict_cupy

RECIPE = Recipe("relative", {"relu2_2": 50}, {"relu1_1": 250, "relu2_1": 250}, 2)


def scene(h: int = 32, w: int = 40) -> np.ndarray:
    """A dark house before a bright sky."""
    image = np.full((3, h, w), 0.8, np.float32)
    image[0, :] *= np.linspace(0.5, 1, w, dtype=np.float32)
    image[:, h // 2 :, w // 4 : w // 2] = 0.1
    return image


def stripes(h: int = 36, w: int = 28) -> np.ndarray:
    """Red and blue, four pixels each."""
    image = np.zeros((3, h, w), np.float32)
    red = (np.arange(w) // 4) % 2 == 0
    image[0, :, red], image[2, :, ~red] = 0.9, 0.9
    return image


def features(width: int = 4, seed: int = 0) -> Features:
    return random_features(width=width, seed=seed)


def run(**options):
    given = {"content": scene(), "styles": stripes(), "features": features(), "recipe": RECIPE,
             "steps": 10, "every": 5, "progress": False, **options}
    return stylise(**given)


# --- what it does ---


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("start", ["noise", "content"])
def test_the_loss_falls_and_the_picture_is_one(optimizer, start):
    made = run(optimizer=optimizer, start=start, steps=20)
    first, last = (made.losses[i]["total"] for i in (0, -1))
    assert last < 0.9 * first
    assert [row["step"] for row in made.losses] == [5, 10, 15, 20]
    assert made.picture.shape == (3, 32, 40) and made.picture.dtype == np.float32
    assert made.picture.min() >= 0 and made.picture.max() <= 1
    assert not made.pretrained and not made.converged


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_content_comes_from_one_picture_and_colours_from_the_other():
    def made(style: float) -> np.ndarray:
        recipe = Recipe("relative", {"relu2_2": 1e3}, {"relu1_1": style, "relu2_1": style}, 2)
        return run(steps=40, every=40, features=features(16), recipe=recipe).picture

    def chroma(picture: np.ndarray) -> float:
        return float(abs(rgb_to_ycbcr(picture)[1:] - 128 / 255).mean())

    plain, styled = made(0), made(50)
    assert correlation(luma(plain), luma(scene())) > 0.9  # the content alone, from noise
    assert correlation(luma(styled), luma(scene())) > 0.5
    assert chroma(plain) < 1.3 * chroma(scene()) and chroma(styled) > 1.8 * chroma(scene())


def test_more_style_is_less_content():
    ends = [run(recipe=RECIPE.scaled(style=w), steps=20, every=20).losses[-1] for w in (0.1, 10)]
    assert ends[0]["content"] < ends[1]["content"]
    assert ends[0]["style"] / 0.1 > ends[1]["style"] / 10


def test_variation_makes_it_smoother():
    rough, smooth = (run(recipe=RECIPE.scaled(variation=t)).picture for t in (0.0, 200.0))
    assert abs(np.diff(smooth)).mean() < 0.8 * abs(np.diff(rough)).mean()


def test_preserved_colours_are_the_contents_under_the_results_luma():
    red, grey = np.zeros((3, 4, 4)), np.linspace(0.3, 0.6, 16).reshape(1, 4, 4).repeat(3, 0)
    red[0] = 0.5
    red[1:] = 0.3
    mixed = rgb_to_ycbcr(with_colours_of(red, grey))
    np.testing.assert_allclose(mixed[0], rgb_to_ycbcr(grey)[0], atol=1e-9)
    np.testing.assert_allclose(mixed[1:], rgb_to_ycbcr(red)[1:], atol=1e-9)
    made = run(preserve_colour=True)
    assert correlation(rgb_to_ycbcr(made.picture)[1], rgb_to_ycbcr(scene())[1]) > 0.9
    assert correlation(rgb_to_ycbcr(run().picture)[1], rgb_to_ycbcr(scene())[1]) < 0.9


def test_masks_put_each_style_in_its_region():
    dark, bright = np.full((3, 32, 32), 0.05, np.float32), np.full((3, 32, 32), 0.95, np.float32)
    left = np.zeros((32, 40), np.float32)
    left[:, :20] = 1
    recipe = Recipe("relative", {}, {"relu1_1": 1e3, "relu2_1": 1e3})
    made = run(styles=[dark, bright], masks=[left, 1 - left], recipe=recipe, steps=30, every=30)
    assert made.picture[..., :16].mean() + 0.3 < made.picture[..., 24:].mean()


def test_a_trained_network_gets_the_recipe_for_any_weights_and_a_random_one_its_own(monkeypatch):
    seen = []
    original = gatys.Objective

    def spy(features, recipe, *args):
        seen.append(recipe)
        return original(features, recipe, *args)

    monkeypatch.setattr(gatys, "Objective", spy)
    known = features(2)
    run(features=known, recipe=None, steps=1)
    known.vgg.pretrained = True
    assert run(features=known, recipe=None, steps=1).pretrained
    assert seen == [RECIPES["random"], RECIPES["relative"]]


def test_a_picture_begins_with_what_its_recipe_says_unless_told_otherwise():
    nothing = {"steps": 1, "optimizer": "adam", "lr": 1e-6}
    for name in ("relative", "gatys-pytorch", "neural-style", "random"):
        begun = run(recipe=name, **nothing).picture
        from_content = abs(begun - scene()).max() < 0.01
        assert from_content == (RECIPES[name].start == "content"), name
    assert abs(run(recipe="relative", start="noise", **nothing).picture - 0.5).mean() < 0.05


def test_relative_variation_is_the_same_for_every_normalisation():
    """Pixels are bytes for one network and standard deviations for another."""
    vgg = VGG(STAGES_16, width=2, hidden=1, num_classes=1, pooling="average")
    terms = []
    for kind in ("torchvision", "caffe", "ilsvrc"):
        objective = gatys.Objective(Features(vgg, kind), RECIPES["relative"], [stripes()])
        z = objective.features.prepare(stripes()[None])
        terms.append(objective(z, objective.content_of(z)).variation.item())
    assert terms[0] > 0.05 and terms[1:] == pytest.approx([terms[0]] * 2, rel=0.03)


def test_the_recipe_for_any_weights_leaves_the_content_whatever_the_units_of_the_network():
    """L-BFGS would stay where it is if the loss of bytes were smaller."""
    vgg = random_features(width=8).vgg
    for kind in ("torchvision", "caffe"):
        made = run(features=Features(vgg, kind), recipe="relative", steps=10, every=1)
        assert made.losses[-1]["total"] < 0.6 * made.losses[0]["total"]
        assert abs(made.picture - scene()).mean() > 0.02 and not made.converged


def test_adams_step_is_in_grey_levels_for_every_normalisation():
    """10 of 255 for the first step, whatever the units of the network's pictures."""
    vgg = VGG(STAGES_16, width=2, hidden=1, num_classes=1, pooling="average")
    for kind in ("torchvision", "caffe"):
        made = run(features=Features(vgg, kind), optimizer="adam", start="content", steps=1,
                   content=np.full((3, 16, 16), 0.5, np.float32))
        moved = abs(made.picture - 0.5).mean(axis=(1, 2)).mean() * 255
        assert moved == pytest.approx(10, rel=0.05)


def test_the_watcher_sees_pictures_on_the_way():
    seen = []
    made = run(watcher=lambda step, picture, losses: seen.append((step, picture, losses)))
    assert [s for s, _, _ in seen] == [5, 10]
    np.testing.assert_array_equal(seen[-1][1], made.picture)
    assert abs(seen[0][1] - seen[1][1]).max() > 0
    assert set(seen[0][2]) == {"step", "total", "content", "style", "variation"}


def test_same_seed_same_picture_other_seed_another():
    a, b, c = (run(steps=3, seed=s).picture for s in (1, 1, 2))
    assert (a == b).all() and (a != c).any()


# --- stopping and going on ---


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path, optimizer):
    class Stop(Exception):
        pass

    def stop(step, picture, losses):
        if step == 15:  # the state of step 10 is on the disk, that of 15 not yet
            raise Stop

    state = tmp_path / "state.safetensors"
    options = {"optimizer": optimizer, "steps": 20, "checkpoint": state}
    whole = run(optimizer=optimizer, steps=20)
    with pytest.raises(Stop):
        run(**options, watcher=stop)
    resumed = run(**options, resume=True)
    np.testing.assert_array_equal(resumed.picture, whole.picture)
    assert resumed.losses == whole.losses


def test_ctrl_c_saves_the_state_of_the_stretch(tmp_path):
    state = tmp_path / "state.safetensors"
    # A job in the background ignores SIGINT, and so would this test.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(checkpoint=state, watcher=lambda *_: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, usual)
    resumed = run(checkpoint=state, resume=True)
    np.testing.assert_array_equal(resumed.picture, run().picture)


def test_a_file_of_weights_is_known_again_by_another_process(tmp_path):
    weights, state = tmp_path / "vgg19.safetensors", tmp_path / "state.safetensors"
    first = features().vgg.features.state_dict()
    save_arrays(weights, {f"features.{name}": value for name, value in first.items()})
    load_features = partial(perceptual.load_features, normalisation="torchvision")
    whole = run(features=load_features(weights), steps=10)
    random.manual_seed(1)
    run(features=load_features(weights), checkpoint=state, steps=5)
    random.manual_seed(2)  # the classifier, which is not in the file and not used, is another now
    resumed = run(features=load_features(weights), checkpoint=state, steps=10, resume=True)
    np.testing.assert_array_equal(resumed.picture, whole.picture)
    with pytest.raises(CheckpointError, match="network"):
        run(features=load_features(weights, "average"), checkpoint=state, resume=True)


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"content": scene() * 0.5}, "content"), ({"recipe": RECIPE.scaled(style=2)}, "recipe"),
     ({"features": features(4, seed=1)}, "network"), ({"optimizer": "adam"}, "optimizer")],
)
def test_the_state_of_another_run_is_refused(tmp_path, changed, named):
    state = tmp_path / "state.safetensors"
    run(checkpoint=state, steps=5)
    with pytest.raises(CheckpointError, match=named):
        run(checkpoint=state, resume=True, **changed)


def test_a_loss_that_is_no_longer_finite_stops_and_the_last_state_stays(tmp_path):
    state = tmp_path / "state.safetensors"
    huge = Recipe("gatys", {}, {"relu1_1": 1e38})
    with pytest.raises(DivergenceError, match="step 5"), np.errstate(all="ignore"):
        run(recipe=huge, optimizer="adam", lr=1e30, checkpoint=state)
    assert not state.exists()


# --- refusals ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"content": (scene() * 255).astype(np.uint8)}, "from 0 to 1"),
        ({"content": scene()[0]}, "RGB"),
        ({"content": scene(1, 1)}, "at least 2"),
        ({"styles": []}, "0 pictures"),
        ({"recipe": "starry"}, "no recipe"),
        ({"recipe": Recipe("gatys", {"relu8_1": 1}, {"relu1_1": 1})}, "relu8_1"),
        ({"start": "style"}, "unknown start"),
        ({"optimizer": "sgd"}, "unknown optimizer"),
        ({"steps": 0}, "1 or more"),
        ({"lr": 0.0}, "lr positive"),
        ({"resume": True}, "needs a file"),
        ({"checkpoint": "state.npz"}, "safetensors"),
        ({"style_weights": [1, 2]}, "for each of 1"),
    ],
)
def test_nonsense_is_refused_before_anything_is_computed(options, words):
    with pytest.raises((ArgumentError, ShapeError), match=words):
        run(**options)


# --- the command ---


def style(*arguments) -> subprocess.CompletedProcess[str]:
    program = (
        "import argparse, sys; from minidl.commands.run import style; from minidl.errors import *\n"
        "p = argparse.ArgumentParser('style'); style.add_arguments(p)\n"
        "try: sys.exit(style.main(p.parse_args()))\n"
        "except MinidlError as e: print(e, file=sys.stderr); sys.exit(2)"
    )
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
    )


@pytest.fixture
def files(tmp_path):
    for name, image in (("content", scene()), ("style", stripes())):
        save_png(tmp_path / f"{name}.png", (image * 255).astype(np.uint8).transpose(1, 2, 0))
    return tmp_path


SMALL = ("--size", 40, "--steps", 4, "--every", 2, "--width", 2)


def test_the_command_writes_a_picture_and_says_that_weights_are_random(files):
    ran = style(files / "content.png", files / "style.png", *SMALL)
    assert ran.returncode == 0 and "random weights" in ran.stdout, ran.stderr
    made = read_image(files / "content_styled.png")
    assert made.shape == (3, 32, 40)
    assert abs(made - scene()).mean() > 0.01
    assert sorted(p.name for p in files.iterdir()) == [
        "content.png", "content_styled.png", "style.png"
    ]  # the state is gone, as the run is done


def test_the_command_reads_weights_and_says_how_pictures_are_normalised(files):
    vgg = VGG(STAGES_16, width=2, hidden=1, num_classes=1)
    save_arrays(files / "vgg.safetensors", vgg.state_dict())
    asked = (files / "content.png", files / "style.png", *SMALL, "--preserve-colour",
             "--weights", files / "vgg.safetensors", "--out", files / "a.png")
    ran = style(*asked)
    assert ran.returncode == 2 and "pass normalisation='torchvision'" in ran.stderr
    ran = style(*asked, "--normalisation", "torchvision")
    assert ran.returncode == 0, ran.stderr
    assert "'torchvision'" in ran.stdout and "'relative'" in ran.stdout
    assert (files / "a.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--weights", "none.pth"), "none.pth"),
        (("--weights", "vgg19"), "minidl weights fetch vgg19"),
        (("--out", "nowhere/a.png"), "no folder"),
        (("--resume",), "no state"),
        (("--blend", 1, 2), "for each of 1"),
        (("--size", 0), "1 or more"),
        (("--normalisation", "caffe"), "--weights"),
    ],
)
def test_the_command_refuses_before_it_computes(files, arguments, words):
    ran = style(files / "content.png", files / "style.png", *SMALL, *arguments)
    assert ran.returncode == 2 and words in ran.stderr and "Traceback" not in ran.stderr
    assert not (files / "content_styled.png").exists()


def test_the_command_does_not_write_over_the_state_of_a_stopped_run(files):
    (files / "content_styled.state.safetensors").write_bytes(b"")
    ran = style(files / "content.png", files / "style.png", *SMALL)
    assert ran.returncode == 2 and "--resume" in ran.stderr


def test_the_papers_recipe_scales_activations_over_more_than_the_two_pictures(files, monkeypatch):
    from minidl.commands import run as run_command
    from minidl.commands.run import style as command

    seen = []
    monkeypatch.setattr(command, "normalise_activations", lambda f, shown: seen.extend(shown))
    vgg = VGG(STAGES_16, width=2, hidden=1, num_classes=1)
    save_arrays(files / "vgg.safetensors", vgg.state_dict())
    arguments = [str(a) for a in (
        files / "content.png", files / "style.png", *SMALL, "--recipe", "gatys",
        "--weights", files / "vgg.safetensors", "--normalisation", "caffe")]
    args = argparse.Namespace(topic="style", arguments=arguments)
    assert run_command.main(args) == 0 and len(seen) > 10
    assert all(picture.shape[0] == 3 and max(picture.shape) <= 160 for picture in seen)
    monkeypatch.setattr(command, "photographs", absent)
    seen.clear()
    (files / "content_styled.png").unlink()
    assert run_command.main(args) == 0 and len(seen) == 2


def absent(part):
    raise DataError("scikit-image is not installed")


# --- another device ---


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_it_runs_and_goes_on_where_the_weights_are(monkeypatch, tmp_path, optimizer):
    strict_cupy.install(monkeypatch)
    options = {"content": scene(16, 16), "styles": stripes(16, 16), "optimizer": optimizer,
               "every": 2, "preserve_colour": True}
    with use_kernels("reference"):
        state = tmp_path / "state.safetensors"
        there = {**options, "features": features(2).to("cuda"), "checkpoint": state}
        run(steps=2, **there)
        made = run(steps=4, resume=True, **there).picture
        here = run(steps=4, **options, features=features(2)).picture
    assert isinstance(made, np.ndarray)
    np.testing.assert_allclose(made, here, atol=1e-3)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_long_run_says_how_far_it_is_between_its_reports_too(optimizer, monkeypatch, capsys):
    monkeypatch.setattr("minidl.train.progress.PAUSE", 0.0)
    run(steps=4, every=4, optimizer=optimizer, progress=True)
    said = re.findall(r"style, step (\d)/4: loss [\d.e+-]+\n", capsys.readouterr().err)
    assert set(said) >= {"1", "2", "3", "4"} and said == sorted(said)
    run(steps=4, every=4, optimizer=optimizer, progress=False)
    assert capsys.readouterr().err == ""
