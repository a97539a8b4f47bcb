"""Jacobians, Hessians and their products, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import hessian, hvp, jacobian, jvp, vjp
from minidl.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
A, X, V = RNG.standard_normal((3, 4)), RNG.standard_normal(4), RNG.standard_normal(4)
U = RNG.standard_normal(3)


def curved(x):
    """sin(A x) squared, (4,) -> (3,)."""
    return F.sin(A @ x) ** 2


SLOPES = np.sin(2 * A @ X)[:, None] * A
BENDS = A.T @ (2 * np.cos(2 * A @ X)[:, None] * A)


def test_jacobian_of_a_vector():
    np.testing.assert_allclose(jacobian(curved, X).data, SLOPES, rtol=1e-12)


def test_jacobian_has_the_axes_of_the_output_and_then_of_the_input():
    W, B = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 5))
    by_w, by_b = jacobian(F.matmul, (W, B))
    np.testing.assert_allclose(by_w.data, np.einsum("ik,lj->ijkl", np.eye(2), B))
    np.testing.assert_allclose(by_b.data, np.einsum("il,jk->ijlk", W, np.eye(5)))


def test_hessian_is_the_jacobian_of_the_gradient():
    np.testing.assert_allclose(hessian(lambda x: curved(x).sum(), X).data, BENDS, rtol=1e-12)


def test_hessian_of_two_inputs_has_four_blocks():
    blocks = hessian(lambda x, y: (x * x * y).sum(), (X, V))
    np.testing.assert_allclose(blocks[0][0].data, np.diag(2 * V))
    np.testing.assert_allclose(blocks[0][1].data, np.diag(2 * X))
    np.testing.assert_allclose(blocks[1][0].data, np.diag(2 * X))
    np.testing.assert_allclose(blocks[1][1].data, 0)


def test_products_with_vectors():
    y, back = vjp(curved, X, U)
    np.testing.assert_allclose(y.data, np.sin(A @ X) ** 2)
    np.testing.assert_allclose(back.data, U @ SLOPES, rtol=1e-12)
    np.testing.assert_allclose(jvp(curved, X, V)[1].data, SLOPES @ V, rtol=1e-12)
    value, bent = hvp(lambda x: curved(x).sum(), X, V)
    np.testing.assert_allclose(value.item(), (np.sin(A @ X) ** 2).sum())
    np.testing.assert_allclose(bent.data, BENDS @ V, rtol=1e-12)


def test_third_derivatives_by_differentiating_a_hessian():
    x = minidl.tensor(X, requires_grad=True)
    (third,) = minidl.grad(hessian(lambda x: (x**4).sum(), x, create_graph=True).sum(), x)
    np.testing.assert_allclose(third.data, 24 * X, rtol=1e-12)


def test_through_a_convolution():
    w = RNG.standard_normal((2, 1, 3, 3))
    x, v = (RNG.standard_normal((1, 1, 5, 5)) for _ in "xv")
    _, moved = jvp(lambda x: F.conv2d(x, w), x, v)
    np.testing.assert_allclose(moved.data, F.conv2d(v, w).data, rtol=1e-12)


def test_what_does_not_depend_on_an_input_is_zero():
    assert (jacobian(lambda x, y: x * 2, (X, V))[1].data == 0).all()
    assert (hessian(lambda x: x.sum(), X).data == 0).all()


def test_inputs_of_the_caller_are_left_alone():
    x = minidl.tensor(X, requires_grad=True)
    jacobian(curved, x)
    hvp(lambda x: curved(x).sum(), x, V)
    assert x.grad is None


def test_refusals_say_what_is_wrong():
    with pytest.raises(ShapeError, match="one number"):
        hessian(curved, X)
    with pytest.raises(ArgumentError, match="return a Tensor"):
        jacobian(lambda x: (x, x), X)
    with pytest.raises(ShapeError, match="shapes of the inputs"):
        jvp(curved, X, U)
    with pytest.raises(ArgumentError, match="left out"):
        jvp(curved, X)
