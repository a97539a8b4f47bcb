"""Rules worked out once more in NumPy, so that they are held where PyTorch is not installed."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn, optim
from minidl.errors import ShapeError
from minidl.optim.line_search import Point, cubic_minimum

START = np.array([1.0, -2.0, 0.5])
GRADIENTS = (np.array([0.3, -0.4, 2.0]), np.array([-0.1, 0.5, 1.0]), np.array([0.2, 0.2, -3.0]))


def moved(build) -> np.ndarray:
    """Where three steps of an optimiser lead, by the gradients above."""
    p = nn.Parameter(START.copy())
    optimizer = build([p])
    for gradient in GRADIENTS:
        p.grad = minidl.tensor(gradient.copy())
        optimizer.step()
    return p.data


# --- optimisers ---


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_dampening_and_decay_of_sgd(nesterov):
    dampening = 0.0 if nesterov else 0.3
    p, velocity = START.copy(), None
    for gradient in GRADIENTS:
        g = gradient + 0.2 * p
        velocity = g if velocity is None else 0.9 * velocity + (1 - dampening) * g
        p = p - 0.1 * (g + 0.9 * velocity if nesterov else velocity)
    found = moved(lambda ps: optim.SGD(ps, 0.1, 0.9, dampening, 0.2, nesterov))
    np.testing.assert_allclose(found, p, rtol=1e-12)


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam_and_its_decays(kind, amsgrad):
    p, m, v, largest = START.copy(), 0.0, 0.0, 0.0
    for t, gradient in enumerate(GRADIENTS, 1):
        g = gradient
        if kind == "AdamW":
            p = p * (1 - 0.05 * 0.3)
        else:
            g = g + 0.3 * p
        m, v = 0.8 * m + 0.2 * g, 0.6 * v + 0.4 * g * g
        largest = np.maximum(largest, v)
        divisor = largest if amsgrad else v
        p = p - 0.05 * m / (1 - 0.8**t) / (np.sqrt(divisor / (1 - 0.6**t)) + 0.01)
    build = getattr(optim, kind)
    found = moved(lambda ps: build(ps, 0.05, (0.8, 0.6), 0.01, 0.3, amsgrad))
    np.testing.assert_allclose(found, p, rtol=1e-12)


@pytest.mark.parametrize("kind, decay", [("Adam", 0.0), ("AdamW", 0.01)])
def test_adams_default_numbers_are_the_papers(kind, decay):
    group = getattr(optim, kind)([nn.Parameter(START.copy())]).param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (1e-3, (0.9, 0.999), 1e-8)
    assert group["weight_decay"] == decay and not group["amsgrad"] and not group["maximize"]


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_rmsprop(centered, momentum):
    p, squares, mean, velocity = START.copy(), 0.0, 0.0, 0.0
    for gradient in GRADIENTS:
        g = gradient + 0.2 * p
        squares, mean = 0.6 * squares + 0.4 * g * g, 0.6 * mean + 0.4 * g
        step = g / (np.sqrt(squares - mean**2 * centered) + 0.05)
        velocity = momentum * velocity + step
        p = p - 0.1 * velocity
    found = moved(lambda ps: optim.RMSprop(ps, 0.1, 0.6, 0.05, 0.2, momentum, centered))
    np.testing.assert_allclose(found, p, rtol=1e-12)


def test_adagrad():
    p, squares = START.copy(), 0.5
    for t, gradient in enumerate(GRADIENTS):
        g = gradient + 0.2 * p
        squares = squares + g * g
        p = p - 0.1 / (1 + 0.25 * t) * g / (np.sqrt(squares) + 0.05)
    found = moved(lambda ps: optim.Adagrad(
        ps, 0.1, lr_decay=0.25, weight_decay=0.2, initial_accumulator_value=0.5, eps=0.05))
    np.testing.assert_allclose(found, p, rtol=1e-12)


@pytest.mark.parametrize("build", [optim.SGD, optim.Adam])
def test_going_up_is_going_down_the_opposite_gradient(build):
    down = [nn.Parameter(START.copy()) for _ in range(2)]
    for p, sign in zip(down, (1, -1), strict=True):
        optimizer = build([p], 0.1, maximize=sign < 0)
        for gradient in GRADIENTS:
            p.grad = minidl.tensor(sign * gradient)
            optimizer.step()
    np.testing.assert_array_equal(down[0].data, down[1].data)


def test_the_first_iteration_of_lbfgs_is_a_short_step_down_the_gradient():
    p = nn.Parameter(START.copy())
    optimizer = optim.LBFGS([p], lr=0.5, max_iter=1)

    def loss():
        optimizer.zero_grad()
        value = ((p - 4.0) ** 2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    gradient = 2 * (START - 4)
    expected = START - 0.5 * gradient / abs(gradient).sum()
    np.testing.assert_allclose(p.data, expected, rtol=1e-12)


def test_the_line_search_takes_the_least_point_of_the_cubic_or_else_the_middle():
    def points(a, b, curve, slope):
        return [Point(t, curve(t), None, slope(t)) for t in (a, b)]

    a, b = points(0.0, 3.0, lambda t: t**3 - 3 * t, lambda t: 3 * t * t - 3)
    assert cubic_minimum(a, b, 0.0, 3.0) == pytest.approx(1.0)  # where 3 t^2 = 3
    assert cubic_minimum(b, a, 1.5, 3.0) == 1.5  # the nearest that is allowed
    a, b = points(0.0, 1.0, lambda t: t**3 + t, lambda t: 3 * t * t + 1)
    assert cubic_minimum(a, b, 0.2, 1.0) == 0.6  # it has no least point


# --- schedules ---

T = range(8)


@pytest.mark.parametrize(
    ("build", "factors"),
    [
        (lambda o: optim.StepLR(o, 3, 0.5), [0.5 ** (t // 3) for t in T]),
        (lambda o: optim.MultiStepLR(o, [5, 2], 0.5), [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
        (lambda o: optim.ExponentialLR(o, 0.9), [0.9**t for t in T]),
        (lambda o: optim.LinearLR(o, 0.25, 0.75, 4), [0.25 + 0.125 * min(t, 4) for t in T]),
        (lambda o: optim.LinearLR(o), [(1 + 2 * min(t, 5) / 5) / 3 for t in T]),
        (lambda o: optim.PolynomialLR(o, 4, 2.0), [max(1 - t / 4, 0) ** 2 for t in T]),
        (lambda o: optim.LambdaLR(o, lambda t: 1 / (1 + t)), [1 / (1 + t) for t in T]),
        (lambda o: optim.CosineAnnealingLR(o, 8, 0.5),
         [0.75 + 0.25 * math.cos(math.pi * t / 8) for t in T]),
    ],
    ids=["step", "milestones", "exponential", "linear", "warm-up", "polynomial", "any", "cosine"],
)
def test_a_schedules_factors(build, factors):
    optimizer = optim.SGD([nn.Parameter(START.copy())], lr=1.0)
    schedule, found = build(optimizer), []
    for _ in T:
        found.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    np.testing.assert_allclose(found, factors, rtol=1e-12)


def plateau(metrics, **settings) -> list[float]:
    optimizer = optim.SGD([nn.Parameter(START.copy())], lr=1.0)
    schedule, rates = optim.ReduceLROnPlateau(optimizer, factor=0.5, **settings), []
    for metric in metrics:
        schedule.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_a_plateau_is_borne_for_its_patience_and_no_longer():
    still = [1.0] * 8
    assert plateau(still, patience=2) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert plateau(still, patience=1, cooldown=2) == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert plateau(still, patience=0, min_lr=0.4) == [1, 0.5] + [0.4] * 6
    assert plateau(still, patience=0, eps=0.3) == [1] + [0.5] * 7  # 0.25 less is too little
    assert plateau([math.nan, 1.0], patience=0) == [0.5, 0.5]  # the first may be no number
    for least, found in ((1 - 7e-9, 1), (1 - 1.2e-8, 1 - 1.2e-8)):  # eps is 1e-8
        assert plateau([1.0, 1.0], patience=0, min_lr=least) == [1, found]


def test_what_counts_as_an_improvement():
    falls = [10.0, 9.5, 9.0, 8.5]  # 5 % and a little more of the best, and half a unit each
    for settings, improves in (
        ({"threshold": 0.04}, True), ({"threshold": 0.2}, False),
        ({"threshold": 0.4, "threshold_mode": "abs"}, True),
        ({"threshold": 0.6, "threshold_mode": "abs"}, False),
    ):
        assert (plateau(falls, patience=0, **settings)[-1] == 1) == improves, settings
        rises = [-f for f in falls] if "threshold_mode" in settings else [1 / f for f in falls]
        found = plateau(rises, mode="max", patience=0, **settings)
        assert (found[-1] == 1) == improves, settings


# --- functions ---


def test_a_relu_has_no_slope_at_0():
    """Of the slopes between 0 and 1 that would do, PyTorch and every framework since take 0."""
    x = minidl.tensor(np.array([-1.0, 0.0, 2.0]), requires_grad=True)
    F.relu(x).sum().backward()
    assert x.grad.numpy().tolist() == [0, 0, 1]


@pytest.mark.parametrize("power", [1, 2, 3])
def test_total_variation_sums_the_powers_of_all_differences(power):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    expected = sum((abs(np.diff(x, axis=a)) ** power).sum((1, 2, 3)) for a in (2, 3))
    np.testing.assert_allclose(F.total_variation(x, power).data, expected, rtol=1e-12)
    np.testing.assert_allclose(F.total_variation(x[0], power).data, expected[0], rtol=1e-12)
    if power == 1:
        np.testing.assert_allclose(F.total_variation(x).data, expected, rtol=1e-12)


def test_dropout_of_channels_takes_an_image_without_a_batch():
    minidl.manual_seed(0)
    y = F.dropout2d(np.ones((200, 2, 3)), 0.25).data
    assert ((y == 0).all((1, 2)) | np.isclose(y, 4 / 3).all((1, 2))).all()
    assert 0.1 < (y[:, 0, 0] == 0).mean() < 0.4


@pytest.mark.parametrize("x", [-25.0, -3.0, 0.0, 40.0])
def test_cross_entropy_of_logits_is_exact_where_softplus_is_nearly_straight(x):
    for target, expected in ((1.0, np.logaddexp(0, -x)), (0.0, np.logaddexp(0, x))):
        for weight in (None, np.ones(1)):
            found = F.binary_cross_entropy_with_logits(
                np.array([x]), np.array([target]), pos_weight=weight
            )
            assert found.item() == pytest.approx(expected, rel=1e-14)


def test_integers_divide_to_float32_and_floats_to_what_they_are():
    seven, two = np.array([7]), np.array([2])
    assert F.div(seven, two).tolist() == [3.5]
    assert F.div(seven, two).dtype == np.float32
    assert F.div(seven.astype(np.float64), two.astype(np.float64)).dtype == np.float64


def test_a_window_may_be_as_large_as_the_image():
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    assert F.avg_pool2d(x, 3).item() == pytest.approx(4)
    assert F.max_pool2d(x, 3).item() == 8


@pytest.mark.parametrize("size", [(0, 4), (4, 0)])
def test_an_image_without_pixels_has_no_means(size):
    with pytest.raises(ShapeError, match="empty"):
        F.adaptive_avg_pool2d(np.zeros((1, 2, *size)), 2)
