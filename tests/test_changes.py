"""What the graph kept must not change before it is used: the walk back refuses, and says why."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn, optim
from minidl.compute import changes
from minidl.errors import ArgumentError, GradientError
from minidl.nn import init

T = minidl.tensor


def two_layers() -> tuple[nn.Linear, nn.Linear, minidl.Tensor]:
    g, d = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    init.constant_(g.weight, 2)
    init.constant_(d.weight, 3)
    return g, d, d(g(T([[1.0]])))


def test_right_order_of_steps_gives_the_right_gradient():
    g, _, s = two_layers()
    s.backward()
    g.zero_grad()
    (-s).backward()
    assert g.weight.grad.item() == -3


CHANGES = {
    "SGD.step": lambda d: optim.SGD(d.parameters(), lr=1).step(),
    "Adam.step": lambda d: optim.Adam(d.parameters()).step(),
    "load_state_dict": lambda d: d.load_state_dict(d.state_dict()),
    "an initialiser": lambda d: init.normal_(d.weight),
}


@pytest.mark.parametrize("by", CHANGES)
def test_a_weight_that_was_changed_in_between_is_an_error(by):
    _, d, s = two_layers()
    s.backward()
    CHANGES[by](d)
    with pytest.raises(GradientError, match=by) as caught:
        (-s).backward()
    assert "Linear" in str(caught.value) and "clone" in str(caught.value)


def test_views_of_a_changed_array_have_changed():
    x = T(np.ones((2, 3)), requires_grad=True)
    y = (x.T * x.T).sum()
    with minidl.no_grad():
        x *= 2
    with pytest.raises(GradientError, match=r"\*="):
        y.backward()


def test_a_change_before_and_a_change_of_something_else_are_none():
    g, d, _ = two_layers()
    CHANGES["SGD.step"](d)
    s = d(g(T([[1.0]])))
    other = nn.Linear(2, 2)
    CHANGES["an initialiser"](other)
    s.backward()
    assert g.weight.grad.item() == 3


def test_a_clone_is_safe():
    x = T([1.0, 2.0], requires_grad=True)
    y = (x.clone() * 2).exp().sum()
    with minidl.no_grad():
        x += 1
    y.backward()
    np.testing.assert_allclose(x.grad.data, 2 * np.exp([2, 4]), rtol=1e-6)


def test_few_changes_are_remembered(monkeypatch):
    monkeypatch.setattr(changes, "MOST", 10)
    monkeypatch.setattr(changes, "_last", {})
    kept = [np.ones(1) for _ in range(40)]
    for array in kept:
        changes.changed(array, "a test")
    assert len(changes._last) <= 11
    assert changes.changed_since(kept[-1], changes.clock[0] - 1) == "a test"


# --- places: index arrays that an op holds ---


def pooled(x: minidl.Tensor) -> tuple[minidl.Tensor, minidl.Tensor]:
    return F.max_pool2d(x, 2, return_indices=True)


HOLDERS = {
    "x[i]": ((4,), lambda x, i: x[i]),
    "x[i, :]": ((4, 2), lambda x, i: x[i, :]),
    "take": ((4, 2), lambda x, i: F.take(x, i, 0)),
    "embedding": ((4, 2), lambda x, i: F.embedding(i, x)),
    "take_along_axis": ((4,), lambda x, i: F.take_along_axis(x, i, 0)),
    "unpool": ((1, 1, 1, 3), lambda x, i: F.max_unpool2d(x, i.reshape(1, 1, 1, 3), 2)),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_an_index_tensor_that_was_changed_in_between_is_an_error(name):
    shape, read = HOLDERS[name]
    x, i = T(np.arange(np.prod(shape) * 1.0).reshape(shape), requires_grad=True), T([0, 1, 3])
    y = (read(x, i) * 2).sum()
    (right,) = minidl.grad(y, x)
    i += 0
    with pytest.raises(GradientError, match=r"an array of places.*\n.*\(.*3.*changed.*\+="):
        y.backward()
    i -= 1  # a graph that is made after a change goes by what it finds
    i += 1
    read(x, i).sum().backward()
    assert (2 * x.grad.data == right.data).all()


@pytest.mark.parametrize(
    "both", [pooled, lambda x: x.max(-1)], ids=["max_pool2d", "max"]
)
def test_places_that_an_op_returned_are_not_changed_under_it(both):
    x = T(np.arange(16.0).reshape(1, 1, 4, 4), requires_grad=True)
    y, places = both(x)
    places += 1
    with pytest.raises(GradientError, match="an array of places"):
        y.sum().backward()


def test_a_second_derivative_minds_the_places_too():
    x, i = T([1.0, 2.0, 3.0], requires_grad=True), T([0, 2])
    (slope,) = minidl.grad((x[i] ** 3).sum(), x, create_graph=True)
    i += 0
    with pytest.raises(GradientError, match="an array of places"):
        slope.sum().backward()


def test_numpys_places_are_copied_for_the_graph_as_in_pytorch():
    x, places, mask = T([1.0, 2.0, 3.0], requires_grad=True), np.array([0, 2]), np.ones(3, bool)
    y, z = x[places].sum(), x[mask].sum()
    places += 1
    mask[:] = False
    y.backward()
    assert x.grad.tolist() == [1, 0, 1]
    z.backward()
    assert x.grad.tolist() == [2, 1, 2]


# --- p.data = another array ---


def test_a_parameter_takes_a_tensor_as_its_data_as_in_pytorch():
    layer = nn.Linear(2, 1, bias=False)
    x = T([[1.0, 2.0]])
    before = (layer.weight * layer.weight).sum()
    old, other = layer.weight.data.copy(), T([[3.0, 4.0]])
    layer.weight.data = other
    assert type(layer.weight.data) is np.ndarray and layer.weight.data is other.data
    assert layer(x).item() == 11 and "3., 4." in repr(layer.weight)
    before.backward()  # what the graph kept is the array of before
    np.testing.assert_allclose(layer.weight.grad.data, 2 * old)
    layer.weight.grad = None
    layer.weight.data = np.ones((1, 3))  # of another shape and dtype
    layer(T(np.ones((1, 3)))).sum().backward()
    assert (layer.weight.grad.shape, layer.weight.grad.dtype) == ((1, 3), np.float64)


def test_a_parameters_data_are_an_array_and_floats():
    p = nn.Parameter([1.0, 2.0])
    for wrong in ([1.0, 2.0], 3.0, None):
        with pytest.raises(minidl.errors.ArgumentError, match=type(wrong).__name__):
            p.data = wrong
    with pytest.raises(minidl.errors.DtypeError, match="int64 has no gradient"):
        p.data = T([1, 2])
    assert p.tolist() == [1, 2]
    frozen = nn.Parameter([1.0], requires_grad=False)
    frozen.data = T([1, 2])
    assert frozen.tolist() == [1, 2]


# --- in place ---


def test_in_place_outside_the_graph_changes_the_array_itself():
    p = T([1.0, 2.0], requires_grad=True)
    same = p
    (p * p).sum().backward()
    with minidl.no_grad():
        p -= 0.1 * p.grad
    assert same is p and p.requires_grad
    np.testing.assert_allclose(p.detach().numpy(), [0.8, 1.6])
    whole = T([1, 2])
    whole *= 3
    assert (whole.tolist(), whole.dtype) == ([3, 6], np.int64)


def test_in_place_on_a_leaf_inside_the_graph_says_what_to_write():
    p = T([1.0], requires_grad=True)
    with pytest.raises(GradientError, match="no_grad"):
        p += 1


def test_in_place_inside_the_graph_keeps_the_derivative():
    x, total = T([1.0, 2.0], requires_grad=True), T(0.0)
    total += (x * x).sum()
    y = x * 3
    y += total
    y.sum().backward()
    assert x.grad.tolist() == [3 + 4, 3 + 8]


def test_in_place_refuses_a_result_that_does_not_fit():
    x = T([1, 2])
    with pytest.raises(minidl.errors.ShapeError, match="float32"):
        x += 1.5
    assert x.tolist() == [1, 2]


# --- at borders, and where nothing counts ---


@pytest.mark.parametrize(
    "mode, low, high", [("border", 0, 1), ("reflection", -1, 1), ("zeros", -2, 1)]
)
@pytest.mark.parametrize("axis", [0, 1])
def test_the_slope_on_the_border_lies_between_those_beside_it(mode, low, high, axis):
    image = np.array([0.0, 1.0, 2.0]).reshape((1, 1, 1, 3) if axis == 0 else (1, 1, 3, 1))
    grid = np.zeros((1, 1, 1, 2))
    grid[..., axis] = 1
    point = T(grid, requires_grad=True)
    F.grid_sample(image, point, padding_mode=mode, align_corners=True).sum().backward()
    assert low <= point.grad.data[0, 0, 0, axis] <= high
    assert point.grad.data[0, 0, 0, 1 - axis] == 0 or mode == "zeros"


def test_where_every_target_is_ignored_no_step_is_taken():
    w = T(np.ones((3, 2)), requires_grad=True)
    loss = F.cross_entropy(T(np.ones((4, 3))) @ w, np.full(4, -100))
    loss.backward()
    assert np.isnan(loss.item()) and (w.grad.data == 0).all()


def test_losses_at_infinity_and_at_certainty_are_pytorchs():
    with np.errstate(all="raise"):
        assert np.isnan(F.log_softmax(T([[np.inf, 0.0, 1.0]]), 1).data).all()
        assert np.isnan(F.cross_entropy(T([[np.inf, 0.0]]), np.array([1])).item())
        certain = F.binary_cross_entropy(T([0.0, 1.0]), T([1.0, 0.0]), reduction="none")
    assert certain.tolist() == [100, 100]


def test_unpooling_puts_and_does_not_add():
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 7))
    y, index = F.max_pool2d(x, 3, 2, return_indices=True)
    back = F.max_unpool2d(y, index, 3, 2).data
    assert np.isin(back[back != 0], x).all()


@pytest.mark.parametrize("code", ["default", "reference", "emulated"])
def test_of_values_put_to_one_place_the_last_stays_and_has_the_gradient(code):
    x = T([[[[1.0, 2.0], [3.0, 4.0]]]], requires_grad=True)
    index = np.array([[[[0, 1], [0, 0]]]])
    with minidl.use_kernels(code):
        y = F.max_unpool2d(x, index, 2)
        (y * T(np.arange(1.0, 17).reshape(1, 1, 4, 4))).sum().backward()
    assert y.data.reshape(-1)[:3].tolist() == [4, 2, 0]
    assert x.grad.data.reshape(-1).tolist() == [0, 2, 0, 1]


def test_phases_without_a_tap_cost_nothing():
    x = T(np.ones((1, 1, 3000, 3000), np.float32), requires_grad=True)
    F.conv2d(x, np.ones((1, 1, 1, 1), np.float32), stride=3000).sum().backward()
    assert (x.grad.data.sum(), x.grad.data[0, 0, 0, 0]) == (1, 1)


@pytest.mark.parametrize("code", ["default", "emulated"])
@pytest.mark.parametrize("channels", [2, 40])
def test_a_phase_may_have_no_pixel(code, channels):
    """An image of one column, of which windows two columns apart see the padding, too."""
    x = T(np.ones((1, 1, 1, channels), np.float32).transpose(0, 3, 1, 2), requires_grad=True)
    weight = np.full((16, channels, 1, 1), 2, np.float32)
    with minidl.use_kernels(code):
        F.conv2d(x, weight, stride=(1, 2), padding=(0, 1), dilation=1).sum().backward()
    assert (x.grad.data == 0).all()


# --- PyTorch's meaning, or an error ---


def test_max_by_place_is_pytorchs_and_by_name_numpys():
    x = T([[1.0, 5.0, 2.0], [7.0, 0.0, 7.0]])
    values, places = x.max(1)
    assert (values.tolist(), places.tolist()) == ([5, 7], [1, 0])
    assert x.min(0)[1].tolist() == [0, 1, 0]
    assert x.max(axis=1).tolist() == [5, 7] and x.max().item() == 7
    assert F.max(x, x + 1).tolist() == (x + 1).tolist()
    with pytest.raises(minidl.errors.ArgumentError, match="axis="):
        x.max((0, 1))


def test_the_second_argument_of_var_is_unbiased():
    x = T([[0.0, 1.0], [2.0, 5.0]])
    assert x.var(0, False).tolist() == [1, 4]
    assert x.var(0).tolist() == x.var(axis=0, correction=1).tolist() == [2, 8]


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda: minidl.full(2, 3), r"full\(\(2,\), 3\)"),
        (lambda: minidl.Tensor([1, 2]), "minidl.tensor"),
        (lambda: minidl.Tensor(2, 3), "minidl.zeros"),
        (lambda: minidl.zeros(3, np.float64), "dtype="),
        (lambda: T([1.0, 2.0]) + T([1.0, 2.0, 3.0]), "axis -1 has sizes 2, 3"),
        (lambda: T(np.ones((2, 3))) * T(np.ones((4, 3))), "axis -2 has sizes 2, 4"),
        (lambda: T([1.0]) + "a", "cannot hold values"),
        (lambda: T([1.0]).sum("x"), "an axis must be an integer"),
    ],
)
def test_what_has_no_clear_meaning_is_refused_with_what_to_write(wrong, hint):
    with pytest.raises(minidl.errors.MinidlError, match=hint):
        wrong()


def test_an_op_that_cannot_be_right_is_refused_where_it_is_written():
    with pytest.raises(minidl.errors.ArgumentError, match="asks for xx"):

        class Misspelt(minidl.Pointwise):
            def forward(self, x):
                return x * x

            def slope_x(self, xx):
                return 2 * xx

    with pytest.raises(GradientError, match="slope_x"):

        class Flat(minidl.Pointwise):
            def forward(self, x):
                return x * x


def test_leaves_are_pickled_and_what_is_in_the_graph_is_not():
    x = T([1.0, 2.0], requires_grad=True)
    copy = pickle.loads(pickle.dumps(x))
    (copy * 2).sum().backward()
    assert (copy.grad.tolist(), x.grad) == ([2, 2], None)
    with pytest.raises(GradientError, match="detach"):
        pickle.dumps(x * 2)


READS = {
    "one input": lambda x: x.exp(),
    "two inputs": lambda x: x + x,
    "a number": lambda x: 2 * x,
    "a product": lambda x: x @ T([[1.0], [2.0]]),
    "a sum": lambda x: x.sum(),
    "relu": lambda x: x.relu(),
    "an element": lambda x: x[0],
    "its values": lambda x: x.numpy(),
    "its print": repr,
    "its device": lambda x: x.device,
    "detached": lambda x: x.detach(),
}


@pytest.mark.parametrize("how", READS)
def test_a_tensor_in_the_place_of_an_array_is_named_when_it_is_first_used(how):
    x = T([[1.0, 2.0]])
    x.data = T([[3.0, 4.0]])
    with pytest.raises(ArgumentError, match=r"(?s)Tensor.*Hint: .*y\.data.*Tensor y"):
        READS[how](x)


def test_an_array_of_a_kind_of_numpys_is_on_the_same_device(tmp_path):
    mapped = np.memmap(tmp_path / "numbers", np.float32, "w+", shape=(2,))
    mapped[:] = 3
    assert (T([1.0, 2.0]) * minidl.as_tensor(mapped)).tolist() == [3, 6]


@pytest.mark.parametrize("device", ["cuda:", "cuda:-1", "mps", "gpu"])
def test_unknown_devices_are_refused_by_name(device):
    with pytest.raises(minidl.errors.DeviceError, match='the devices are "cpu" and "cuda"'):
        T([1.0]).to(device)


def test_shapes_are_given_in_one_piece_or_number_by_number():
    assert minidl.zeros(2, 3).shape == minidl.ones((2, 3)).shape == minidl.randn((2, 3)).shape
    assert minidl.zeros((2,), np.float64).dtype == np.float64
