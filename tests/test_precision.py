"""Gradients of whole networks in float32 are off by rounding, and by ReLUs that flip."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from benchmarks.gpu.cases import models
from benchmarks.precision import distance, distances

MODELS = models()


@pytest.mark.parametrize("name", ["ResNet-18", "U-Net", "VDSR", "VAE, convolutional",
                                  "pytorch/examples' transformer"])
def test_where_no_relu_flips_a_networks_gradient_is_off_by_rounding_alone(name):
    found = distances(MODELS[name])
    assert found.imposed < 1e-5
    assert found.plain < 1e-5 or found.flips


@pytest.mark.parametrize("name", ["VAE, convolutional", "SegNet-Basic", "Johnson", "VGG-16"])
def test_pytorch_runs_the_same_network_as_precisely(name):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = distances(MODELS[name]), distances(MODELS[name], "torch")
    assert distance(ours.exact, theirs.exact) < 1e-12
    assert ours.imposed < 3 * theirs.imposed


def test_a_norm_of_images_that_lie_channels_last_adds_up_without_losing_digits():
    x = np.random.default_rng(0).standard_normal((64, 64, 64, 3)).astype(np.float32)
    wide = x.astype(np.float64)
    exact = (wide - wide.mean((0, 1, 2))) / np.sqrt(wide.var((0, 1, 2)) + 1e-5)
    with minidl.use_kernels("reference"):
        y = F.batch_norm(x.transpose(0, 3, 1, 2), None, None, training=True).data
    np.testing.assert_allclose(y.mean((0, 2, 3), dtype=np.float64), 0, atol=2e-8)
    np.testing.assert_allclose(y, exact.transpose(0, 3, 1, 2), atol=1.5e-6)
