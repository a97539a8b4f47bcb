"""Every example runs, and leaves what it says it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PICTURES = {
    "00_first_gradient": [],
    "01_autoencoder": ["reconstructions.png", "denoising.png"],
    "02_vae": ["samples.png"],
    "03_elbo_and_reparameterisation": ["bounds.png", "variance.png"],
    "04_write_a_kernel": ["banks.png"],
    "05_races": [],
    "06_upsampling": ["times_ten.png", "unpooling.png", "checkerboard.png"],
    "07_segnet_vs_unpool": ["streets.png", "boundaries.png"],
    "08_fcn": ["fcn.png", "heatmap.png"],
    "09_unet_cells": ["cells.png", "tiles.png"],
    "10_deconvnet": ["deconvnet.png", "projections.png", "rules.png"],
    "11_pretraining": ["slices.png", "labels.png"],
    "12_superres": ["superres.png", "curves.png"],
    "13_denoise": ["denoise.png", "skips.png"],
    "14_depth": ["depth.png", "training.png", "motorcycle.png"],
    "15_perceptual_loss": ["distances.png", "inversions.png"],
    "16_style_gatys": ["style.png", "sweep.png", "curves.png"],
    "17_fast_style": ["fast_style.png", "speed.png"],
    "18_chairs": ["views.png", "turning.png", "morphs.png"],
    "19_deepsim": ["reconstructions.png", "samples.png"],
    "20_crn": ["crn.png", "diversity.png"],
}


def test_every_example_is_tested():
    assert sorted(p.stem for p in EXAMPLES.glob("*.py")) == sorted(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_example_runs(name, tmp_path, request):
    if name[:2] in ("04", "05"):
        request.getfixturevalue("with_compiler")
    if name[:2] in ("01", "02", "03", "06"):
        pytest.importorskip("sklearn", reason="the digits and the photograph are scikit-learn's")
    if name[:2] in ("12", "13", "15", "16", "17"):
        pytest.importorskip("sklearn", reason="some of the photographs are scikit-learn's")
    if name[:2] in ("12", "13", "14", "15", "16", "17"):
        pytest.importorskip("skimage", reason="the photographs are scikit-image's")
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"),
               "--dry-run", "--out", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "metrics.json").read_text())
    for picture in PICTURES[name]:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
