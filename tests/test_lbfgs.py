"""L-BFGS goes where PyTorch's goes, point by point, and its line search ends wherever it is led."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl
from minidl import optim
from minidl.optim.line_search import Point, strong_wolfe

PLACES = np.arange(12.0)
TARGET = np.cos(3 * PLACES)


def matrix(phase: float) -> np.ndarray:
    return np.sin(phase + PLACES[:, None] * np.arange(1.0, 6.0))


LOSSES = {
    "absolute": lambda a, b, x: abs(a @ x - b).mean(),
    "squares": lambda a, b, x: ((a @ x - b) ** 2).mean(),
    "logistic": lambda a, b, x: (1 + (-(a @ x) * b).exp()).log().mean() + 0.01 * (x * x).sum(),
    "valley": lambda a, b, x: (10 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum(),
}
"""Losses of a matrix, a vector and the weights; by functions that PyTorch's tensors have, too."""


def descend(library, optimizer, loss, phase=1.0, begin=1.0, **settings):
    """Three steps; returns the points at which the loss was computed, and the last."""
    a, b = library.tensor(matrix(phase)), library.tensor(TARGET)
    x = library.tensor(np.full(5, float(begin)), requires_grad=True)
    method, points = optimizer([x], **settings), []

    def closure():
        method.zero_grad()
        value = LOSSES[loss](a, b, x)
        value.backward()
        points.append([*x.tolist(), value.item()])
        return value

    for _ in range(3):
        method.step(closure)
    return np.array(points), x.tolist()


SEARCHED = {"line_search_fn": "strong_wolfe"}
SHORT = {**SEARCHED, "history_size": 2, "lr": 0.5, "max_iter": 9}
PLAIN = {"lr": 0.1, "history_size": 4}


# The numbers are PyTorch 2.13's, float64. Those of absolute errors are of matrices for which
# PyTorch's own come out the same when it begins 1e-14 away: elsewhere rounding chooses the way.
@pytest.mark.parametrize(
    ("loss", "phase", "begin", "settings", "evaluations", "last"),
    [
        ("absolute", 8, 1, SEARCHED, 60,
         [-0.006877181185951556, -0.04621210963919368, 0.961581939392556, 0.06162951717302882,
          0.004226452075035374]),
        ("absolute", 11, 1, SEARCHED, 62,
         [-4.427063819029184e-05, 0.0014999624308000112, -0.9977032545958268,
          -0.000961546534878212, 0.0005415155223040218]),
        ("absolute", 33, 1, SEARCHED, 63,
         [0.004162573098177962, -0.0017644713829346663, 0.9937757666625926, 0.0025604998952720053,
          -0.0041198387860735455]),
        ("absolute", 1, 1, PLAIN, 60,
         [0.8325446354433056, 0.6849368691911093, 1.0526009137786179, 0.9657739473157545,
          0.7819386414889007]),
        ("squares", 1, 1, SEARCHED, 13,
         [0.022451702261733937, 0.08763907077597523, 1.1177655770695534, 0.057597809794551376,
          0.052206702842367364]),
        ("squares", 1, 1, SHORT, 18,
         [0.02245182746552567, 0.0876802511458176, 1.1177717309592767, 0.05763792653786592,
          0.05219251673750893]),
        ("logistic", 1, 1, SHORT, 19,
         [0.04278756338369967, -0.020853624116667063, 2.3350766808295234, 0.2347880716463895,
          0.08100655959446898]),
        ("logistic", 1, 1, PLAIN, 60,
         [0.044592542574554445, -0.0187636627635202, 2.331510050131903, 0.23589191482518287,
          0.082986748900983]),
        ("valley", 1, -0.5, SEARCHED, 33,
         [1.0000002617490082, 1.0000001129956675, 1.0000001945119785, 1.0000004222635315,
          1.0000006961586443]),
        ("valley", 1, -0.5, SHORT, 33,
         [0.9990826800867559, 0.9993276434748714, 0.9965837419663793, 0.9928263138739153,
          0.9841132588125913]),
    ],
)
def test_three_steps_end_where_pytorchs_do(loss, phase, begin, settings, evaluations, last):
    points, x = descend(minidl, optim.LBFGS, loss, phase, begin, **settings)
    assert len(points) == evaluations
    np.testing.assert_allclose(x, last, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("settings", [SEARCHED, SHORT, PLAIN, {**SEARCHED, "max_eval": 7}],
                         ids=["searched", "short", "plain", "few"])
@pytest.mark.parametrize("loss", ["squares", "logistic", "valley"])
def test_every_point_on_the_way_is_pytorchs(loss, settings):
    torch = pytest.importorskip("torch")
    begin = -0.5 if loss == "valley" else 1.0
    ours, _ = descend(minidl, optim.LBFGS, loss, 1.0, begin, **settings)
    theirs, _ = descend(torch, torch.optim.LBFGS, loss, 1.0, begin, **settings)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)


def test_a_step_without_a_search_evaluates_as_often_as_max_eval_says():
    points, _ = descend(minidl, optim.LBFGS, "valley", begin=-0.5, lr=1e-3, max_eval=3)
    assert len(points) == 3 * 3


@pytest.mark.parametrize(("begin", "tolerance"), [(0.0, 1e-7), (0.0, 0.0), (0.5, 1.0)])
def test_nothing_moves_where_the_slope_is_within_its_tolerance(begin, tolerance):
    x = minidl.tensor(np.full(2, begin), requires_grad=True)
    method, count = optim.LBFGS([x], tolerance_grad=tolerance), []

    def closure():
        count.append(1)
        method.zero_grad()
        value = (x * x).sum()
        value.backward()
        return value

    method.step(closure)
    assert len(count) == 1 and x.tolist() == [begin] * 2


def test_a_search_spends_what_max_eval_leaves_it():
    points, _ = descend(minidl, optim.LBFGS, "absolute", 8, max_iter=8, max_eval=9, **SEARCHED)
    assert len(points) <= 3 * (9 + 1)  # the first try of a search is not counted, as in PyTorch
    x = minidl.tensor(np.ones(2), requires_grad=True)
    method, count = optim.LBFGS([x], max_iter=1, max_eval=1000, **SEARCHED), []

    def falls_for_ever():
        count.append(1)
        method.zero_grad()
        value = x.sum()
        value.backward()
        return value

    method.step(falls_for_ever)
    assert len(count) == 1 + 1 + optim.lbfgs.LONGEST_SEARCH


def test_a_search_that_twice_tries_beside_an_end_goes_a_tenth_inside_from_there():
    def evaluate(t):
        over = max(t - 0.96, 0.0)
        tried.append(t)
        return Point(t, 250 * over**3 - t, None, 750 * over**2 - 1)

    tried = []
    strong_wolfe(evaluate, evaluate(0.0), 1.0, scale=1.0, c2=0.1)
    assert tried == pytest.approx([0, 1, 0.9560437362812784, 0.9956043736281278])  # PyTorch's


@pytest.mark.parametrize("wall", [0.4, 1.5, 3.0])
@pytest.mark.parametrize("beyond", [math.nan, math.inf])
def test_a_search_comes_back_from_where_there_is_no_value(wall, beyond):
    def evaluate(t):
        if t > wall:
            return Point(t, beyond, None, math.nan)
        return Point(t, (t - 5) ** 2, None, 2 * (t - 5))

    point, _ = strong_wolfe(evaluate, evaluate(0.0), 1.0, scale=1.0)
    assert 0 < point.t <= wall and point.value < 25


@pytest.mark.parametrize("seed", range(8))
def test_a_search_among_values_that_are_all_rounding_ends(seed):
    """Without a tolerance the interval may shrink to nothing."""
    rng = np.random.default_rng(seed)

    def evaluate(t: float) -> Point:
        return Point(t, 1.0 + 1e-7 * rng.standard_normal(), None, -abs(rng.standard_normal()))

    for _ in range(50):
        first = 10.0 ** rng.uniform(-3, 8)
        point, spent = strong_wolfe(evaluate, Point(0.0, 1.0, None, -1.0), first, 1.0, tolerance=0)
        assert point.t >= 0 and spent <= 26
