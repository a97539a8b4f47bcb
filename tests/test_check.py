"""The checkers catch what is wrong: each is given something deliberately broken."""

from __future__ import annotations

import json

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn
from minidl.__main__ import main
from minidl.autograd import Op
from minidl.check import (
    adjoint_check,
    check_sample,
    double_gradcheck,
    form_check,
    gradcheck,
)
from minidl.commands import check as check_command
from minidl.errors import ArgumentError, DtypeError, GradientError
from minidl.functional.matmul import Matmul
from minidl.kinds import Pointwise
from minidl.samples import Sample

X = np.linspace(-1.0, 1.5, 6).reshape(2, 3)


class WrongSine(Pointwise):
    """A sine whose slope has lost its sign at one place."""

    def forward(self, x):
        return np.sin(x)

    def slope_x(self, x):
        return F.cos(x) * F.where(x.data == x.data.max(), -1.0, 1.0)


class ForgetfulCube(Op):
    """A cube whose gradient is right, but is computed on arrays, so that it has none."""

    def forward(self, x):
        return x**3

    def vjp_x(self, grad, x):
        return grad * (3 * x.data**2)


def test_right_gradients_pass_with_small_errors():
    result = gradcheck(lambda x, y: (F.sin(x) * y, F.exp(x)), [X, X[:1] + 2])
    assert result.error < 1e-8 and result.elements == 9


def test_wrong_gradient_is_caught_and_named():
    with pytest.raises(GradientError, match=r"input 0 is wrong\n.*element \(1, 2\)"):
        gradcheck(lambda x: WrongSine()(x), [X])


def test_wrong_gradient_is_caught_in_either_dtype_alone():
    """Not only by comparing one dtype with the other."""
    sample = Sample("sine", "", lambda F, x: WrongSine()(x), [(2, 3)])
    for dtype in ("float64", "float32"):
        with pytest.raises(GradientError, match=f"sine, order 1, {dtype}"):
            check_sample(sample, 1, dtype)


def test_forgotten_second_derivative_is_caught_in_either_dtype_alone():
    sample = Sample("cube", "", lambda F, x: ForgetfulCube()(x), [(2, 3)])
    for dtype in ("float64", "float32"):
        assert check_sample(sample, 1, dtype).elements == 6
        with pytest.raises(GradientError, match=f"cube, order 2, {dtype}"):
            check_sample(sample, 2, dtype)


class ForgetfulQuartic(Pointwise):
    """Its slope is right, and the slope of its slope, but not the one after that."""

    def forward(self, x):
        return x**4 / 4

    def slope_x(self, x):
        return ForgetfulCube()(x)


def test_forgotten_third_derivative_is_caught():
    sample = Sample("quartic", "", lambda F, x: ForgetfulQuartic()(x), [(2,)])
    for order in (1, 2):
        assert check_sample(sample, order).error < 1e-8
    with pytest.raises(GradientError, match="quartic, order 3"):
        check_sample(sample, 3)


def test_tiny_wrong_gradient_is_caught_with_a_lower_atol():
    def tiny(x):
        return WrongSine()(x) * 1e-9

    assert gradcheck(tiny, [X]).elements == 6
    with pytest.raises(GradientError, match="input 0"):
        gradcheck(tiny, [X], atol=0)


def test_one_array_is_a_list_of_one():
    assert gradcheck(F.exp, X) == gradcheck(F.exp, [X])


def test_check_works_inside_no_grad():
    with minidl.no_grad():
        assert gradcheck(F.exp, [X]).elements == 6
        assert double_gradcheck(F.exp, [X]).elements == 12
        with pytest.raises(GradientError):
            gradcheck(lambda x: WrongSine()(x), [X])


def test_output_that_depends_on_nothing_has_gradient_zero():
    def function(x):
        return F.sign(x), x * x * x

    assert double_gradcheck(function, [X]).elements == 12


def test_forgotten_second_derivative_is_caught():
    assert gradcheck(lambda x: ForgetfulCube()(x), [X]).error < 1e-8
    with pytest.raises(GradientError, match="double_gradcheck"):
        double_gradcheck(lambda x: ForgetfulCube()(x), [X])


def test_nan_is_not_right():
    with pytest.raises(GradientError), np.errstate(all="ignore"):
        gradcheck(lambda x: F.sqrt(x) * 1.0, [np.array([-1.0])])


def test_input_that_is_not_used_has_gradient_zero():
    assert gradcheck(lambda x, y: x * 2, [X, X]).elements == 12


def test_float32_inputs_are_refused():
    with pytest.raises(DtypeError, match="float64"):
        gradcheck(F.exp, [X.astype(np.float32)])


def test_python_numbers_and_lists_are_checked_in_float64():
    assert gradcheck(F.exp, 0.5).elements == 1
    assert gradcheck(lambda x, y: x * y, [0.5, [1, 2.0]]).elements == 3
    with pytest.raises(DtypeError, match=r"input 1 must be float64\n.*float32"):
        gradcheck(lambda x, y: x * y, [0.5, np.float32(1)])


class Half(Pointwise):
    """x / 2, with a slope that is wrong."""

    def forward(self, x):
        return x / 2

    def slope_x(self, x):
        return 0 * x + 0.25


@pytest.mark.parametrize("seed", [0, 1])
def test_the_slopes_of_one_number_are_told_as_they_are(seed):
    with pytest.raises(GradientError, match=r"element \(\): 0\.25 by the graph, 0\.50000.* by fin"):
        gradcheck(lambda x: Half()(x), 3.0, seed=seed)
    with pytest.raises(GradientError, match=r"element \(1,\): 0\.25 by the graph"):
        gradcheck(lambda x: (Half()(x) * [0.0, 1.0]).sum(), [np.array([1.0, 3.0])], seed=seed)
    with pytest.raises(GradientError, match="sum of all outputs, each times a weight"):
        gradcheck(lambda x: Half()(x), [X], seed=seed)


def test_second_slopes_of_one_number_are_told_as_they_are():
    result = double_gradcheck(lambda x: x**3, 2.0)
    told = {row.name: row.by_graph for row in result.rows}
    assert told == {"input 0": pytest.approx(12), "weight 0": pytest.approx(12)}


class Deaf(Op):
    """Its vjp does not look at the gradient that arrives."""

    def forward(self, x):
        return x.sum()

    def vjp_x(self, grad, x):
        return minidl.ones_like(x)


def test_a_vjp_that_forgets_the_gradient_it_is_given_is_caught_for_one_number():
    with pytest.raises(GradientError, match=r"0\.6666666667 by the graph, 1"):
        gradcheck(lambda x: Deaf()(x), [X])


def test_a_function_that_draws_anew_is_told_apart_from_a_wrong_gradient():
    with pytest.raises(GradientError, match="not the same at every call"):
        gradcheck(lambda x: x * minidl.randn(3), [X])
    with pytest.raises(GradientError, match=r"not the same(.|\n)*\.eval\(\)"):
        gradcheck(nn.Dropout(0.5), [X])

    def seeded(x):
        minidl.manual_seed(3)
        return x * minidl.randn(3)

    assert gradcheck(seeded, [X]).elements == 6


def test_a_module_is_checked_by_its_parameters():
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.BatchNorm1d(2)).to(np.float64)
    before = {name: value.copy() for name, value in net.state_dict().items()}
    result = gradcheck(net, [X * X])
    assert [row.name for row in result.rows] == [
        "input 0", *(f"parameter {n!r}" for n in ("0.weight", "0.bias", "2.weight", "2.bias"))]
    assert result.elements == 6 + 6 + 2 + 2 + 2
    assert double_gradcheck(net, [X * X]).error < 1e-6
    for name in ("0.weight", "2.bias"):
        np.testing.assert_array_equal(net.state_dict()[name], before[name])
    assert all(p.requires_grad and p.grad is None for p in net.parameters())

    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(np.array([0.3]))

        def forward(self, x):
            return (Half()(self.slope) * x).sum()

    with pytest.raises(GradientError, match=r"parameter 'slope' is wrong"):
        gradcheck(Wrong(), [X])
    with pytest.raises(DtypeError, match=r"'0.weight' must be float64(.|\n)*\.to\(numpy\.f"):
        gradcheck(nn.Sequential(nn.Linear(3, 2)), [X])


def test_a_result_prints_as_a_table_of_what_was_compared():
    lines = str(gradcheck(lambda x, y: (x * y).sum(), [X, np.full((1, 3), 2.0)])).splitlines()
    assert lines[0].split() == ["shape", "worst", "at", "by", "the", "graph", "by",
                                "differences", "off", "by"]
    assert lines[1].startswith("input 0  (2, 3)  (") and " 2 " in lines[1]
    assert lines[2].startswith("input 1  (1, 3)  (0, ")
    assert lines[3].startswith("9 derivatives compared; off by ")
    assert str(gradcheck(F.exp, [np.zeros((0, 2))])).splitlines()[1].split()[4] == "-"


def test_wrong_adjoint_is_caught():
    adjoint_check(lambda x: x[:, 1:], lambda y: np.pad(y, [(0, 0), (1, 0)]), shape=(2, 3))
    with pytest.raises(GradientError, match="not each other's adjoint"):
        adjoint_check(lambda x: x[:, 1:], lambda y: np.pad(y, [(0, 0), (0, 1)]), shape=(2, 3))
    with pytest.raises(GradientError, match="another shape"):
        adjoint_check(lambda x: x[:, 1:], lambda y: y, shape=(2, 3))


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_adjoints_and_corners_are_compared_relative_to_their_size(size):
    a = np.random.default_rng(0).standard_normal((40, 30)) * size
    assert adjoint_check(lambda x: a @ x, lambda y: a.T @ y, shape=(30,)) < 1e-12
    with pytest.raises(GradientError):
        adjoint_check(lambda x: a @ x, lambda y: a.T @ y * 1.001, shape=(30,))

    class Crooked(Matmul):
        def corner_w(self, x, y):
            return 1.001 * super().corner_w(x, y)

    arrays = [a, a[:5].T, a @ a[:5].T]
    assert form_check(Matmul((40, 30), (30, 5)), arrays) < 1e-12
    with pytest.raises(GradientError):
        form_check(Crooked((40, 30), (30, 5)), arrays)


def test_wrong_corner_is_caught():
    class Crooked(Matmul):
        def corner_w(self, x, y):
            return 2 * super().corner_w(x, y)

    arrays = [np.ones((2, 3)), np.ones((3, 4)), np.ones((2, 4))]
    assert form_check(Matmul((2, 3), (3, 4)), arrays) < 1e-12
    with pytest.raises(GradientError, match="corner w"):
        form_check(Crooked((2, 3), (3, 4)), arrays)


@pytest.mark.parametrize("letter", ["x", "w", "y"])
def test_corner_that_is_nan_or_has_another_shape_is_caught(letter):
    arrays = [np.ones((2, 3)), np.ones((3, 4)), np.ones((2, 4))]
    form = Matmul((2, 3), (3, 4))
    right = getattr(form, f"corner_{letter}")
    setattr(form, f"corner_{letter}", lambda a, b: right(a, b) * np.nan)
    with pytest.raises(GradientError, match="disagree"):
        form_check(form, arrays)
    setattr(form, f"corner_{letter}", lambda a, b: right(a, b)[:1])
    with pytest.raises(GradientError, match=f"corner {letter} .* wrong shape"):
        form_check(form, arrays)


def test_command_prints_a_row_per_op_and_the_total(capsys):
    assert main(["check", "--op", "exp", "--op", "matmul"]) == 0
    printed = capsys.readouterr().out
    assert "order 2 float32" in printed and "2 ops, 6 samples" in printed


def test_command_answers_in_json(capsys):
    assert main(["check", "--op", "exp", "--order", "1", "--dtype", "float64", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["worst"]["exp"]["order 1 float64"] < 1e-8 and answer["failures"] == []


def test_command_fails_when_a_derivative_is_wrong(capsys, monkeypatch):
    broken = Sample("sine", "", lambda F, x: WrongSine()(x), [(2, 3)])
    monkeypatch.setattr(check_command, "all_samples", lambda: [broken])
    assert main(["check"]) == 1
    assert "WRONG" in capsys.readouterr().out


class Broken(Op):
    """Its vjp does not even run."""

    def forward(self, x):
        return 2 * x

    def vjp_x(self, grad):
        raise IndexError("tuple index out of range")


def test_command_goes_on_after_an_op_that_raises(capsys, monkeypatch):
    samples = [Sample("broken", "", lambda F, x: Broken()(x), [(2, 3)]),
               Sample("exp", "", lambda F, x: F.exp(x), [(2, 3)])]
    monkeypatch.setattr(check_command, "all_samples", lambda: samples)
    assert main(["check", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert set(answer["worst"]["broken"].values()) == {None}
    assert all(error < 1e-6 for error in answer["worst"]["exp"].values())
    assert "broken, order 1, float64: IndexError" in answer["failures"][0]


def test_command_leaves_out_orders_that_a_sample_lacks(capsys, monkeypatch):
    once = Sample("cube", "", lambda F, x: ForgetfulCube()(x), [(2, 3)], orders=1)
    monkeypatch.setattr(check_command, "all_samples", lambda: [once])
    assert main(["check"]) == 0
    assert "1 samples, 12 derivatives" in capsys.readouterr().out


def test_unknown_op_on_the_command_line_is_asked_wrongly(capsys):
    assert main(["check", "--op", "conv3d"]) == 2
    assert "conv2d" in capsys.readouterr().err


def test_command_names_near_ops():
    with pytest.raises(ArgumentError, match="conv2d"):
        check_command.chosen([Sample("conv2d", "", lambda F, x: x, [(1,)])], ["conv3d"])
