"""What grad and backward mean."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.errors import DtypeError, GradientError, ShapeError


def leaf(*values: float) -> minidl.Tensor:
    return minidl.tensor(np.array(values), requires_grad=True)


def test_backward_adds_to_the_gradient_that_is_there():
    x = leaf(2.0)
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad.item() == 8.0


def test_grad_leaves_the_leaves_alone():
    x = leaf(2.0)
    (g,) = minidl.grad((x * x).sum(), x)
    assert g.item() == 4.0 and x.grad is None and not g.requires_grad


def test_derivatives_of_every_order_of_a_cube():
    x = leaf(2.0)
    y = x**3
    for expected in (12.0, 12.0, 6.0):
        (y,) = minidl.grad(y.sum(), x, create_graph=True)
        assert y.item() == expected


def test_a_tensor_used_twice_gets_both_gradients():
    x = leaf(3.0)
    y = x * 2
    (y * y + y).sum().backward()
    assert x.grad.item() == 2 * (2 * 6 + 1)


def test_grad_outputs_weigh_the_elements():
    x = leaf(1.0, 2.0)
    (g,) = minidl.grad(x * x, x, minidl.tensor(np.array([1.0, 10.0])))
    np.testing.assert_array_equal(g.data, [2.0, 40.0])


def test_gradient_of_an_inner_tensor_can_be_asked_for():
    x = leaf(3.0)
    y = x * 2
    (g,) = minidl.grad((y * y).sum(), y)
    assert g.item() == 12.0


def test_no_grad_leaves_no_graph_and_enable_grad_brings_it_back():
    x = leaf(1.0)
    with minidl.no_grad():
        assert not (x * 2).requires_grad
        with minidl.enable_grad():
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_detach_cuts_the_graph_and_shares_the_array():
    x = leaf(1.0)
    y = (x * 2).detach()
    assert not y.requires_grad and y.detach().data is y.data


def test_hooks_see_and_replace_gradients_until_removed():
    x = leaf(1.0)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    doubling = y.register_hook(lambda g: g * 2)
    (y * 3).sum().backward()
    assert seen == [3.0] and x.grad.item() == 12.0
    doubling.remove()
    doubling.remove()
    x.grad = None
    (y * 3).sum().backward()
    assert x.grad.item() == 6.0


def test_retained_gradient_of_an_inner_tensor():
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.item() == 4.0


def test_a_graph_of_100000_ops_needs_no_deep_stack():
    x = leaf(0.0)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.item() == 1.0 and y.item() == 100_000


def test_graphs_have_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0)
        y = F.sigmoid(x) * F.exp(x)
        (g,) = minidl.grad(y.sum(), x, create_graph=True)
        g.sum().backward()
        dead = weakref.ref(y.node), weakref.ref(g.node), weakref.ref(x)
        del x, y, g
        assert all(r() is None for r in dead)
    finally:
        gc.enable()


def test_linear_ops_keep_no_arrays_alive():
    x = leaf(1.0, 2.0)
    big = x * 2
    array = weakref.ref(big.data)
    total = big.reshape(2, 1).sum()
    del big
    assert array() is None
    total.backward()
    np.testing.assert_array_equal(x.grad.data, [2.0, 2.0])


def test_numbers_do_not_change_the_dtype():
    x = minidl.tensor(np.ones(2, np.float32), requires_grad=True)
    y = np.float64(0.5) * x * 2.0 + 1
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32


def test_mixed_dtypes_promote_and_gradients_come_back_in_their_own():
    x = minidl.tensor(np.ones(2, np.float32), requires_grad=True)
    y = leaf(1.0, 2.0)
    product = x * y
    assert product.dtype == np.float64
    product.sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)


def test_gradients_pass_through_astype_in_the_dtype_of_each_side():
    x = minidl.tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    y = x.astype(np.float64)
    assert y.dtype == np.float64
    (g,) = minidl.grad((y * y).sum(), x, create_graph=True)
    assert g.dtype == np.float32
    np.testing.assert_array_equal(g.data, [2.0, 4.0])
    np.testing.assert_array_equal(minidl.grad(g.sum(), x)[0].data, [2.0, 2.0])


def test_weights_of_an_output_are_taken_in_its_dtype():
    x = minidl.tensor(np.ones(2, np.float32), requires_grad=True)
    y = x * 2
    (g,) = minidl.grad(y, y, np.ones(2))
    assert g.dtype == np.float32


def test_python_floats_become_float32_and_arrays_keep_their_dtype():
    assert minidl.tensor([1.5]).dtype == np.float32
    assert minidl.tensor(np.array([1.5])).dtype == np.float64
    assert minidl.tensor([1]).dtype == np.int64


@pytest.mark.parametrize(
    ("action", "error", "what"),
    [
        (lambda x: minidl.grad(minidl.ones(1).sum(), x), GradientError, "depend on anything"),
        (lambda x: minidl.grad((x * x), x), GradientError, "not one"),
        (lambda x: minidl.grad(x.sum(), minidl.ones(1)), GradientError, "input 0"),
        (lambda x: minidl.grad(x.sum(), leaf(1.0)), GradientError, "no output depends"),
        (lambda x: minidl.grad(x * x, x, minidl.ones(5)), ShapeError, "shape"),
        (lambda x: minidl.grad([x.sum()], x, [None, None]), GradientError, "2 grad_outputs"),
        (lambda x: minidl.tensor([1], requires_grad=True), DtypeError, "int64"),
        (lambda x: minidl.tensor(["a"]), DtypeError, "numbers"),
        (lambda x: (x * 2).requires_grad_(), GradientError, "leaf"),
        (lambda x: x.numpy(), GradientError, "detach"),
    ],
)
def test_errors_say_what_is_wrong(action, error, what):
    with pytest.raises(error, match=what):
        action(leaf(1.0, 2.0))


def test_unused_inputs_may_be_allowed():
    x, y = leaf(1.0), leaf(1.0)
    assert minidl.grad(x.sum(), (x, y), allow_unused=True)[1] is None


def test_backward_twice_gives_the_same():
    """The graph is not freed: there is no retain_graph."""
    x = leaf(2.0)
    y = (x**3).sum()
    assert minidl.grad(y, x)[0].item() == minidl.grad(y, x)[0].item() == 12.0


def test_iterating_a_tensor_gives_its_rows():
    assert [row.item() for row in leaf(1.0, 2.0)] == [1.0, 2.0]
