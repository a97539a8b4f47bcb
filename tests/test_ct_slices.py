"""Generated CT slices: reproducible, balanced, and not to be diagnosed by their brightness."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.data import ct_slices
from minidl.data.drawn.slices import (
    CHUNK,
    COLLAPSE,
    DIAGNOSES,
    EFFUSION,
    HEALTHY,
    NODULE,
    Body,
    Ellipse,
    field_of_view,
    phantom,
    scanned,
)
from minidl.errors import ArgumentError

DRAWN = ct_slices(640, 32, seed=3).arrays


def test_slices_have_the_promised_form():
    images, labels = DRAWN
    assert images.shape == (640, 1, 32, 32) and images.dtype == np.float32
    assert labels.shape == (640,) and labels.dtype == np.int64
    assert images.min() == 0 and 0.9 < images.max() <= 1
    assert (np.sort(labels.reshape(-1, 4)) == np.arange(len(DIAGNOSES))).all()


@pytest.mark.parametrize("count", [1, 5, CHUNK + 3])
def test_slice_depends_on_the_seed_and_its_number_alone(count):
    images, labels = ct_slices(count, 32, seed=3).arrays
    np.testing.assert_array_equal(images, DRAWN[0][:count])
    np.testing.assert_array_equal(labels, DRAWN[1][:count])


def test_other_seed_gives_other_slices_in_another_order():
    images, labels = ct_slices(64, 32, seed=4).arrays
    assert (images != DRAWN[0][:64]).any((1, 2, 3)).all()
    assert (labels != DRAWN[1][:64]).any()


def test_scan_without_noise_gives_the_phantom_back():
    """Filtered back-projection inverts the rays: greys of a smooth disc, in place and in scale."""
    body = Body(48, np.random.default_rng(0))
    body.paint(body.share(Ellipse(0.1, -0.1, 0.6, 0.45, 0.4)), 0.0)
    grey = scanned(body.mu[None], [np.random.default_rng(0)], float("inf"))[0]
    inside = body.level(Ellipse(0.1, -0.1, 0.45, 0.3, 0.4)) < 1
    outside = (body.level(Ellipse(0.1, -0.1, 0.8, 0.65, 0.4)) > 1) & field_of_view(48)
    water = 1000 / 1400
    assert grey[inside].mean() == pytest.approx(water, abs=0.01)
    assert np.abs(grey[inside] - water).max() < 0.06
    assert grey[outside].mean() < 0.02


def test_fewer_photons_make_more_noise_and_change_nothing_else():
    clean, low, high = (ct_slices(8, 32, 3, photons=n).arrays for n in (float("inf"), 2e3, 2e5))
    off = [float((x[0] - clean[0]).std()) for x in (low, high)]
    assert off[0] == pytest.approx(10 * off[1], rel=0.4)  # as 1 / sqrt(photons)
    assert off[0] > 0.01
    np.testing.assert_array_equal(low[1], clean[1])


def test_noise_is_stronger_in_the_middle_of_the_body_than_at_its_rim():
    body = Body(48, np.random.default_rng(0))
    whole = Ellipse(0, 0, 0.85, 0.85)
    body.paint(body.share(whole), -200.0)
    rngs = [np.random.default_rng(i) for i in range(64)]
    greys = scanned(np.repeat(body.mu[None], 64, 0), rngs, 1e4)
    noise = greys.std(0)
    middle = body.level(Ellipse(0, 0, 0.3, 0.3)) < 1
    rim = (body.level(Ellipse(0, 0, 0.65, 0.65)) > 1) & (body.level(Ellipse(0, 0, 0.8, 0.8)) < 1)
    assert noise[middle].mean() > 1.3 * noise[rim].mean()


def attenuation(label, count=60):
    return np.stack([phantom(label, 48, np.random.default_rng([9, i])) for i in range(count)])


def test_only_fluid_fills_a_lung_from_below_and_only_collapse_makes_one_small():
    """Air at the left and at the right, whose ratio a collapse changes and a nodule does not."""
    ratios = {}
    for label in range(4):
        mu = attenuation(label)
        y = np.arange(48)[:, None]
        air = (mu > 0.05) & (mu < 0.45)
        left, right = air[..., :24].sum((1, 2)), air[..., 24:].sum((1, 2))
        uneven = np.abs(np.log((left + 1) / (right + 1))).mean()
        low = (air & (y > 26)).sum((1, 2)) / air.sum((1, 2))
        ratios[label] = uneven, low.mean()
    assert ratios[COLLAPSE][0] > 1.7 * ratios[HEALTHY][0]
    assert ratios[EFFUSION][1] < 0.85 * ratios[HEALTHY][1]
    assert ratios[NODULE][0] == pytest.approx(ratios[HEALTHY][0], rel=0.5)


# --- what may and what may not tell the diagnosis ---


def regression(x, labels, learnt):
    """Held-out accuracy of a logistic regression, the best of three penalties."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = (x - x[:learnt].mean(0)) / (x[:learnt].std() + 1e-9)
    models = [linear_model.LogisticRegression(C=c, max_iter=300) for c in (1e-3, 1e-2, 1e-1)]
    return max(m.fit(x[:learnt], labels[:learnt]).score(x[learnt:], labels[learnt:])
               for m in models)


def test_brightness_and_contrast_do_not_tell_the_diagnosis():
    images, labels = ct_slices(1600, 32, seed=5).arrays
    dark = (images < 0.25).mean((1, 2, 3))
    x = np.stack([images.mean((1, 2, 3)), images.std((1, 2, 3)), dark], 1)
    x /= x.std(0)
    assert regression(x, labels, 1000) < 0.37  # 0.25 is chance


@pytest.mark.slow
def test_linear_classifier_on_pixels_is_well_below_a_convolutional_network():
    import minidl.functional as F
    from minidl import Tensor, nn, no_grad, random
    from minidl.optim import Adam

    images, labels = ct_slices(3000, 48, seed=6).arrays
    x = (images - images.mean()) / images.std()
    linear = regression(x.reshape(len(x), -1), labels, 2500)
    random.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 36, 64), nn.ReLU(), nn.Linear(64, 4),
    )
    optimizer, rng = Adam(net.parameters(), lr=2e-3), np.random.default_rng(0)
    for _ in range(700):
        rows = rng.integers(0, 2500, 32)
        optimizer.zero_grad()
        F.cross_entropy(net(Tensor(x[rows])), Tensor(labels[rows])).backward()
        optimizer.step()
    with no_grad():
        right = net(Tensor(x[2500:])).data.argmax(1) == labels[2500:]
    assert right.mean() > linear + 0.05


@pytest.mark.parametrize("settings, told", [
    ({"count": 0}, "count"), ({"count": 1, "size": 8}, "size"), ({"count": 1, "photons": 0.5},
                                                                 "photons"),
])
def test_settings_that_make_no_sense_are_refused(settings, told):
    with pytest.raises(ArgumentError, match=told):
        ct_slices(**settings)
