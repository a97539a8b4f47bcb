"""Optimisers: by hand where a hand can reach, against PyTorch elsewhere, and resumed exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn, optim
from minidl.errors import ArgumentError, CheckpointError
from minidl.files.serialize import load_tree, save_tree
from minidl.optim.line_search import Point, strong_wolfe

SETTINGS = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 5e-4, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1,
                 "initial_accumulator_value": 0.5}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1, "betas": (0.5, 0.9)}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True, "maximize": True}),
    ("LBFGS", {"lr": 0.5, "max_iter": 3, "history_size": 3}),
    ("LBFGS", {"max_iter": 4, "line_search_fn": "strong_wolfe"}),
]
IDS = [f"{name} {settings}" for name, settings in SETTINGS]


def start() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((3, 2)), rng.standard_normal(4)]


def loss_of(a, b):
    """Not quadratic, not separable, and without a minimum that Adam would reach at once."""
    return ((a * a - 1) ** 2).sum() + ((b[1:] - b[:-1] ** 2) ** 2).sum() + (a[0] ** 2).sum() * b[0]


def closure_of(optimizer, params):
    def closure():
        optimizer.zero_grad()
        loss = loss_of(*params)
        loss.backward()
        return loss

    return closure


def tensors() -> list[minidl.Tensor]:
    return [minidl.tensor(a, requires_grad=True) for a in start()]


def run(optimizer, params, steps: int) -> None:
    for _ in range(steps):
        optimizer.step(closure_of(optimizer, params))


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_twenty_steps_equal_pytorchs(name, settings):
    torch = pytest.importorskip("torch")
    ours = tensors()
    run(getattr(optim, name)(ours, **settings), ours, 20)
    theirs = [torch.tensor(a, requires_grad=True) for a in start()]
    run(getattr(torch.optim, name)(theirs, **settings), theirs, 20)
    # Along this valley a line search enlarges PyTorch's own differences of 1e-15 to 1e-5.
    close = 1e-5 if "line_search_fn" in settings else 1e-9
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=close, atol=close)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_a_resumed_run_is_bit_identical(name, settings, tmp_path):
    whole = tensors()
    run(getattr(optim, name)(whole, **settings), whole, 9)

    params = tensors()
    first = getattr(optim, name)(params, **settings)
    run(first, params, 4)
    save_tree(tmp_path / "state", first.state_dict())

    second = getattr(optim, name)(params, **{**settings, "lr": 0.777})
    second.load_state_dict(load_tree(tmp_path / "state"))
    run(second, params, 5)
    for a, b in zip(whole, params, strict=True):
        assert a.data.tobytes() == b.data.tobytes()


def test_sgd_takes_the_step_of_its_formula():
    p = minidl.tensor(np.array([1.0, 2.0]), requires_grad=True)
    p.grad = minidl.tensor(np.array([10.0, -10.0]))
    optim.SGD([p], lr=0.1, weight_decay=1.0).step()
    np.testing.assert_allclose(p.data, [1 - 0.1 * 11, 2 + 0.1 * 8])


def test_momentum_adds_up_by_hand():
    p = minidl.tensor(np.array([0.0]), requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, momentum=0.5)
    for _ in range(3):
        p.grad = minidl.tensor(np.array([1.0]))
        optimizer.step()
    assert p.item() == -(1 + 1.5 + 1.75)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_the_first_step_of_adam_has_the_length_of_the_learning_rate(name):
    p = minidl.tensor(np.array([5.0, 5.0]), requires_grad=True)
    p.grad = minidl.tensor(np.array([1e-3, -1e3]))
    getattr(optim, name)([p], lr=0.01, weight_decay=0.0).step()
    np.testing.assert_allclose(p.data, [4.99, 5.01], rtol=1e-6)


def test_lbfgs_finds_the_minimum_of_rosenbrocks_valley():
    x = minidl.tensor(np.array([-1.2, 1.0]), requires_grad=True)
    settings = {"max_iter": 100, "line_search_fn": "strong_wolfe", "tolerance_change": 1e-14}
    optimizer = optim.LBFGS([x], **settings)

    def closure():
        optimizer.zero_grad()
        loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(x.data, [1, 1], atol=1e-6)


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 20.0])
def test_line_search_meets_both_wolfe_conditions(first):
    def evaluate(t: float) -> Point:
        slope = 4 * (t - 1) ** 3 + math.cos(5 * t)
        return Point(t, (t - 1) ** 4 + math.sin(5 * t) / 5, None, slope)

    begin = evaluate(0.0)
    point, spent = strong_wolfe(evaluate, begin, first, scale=1.0)
    assert point.value <= begin.value + 1e-4 * point.t * begin.slope
    assert abs(point.slope) <= 0.9 * abs(begin.slope)
    assert spent <= 25


def test_parameters_without_a_gradient_stay():
    p, q = tensors()
    q.grad = minidl.ones_like(q)
    before = p.data.copy()
    optim.Adam([p, q]).step()
    assert np.array_equal(p.data, before)


def test_groups_have_settings_of_their_own():
    p, q = tensors()
    optimizer = optim.SGD([{"params": [p]}, {"params": [q], "lr": 0.0}], lr=1.0)
    p.grad, q.grad = minidl.ones_like(p), minidl.ones_like(q)
    optimizer.step()
    np.testing.assert_allclose(p.data, start()[0] - 1)
    np.testing.assert_allclose(q.data, start()[1])


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda p: optim.SGD([]), "no parameters"),
        (lambda p: optim.SGD([minidl.zeros(2)]), "requires a gradient"),
        (lambda p: optim.SGD([p * 1]), "leaf"),
        (lambda p: optim.SGD([p, p]), "twice"),
        (lambda p: optim.SGD([p], lr=-1), "lr"),
        (lambda p: optim.SGD([p], nesterov=True), "nesterov"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), "betas"),
        (lambda p: optim.RMSprop([p], alpha=2), "alpha"),
        (lambda p: optim.SGD([{"params": [p], "rate": 1}]), "rate"),
        (lambda p: optim.LBFGS([p], line_search_fn="armijo"), "armijo"),
        (lambda p: optim.LBFGS([p]).step(), "closure"),
    ],
)
def test_settings_without_sense_are_refused(build, what):
    with pytest.raises(ArgumentError, match=what):
        build(tensors()[0])


def test_a_state_that_does_not_fit_changes_nothing():
    p, q = tensors()
    optimizer = optim.Adam([p, q])
    other = tensors()
    smaller = optim.Adam(other[:1])
    with pytest.raises(CheckpointError, match="groups"):
        smaller.load_state_dict(optimizer.state_dict())
    run(optimizer, [p, q], 1)
    swapped = optim.Adam([other[1], other[0]])
    with pytest.raises(CheckpointError, match="exp_avg"):
        swapped.load_state_dict(optimizer.state_dict())
    assert swapped.state == {}


@pytest.mark.parametrize("max_iter", [2, 5, 20])
def test_lbfgs_searches_along_straight_lines(max_iter):
    """Where a loss is linear, the cubic through two of its points bends nowhere."""
    for loss_of_x in (lambda x: x.sum(), lambda x: abs(x - 0.3).mean(), lambda x: F.relu(x).sum()):
        x = minidl.tensor(np.array([1.0, 2.0, 0.5]), requires_grad=True)
        optimizer = optim.LBFGS([x], max_iter=max_iter, line_search_fn="strong_wolfe")

        def closure(x=x, optimizer=optimizer, loss_of_x=loss_of_x):
            optimizer.zero_grad()
            loss = loss_of_x(x)
            loss.backward()
            return loss

        first = optimizer.step(closure).item()
        optimizer.step(closure)
        assert loss_of_x(x).item() < first
    # The first step that is tried along a line lands where PyTorch's does.
    np.testing.assert_allclose(x.data, [-7 / 3, -4 / 3, -17 / 6])


def test_pytorchs_count_of_steps_in_float32_does_not_round_the_next_step():
    p, q = (minidl.tensor(np.array([1.0, 2.0]), requires_grad=True) for _ in range(2))
    theirs, ours = optim.Adam([p], lr=0.1), optim.Adam([q], lr=0.1)
    for one, optimizer in ((p, theirs), (q, ours)):
        for _ in range(3):
            one.grad = minidl.tensor(np.array([0.1, -3.0]))
            optimizer.step()
    state = theirs.state_dict()
    state["state"]["0"]["step"] = np.array(3, np.float32)
    theirs.load_state_dict(state)
    theirs.step()
    ours.step()
    assert p.data.tobytes() == q.data.tobytes()
    # PyTorch 2.13, the same four steps.
    np.testing.assert_allclose(p.data, [0.6000000399999971, 2.3999999986666656], rtol=1e-13)


def test_memory_of_another_precision_is_cast_to_the_parameters():
    p = minidl.tensor(np.array([1.0, 2.0]), requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    p.grad = minidl.tensor(np.array([0.1, -3.0]))
    optimizer.step()
    state = optimizer.state_dict()
    state["state"]["0"]["momentum_buffer"] = np.ones(2, np.float32)
    optimizer.load_state_dict(state)
    assert optimizer.state[id(p)]["momentum_buffer"].dtype == np.float64


@pytest.mark.parametrize(
    ("saved", "loaded", "words"),
    [
        ("Adam", "SGD", "that of Adam"),
        ("SGD", "Adam", "that of SGD"),
        ("Adam", "AdamW", "that of Adam"),
    ],
)
def test_the_state_of_another_optimiser_is_refused(saved, loaded, words):
    p = tensors()[0]
    state = getattr(optim, saved)([p], lr=0.5).state_dict()
    optimizer = getattr(optim, loaded)([p], lr=0.1)
    with pytest.raises(CheckpointError, match=words):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.1
    # PyTorch's has no name in it, but settings.
    del state["kind"]
    for group in state["param_groups"]:
        group["decoupled_weight_decay"] = saved == "AdamW"
    with pytest.raises(CheckpointError, match=r"it has no |not decoupled"):
        optimizer.load_state_dict(state)


def test_zero_grad_may_fill_with_zeros():
    p, q = tensors()
    optimizer = optim.SGD([p, q], lr=0.1)
    p.grad = minidl.ones_like(p)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [[0, 0]] * 3 and q.grad is None
    optimizer.zero_grad(set_to_none=True)
    assert p.grad is None


SCHEDULES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [5, 2, 2], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("LinearLR", {"start_factor": 0.1, "total_iters": 4}),
    ("PolynomialLR", {"total_iters": 7, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 9, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("ConstantLR", {"factor": 0.2, "total_iters": 3}),
]


@pytest.mark.parametrize(("name", "settings"), SCHEDULES, ids=[s[0] for s in SCHEDULES])
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning")
def test_schedule_equals_pytorchs_and_resumes(name, settings):
    torch = pytest.importorskip("torch")
    ours = getattr(optim, name)(optim.SGD(tensors(), lr=0.4), **settings)
    theirs = getattr(torch.optim.lr_scheduler, name)(
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4), **settings
    )
    for t in range(9):
        assert ours.get_last_lr()[0] == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        ours.step()
        theirs.step()
        if t == 4:
            fresh = getattr(optim, name)(optim.SGD(tensors(), lr=0.1), **settings)
            fresh.load_state_dict(ours.state_dict())
            ours = fresh


CYCLE = [
    (0.020000000000000018, 0.95), (0.26, 0.9), (0.5, 0.85),
    (0.47524231600673683, 0.854951556604879), (0.40587282697488153, 0.8688255099070633),
    (0.30563101096814466, 0.8888739533021842), (0.19437098903185537, 0.9111260466978157),
    (0.09412917302511849, 0.9311744900929366), (0.024759683993263143, 0.945048443395121),
    (2e-06, 0.95),
]
"""Rates and momenta of PyTorch 2.13's OneCycleLR(SGD, 0.5, total_steps=10)."""


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_one_cycle_is_pytorchs_and_resumes(kind):
    def build():
        more = {"momentum": 0.9} if kind == "SGD" else {}
        optimizer = getattr(optim, kind)(tensors(), lr=0.1, **more)
        return optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=10)

    def now(schedule):
        (group,) = schedule.optimizer.param_groups
        return group["lr"], group["momentum"] if kind == "SGD" else group["betas"][0]

    schedule, seen = build(), []
    for t in range(10):
        if t == 6:
            fresh = build()
            fresh.load_state_dict(schedule.state_dict())
            schedule = fresh
        seen.append(now(schedule))
        schedule.step()
    np.testing.assert_allclose(seen, CYCLE, rtol=1e-12)
    with pytest.raises(ArgumentError, match="step 11 of a cycle of 10"):
        schedule.step()


def test_one_cycle_of_three_phases_falls_as_it_rose():
    optimizer = optim.SGD(tensors(), lr=0.1)
    schedule = optim.OneCycleLR(optimizer, 1.0, epochs=5, steps_per_epoch=4, three_phase=True,
                                anneal_strategy="linear", cycle_momentum=False)
    rates = []
    for _ in range(20):
        rates += schedule.get_last_lr()
        schedule.step()
    assert rates[0] == pytest.approx(0.04) and rates[5] == pytest.approx(1)
    np.testing.assert_allclose(rates[:6], rates[10:4:-1], rtol=1e-12)
    assert rates[19] == pytest.approx(4e-6)


def test_schedules_follow_each_other_from_one_first_rate():
    optimizer = optim.SGD(tensors(), lr=0.1)
    names = optim.lr_scheduler
    warm = names.LinearLR(optimizer, 0.1, 1.0, 3)

    def build():
        return names.SequentialLR(optimizer, [warm, names.CosineAnnealingLR(optimizer, 5)], [3])

    schedule, rates = build(), []
    for t in range(9):
        if t == 5:
            state, schedule = schedule.state_dict(), build()
            schedule.load_state_dict(state)
        rates += schedule.get_last_lr()
        schedule.step()
    # PyTorch 2.13.
    expected = [0.01, 0.04, 0.07, 0.1, 0.09045084971874738, 0.06545084971874739,
                0.034549150281252634, 0.009549150281252635, 0.0]
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda m, o: m.OneCycleLR(o, 0.5), "total_steps"),
        (lambda m, o: m.OneCycleLR(o, 0.5, total_steps=9), "momentum or betas"),
        (lambda m, o: m.OneCycleLR(o, 0.5, 9, anneal_strategy="sin"), "anneal_strategy"),
        (lambda m, o: m.SequentialLR(o, [m.StepLR(o, 1)], [3]), "milestone"),
        (lambda m, o: m.SequentialLR(o, [m.ReduceLROnPlateau(o)], []), "ReduceLROnPlateau is no"),
    ],
)
def test_phases_that_make_no_sense_are_refused(build, words):
    with pytest.raises(ArgumentError, match=words):
        build(optim.lr_scheduler, optim.Adagrad(tensors(), lr=0.1))


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau_schedule_equals_pytorchs(mode, threshold_mode):
    torch = pytest.importorskip("torch")
    settings = {"mode": mode, "factor": 0.5, "patience": 2, "cooldown": 1, "threshold": 0.05,
                "threshold_mode": threshold_mode, "min_lr": 0.01}
    ours = optim.ReduceLROnPlateau(optim.SGD(tensors(), lr=0.4), **settings)
    rival = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(rival, **settings)
    for t, metric in enumerate(1 + 0.3 * np.random.default_rng(1).standard_normal(40)):
        ours.step(metric)
        theirs.step(metric)
        assert ours.get_last_lr()[0] == rival.param_groups[0]["lr"]
        if t == 20:
            fresh = optim.ReduceLROnPlateau(ours.optimizer, **settings)
            fresh.load_state_dict(ours.state_dict())
            ours = fresh


def with_gradients() -> list[minidl.Tensor]:
    params = tensors()
    for p, g in zip(params, start(), strict=True):
        p.grad = minidl.tensor(3 * g)
    return params


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
def test_clipping_by_norm_scales_all_gradients_together(norm_type):
    params = with_gradients()
    norm = optim.clip_grad_norm_(params, 0.5, norm_type)
    flat = 3 * np.concatenate([a.ravel() for a in start()])
    assert norm == pytest.approx(np.linalg.norm(flat, norm_type))
    clipped = np.concatenate([p.grad.data.ravel() for p in params])
    np.testing.assert_allclose(clipped, flat * 0.5 / norm, rtol=1e-5)
    assert optim.clip_grad_norm_(params, 10.0, norm_type) == pytest.approx(0.5, rel=1e-5)


def test_adjustable_clipping_bounds_the_step_whatever_the_learning_rate():
    for lr in (0.1, 0.001):
        params = with_gradients()
        optim.clip_grad_adjustable_(params, theta=1e-3, lr=lr)
        before = [p.data.copy() for p in params]
        optim.SGD(params, lr=lr).step()
        moved = max(np.abs(p.data - b).max() for p, b in zip(params, before, strict=True))
        assert moved <= 1e-3 * (1 + 1e-9)


def test_clipping_refuses_bounds_that_are_not_positive():
    with pytest.raises(ArgumentError, match="clip_value"):
        optim.clip_grad_value_(with_gradients(), 0.0)


@pytest.mark.parametrize("make", [
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    lambda p: optim.Adam(p, lr=0.1), lambda p: optim.LBFGS(p, max_iter=3),
])
def test_frozen_parameters_stay_as_they_are(make):
    """As in PyTorch, `model.parameters()` may be given whole."""
    frozen = nn.Parameter(np.array([1.0, 2.0]), requires_grad=False)
    free = nn.Parameter(np.array([3.0, 4.0]))
    optimizer = make([frozen, free])

    def loss():
        optimizer.zero_grad()
        value = ((free - frozen) ** 2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    assert frozen.tolist() == [1.0, 2.0] and free.tolist() != [3.0, 4.0]
