"""The checkers catch what is wrong: each is given something deliberately broken."""

from __future__ import annotations

import json

import numpy as np
import pytest

import minidl.functional as F
from minidl import check_command
from minidl.__main__ import main
from minidl.autograd import Op
from minidl.check import adjoint_check, double_gradcheck, form_check, gradcheck
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


def test_wrong_adjoint_is_caught():
    adjoint_check(lambda x: x[:, 1:], lambda y: np.pad(y, [(0, 0), (1, 0)]), shape=(2, 3))
    with pytest.raises(GradientError, match="not each other's adjoint"):
        adjoint_check(lambda x: x[:, 1:], lambda y: np.pad(y, [(0, 0), (0, 1)]), shape=(2, 3))
    with pytest.raises(GradientError, match="another shape"):
        adjoint_check(lambda x: x[:, 1:], lambda y: y, shape=(2, 3))


def test_wrong_corner_is_caught():
    class Crooked(Matmul):
        def corner_w(self, x, y):
            return 2 * super().corner_w(x, y)

    arrays = [np.ones((2, 3)), np.ones((3, 4)), np.ones((2, 4))]
    assert form_check(Matmul((2, 3), (3, 4)), arrays) < 1e-12
    with pytest.raises(GradientError, match="corner w"):
        form_check(Crooked((2, 3), (3, 4)), arrays)


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


def test_command_names_near_ops():
    with pytest.raises(ArgumentError, match="conv2d"):
        check_command.chosen([Sample("conv2d", "", lambda F, x: x, [(1,)])], ["conv3d"])
