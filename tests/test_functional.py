"""Edges of single functions that the laws do not reach."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.errors import ArgumentError, DtypeError, ShapeError

X = np.random.default_rng(0).standard_normal((2, 3, 6, 6))


def slope(function, x: np.ndarray) -> np.ndarray:
    t = minidl.tensor(x, requires_grad=True)
    (g,) = minidl.grad(function(t).sum(), t)
    return g.data


def test_deviation_of_equal_numbers_has_gradient_zero():
    np.testing.assert_array_equal(slope(lambda x: F.std(x, 1), np.ones((2, 3))), 0)


def test_cross_entropy_of_certain_answers_is_large_and_still_pulls():
    p = np.array([0.0, 1.0, 0.0, 1.0])
    target = np.array([1.0, 0.0, 0.0, 1.0])
    loss = F.binary_cross_entropy(p, target, reduction="none").data
    np.testing.assert_allclose(loss, [100, 100, 0, 0], atol=1e-9)
    g = slope(lambda x: F.binary_cross_entropy(x, target, reduction="sum"), p)
    assert g[0] < -1e10 and g[1] > 1e10 and g[2] == g[3] == 0


@pytest.mark.parametrize("logit", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_likelihood_of_extreme_logits_is_exact(logit):
    for x in (0.0, 1.0):
        exact = -max(0.0, logit if x == 0 else -logit) - math.log1p(math.exp(-abs(logit)))
        value = F.bernoulli_log_likelihood(np.array([x]), np.array([logit])).item()
        assert value == pytest.approx(exact, rel=1e-12, abs=1e-300)


def test_activations_survive_extreme_inputs():
    x = np.array([-1e4, 1e4])
    for f in (F.sigmoid, F.softplus, F.logsigmoid, F.elu, F.gelu, F.tanh, F.relu):
        assert np.isfinite(f(x).data).all() and np.isfinite(slope(f, x)).all()


def test_erf_is_exact_as_far_as_it_differs_from_one():
    x = np.linspace(-8, 8, 641)
    np.testing.assert_allclose(F.erf(x).data, [math.erf(v) for v in x], rtol=0, atol=1e-14)


def test_running_statistics_move_towards_the_batchs():
    mean, var = minidl.zeros(3, dtype=np.float64), minidl.ones(3, dtype=np.float64)
    F.batch_norm(X, mean, var, training=True, momentum=0.25)
    np.testing.assert_allclose(mean.data, 0.25 * X.mean((0, 2, 3)))
    np.testing.assert_allclose(var.data, 0.75 + 0.25 * X.var((0, 2, 3), ddof=1))


def test_running_statistics_may_be_arrays():
    y = F.batch_norm(X, np.full(3, 2.0), np.full(3, 4.0), eps=0.0)
    np.testing.assert_allclose(y.data, (X - 2) / 2)


def test_dropout_keeps_the_mean_and_drops_the_share():
    x = np.ones((100, 200))
    y = F.dropout(x, 0.3).data
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert y.mean() == pytest.approx(1.0, abs=0.01)
    half = F.dropout(x).data
    assert set(np.unique(half)) == {0, 2} and half.mean() == pytest.approx(1.0, abs=0.02)
    assert (F.dropout(x, 1.0).data == 0).all()
    assert F.dropout(x, 0.3, training=False).data is x


def test_dropout2d_drops_whole_channels():
    y = F.dropout2d(np.ones((50, 40, 2, 3)), 0.5).data
    assert set(np.unique(y.sum((2, 3)))) == {0.0, 12.0}


def test_padding_row_of_an_embedding_receives_no_gradient():
    weight = minidl.tensor(np.ones((4, 2)), requires_grad=True)
    F.embedding(np.array([1, 3, 3]), weight, padding_idx=3).sum().backward()
    np.testing.assert_array_equal(weight.grad.data[:, 0], [0, 1, 0, 0])


def test_the_padding_row_may_be_counted_from_the_end():
    weight = np.arange(6.0).reshape(3, 2)
    for row in (-3, -1):
        g = slope(lambda w, row=row: F.embedding(np.arange(3), w, padding_idx=row), weight)
        np.testing.assert_array_equal(g.sum(1), [0 if k == row % 3 else 2 for k in range(3)])
    for row in (-4, 3):
        with pytest.raises(ArgumentError, match="padding_idx"):
            F.embedding(np.arange(3), weight, padding_idx=row)


def test_vectors_of_no_length_are_divided_by_a_millionth_of_a_millionth():
    x = np.array([[3e-14, 4e-14], [0.0, 0.0]])
    np.testing.assert_allclose(F.normalize(x).data, x / 1e-12)


def test_one_hot_marks_the_index():
    np.testing.assert_array_equal(F.one_hot(np.array([2, 0])).data, [[0, 0, 1], [1, 0, 0]])
    assert F.one_hot(np.array([1]), 5).shape == (1, 5)


def test_casting_brings_gradients_back_in_the_first_dtype():
    x = minidl.tensor(np.ones(2, np.float32), requires_grad=True)
    y = x.astype(np.float64) * 2
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float32


def test_a_gpu_that_is_not_there_is_explained():
    try:
        minidl.ones(1).to("cuda")
    except minidl.errors.DeviceError as error:
        assert "minidl doctor" in str(error)
    with pytest.raises(minidl.errors.DeviceError, match="no device 'tpu'"):
        minidl.ones(1, device="tpu")


def test_pooling_and_unpooling_give_the_maxima_back_at_their_places():
    y, indices = F.max_pool2d(X, 2, return_indices=True)
    back = F.max_unpool2d(y, indices, 2).data
    assert back.shape == X.shape
    kept = back != 0
    np.testing.assert_array_equal(back[kept], X[kept])
    assert kept.sum() == y.size


def test_a_tap_that_lies_outside_under_every_window_is_not_looked_at():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    pooled = F.max_pool2d(x, 4, stride=2, padding=2, dilation=2).data
    np.testing.assert_array_equal(pooled[..., 0, 0], x[..., ::2, ::2].max((2, 3)))


def test_of_values_put_to_one_place_the_last_alone_has_a_gradient():
    places = np.array([[[[3, 3], [0, 3]]]])
    x = np.random.default_rng(0).standard_normal((1, 1, 2, 2))
    image = F.max_unpool2d(x, places, 2).data.ravel()
    assert image[3] == x[0, 0, 1, 1] and image[0] == x[0, 0, 1, 0] and np.count_nonzero(image) == 2
    assert slope(lambda x: F.max_unpool2d(x, places, 2), x).tolist() == [[[[0, 0], [1, 1]]]]


@pytest.mark.parametrize("axis", [None, 0, -1, (0,)])
def test_a_number_is_reduced_along_the_axis_that_it_would_have(axis):
    number = np.array(3.0)
    for keepdims in (False, True):
        for function in (F.sum, F.mean, F.logsumexp):
            found = function(number, axis, keepdims)
            assert found.shape == () and found.item() == pytest.approx(3.0, abs=1e-15)
            assert slope(lambda x, f=function: f(x, axis), number) == 1.0
    assert F.squeeze(number, axis).item() == 3.0
    for extreme in (F.max, F.min):
        assert extreme(number, axis=axis).item() == 3.0
        assert slope(lambda x, f=extreme: f(x, axis=axis), number) == 1.0


def test_a_number_alone_has_all_the_probability():
    assert F.softmax(np.array(3.0), 0).item() == 1.0
    assert F.log_softmax(np.array(3.0), -1).item() == 0.0
    assert [part.item() for part in F.max(np.array(3.0), 0)] == [3.0, 0]


def test_rows_of_softmax_know_nothing_of_each_other():
    x = np.array([[0.0, 1.0], [2000.0, 2001.0]])
    share = 1 / (1 + math.exp(-1))
    np.testing.assert_allclose(F.softmax(x, 1).data, [[1 - share, share]] * 2, rtol=1e-12)
    np.testing.assert_allclose(F.log_softmax(x, 1).data[:, 1], np.log(share), rtol=1e-12)


def test_softmax_and_sums_convert_first_if_a_dtype_is_given():
    x = minidl.tensor([[60000.0, 60000.0]], dtype=np.float16)
    assert F.sum(x, 1, dtype=np.float32).tolist() == [120000.0]
    assert F.mean(minidl.tensor([1, 2]), dtype=np.float64).dtype == np.float64
    for function in (F.softmax, F.log_softmax):
        assert function(x, 1, dtype=np.float64).dtype == np.float64


def test_a_bool_in_the_place_of_an_axis_says_whether_a_variance_is_unbiased():
    assert F.var(X, False).item() == pytest.approx(X.var())
    assert F.std(X, True).item() == pytest.approx(X.std(ddof=1))


def test_norms_of_no_images_are_none_and_so_are_their_derivatives():
    for norm in (lambda x: F.group_norm(x, 2), lambda x: F.layer_norm(x, 4)):
        x = minidl.tensor(np.zeros((0, 4)), requires_grad=True)
        (g,) = minidl.grad(norm(x), x, minidl.zeros_like(x), create_graph=True)
        (h,) = minidl.grad(g, x, minidl.zeros_like(g))
        assert g.shape == h.shape == x.shape


def test_instance_norm_keeps_the_mean_statistics_of_the_images_and_uses_them():
    mean, var = minidl.zeros(3), minidl.ones(3)
    y = F.instance_norm(X, mean, var, momentum=0.25)
    np.testing.assert_allclose(y.data, F.instance_norm(X).data)
    np.testing.assert_allclose(mean.data, 0.25 * X.mean((2, 3)).mean(0), rtol=1e-6)
    unbiased = X.var((2, 3), ddof=1).mean(0)
    np.testing.assert_allclose(var.data, 0.75 + 0.25 * unbiased, rtol=1e-6)
    known = F.instance_norm(X, mean, var, use_input_stats=False).data
    np.testing.assert_allclose(known, F.batch_norm(X, mean, var).data)


@pytest.mark.parametrize("value", [0.0, 2.0, -0.5, math.inf])
def test_a_frame_has_the_value_that_it_was_given(value):
    expected = np.pad(X, ((0, 0), (0, 0), (0, 3), (1, 2)), constant_values=value)
    np.testing.assert_array_equal(F.pad(X, (1, 2, 0, 3), value=value).data, expected)


@pytest.mark.parametrize("norm", [
    lambda x: F.batch_norm(x, None, None, training=True), F.instance_norm,
    lambda x: F.layer_norm(x, 4), lambda x: F.group_norm(x, 3),
], ids=["batch", "instance", "layer", "group"])
def test_a_hundred_thousandth_is_added_to_variances_unless_told_otherwise(norm):
    x = np.broadcast_to([1e-3, -1e-3, -1e-3, 1e-3], (2, 3, 4))
    np.testing.assert_allclose(norm(x).data, x / math.sqrt(1e-6 + 1e-5), rtol=1e-9)


def test_frobenius_norm_is_the_root_of_the_sum_of_squares():
    x = np.array([[3.0, 0.0], [0.0, -4.0]])
    assert F.norm(x, "fro").item() == F.norm(x).item() == minidl.tensor(x).norm().item() == 5


@pytest.mark.parametrize("widths", [(-6, 7), (7, -6), (-8, 5), (-5, 3)])
def test_an_edge_is_repeated_even_where_all_before_it_is_cropped(widths):
    places = np.arange(-widths[0], 6 + widths[1]).clip(0, 5)
    padded = F.pad(X, widths, mode="replicate")
    np.testing.assert_array_equal(padded.data, X[..., places])
    counted = np.bincount(places, minlength=6)
    np.testing.assert_array_equal(slope(lambda x: F.pad(x, widths, mode="replicate"), X),
                                  np.broadcast_to(counted, X.shape))


def test_a_setting_that_is_numpys_number_leaves_the_dtype_as_it_is():
    x = np.float32([-1.0, 0.5])
    y = F.softplus(x, beta=np.float64(2.0))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.numpy(), np.log1p(np.exp(2 * x)) / 2, rtol=1e-6)


def test_pixels_are_moved_by_a_factor_of_one_and_by_none_below():
    x = np.arange(12.0).reshape(1, 3, 2, 2)
    for move in (F.pixel_shuffle, F.pixel_unshuffle):
        assert (move(x, 1).numpy() == x).all()
        with pytest.raises(ShapeError, match="factor is 0"):
            move(x, 0)


def test_numbers_in_lists_are_as_good_as_arrays():
    assert F.mean([1.0, 3.0]).item() == 2
    assert F.var([1.0, 3.0]).item() == 2
    assert F.max([1.0, 3.0]).item() == 3 and F.min([1.0, 3.0]).item() == 1
    assert F.sum([True, True]).item() == 2
    assert F.cat([[1.0, 2.0], [3.0]]).tolist() == [1, 2, 3]
    assert F.nll_loss([[-1.0, -2.0]], [1]).item() == 2
    assert F.nll_loss([[-1.0, -2.0], [-4.0, 0.0]], [1, 0], [3.0, 1.0]).item() == 14 / 4
    assert F.split([1.0, 2.0], 1)[1].tolist() == [2]
    image, weight = np.ones((1, 1, 1, 1)), np.ones((2, 1, 1, 1))
    assert F.conv2d(image, weight, [1.0, 2.0]).numpy().ravel().tolist() == [2, 3]


def test_an_axis_may_be_cut_into_single_rows_and_not_into_less():
    x = np.arange(6.0).reshape(3, 2)
    assert [piece.tolist() for piece in F.split(x, 1)] == [[[0, 1]], [[2, 3]], [[4, 5]]]
    with pytest.raises(ArgumentError, match="split: size must be an integer, at least 1"):
        F.split(x, 0)


def test_a_number_is_flattened_to_one():
    assert F.flatten(np.array(3.0)).data.tolist() == [3.0]


def test_axes_are_moved_to_their_places_in_whatever_order_they_are_named():
    x = np.zeros((2, 3, 4, 5))
    assert F.moveaxis(x, (0, 1), (3, 0)).shape == (3, 4, 5, 2)
    assert F.moveaxis(x, (3, 0, 1), (1, 2, 0)).shape == (3, 5, 2, 4)


def test_an_empty_list_of_numbers_is_joined_to_anything():
    np.testing.assert_array_equal(F.cat([np.zeros(0), X, np.zeros(0)], 2).data, X)
    assert F.cat([np.zeros(0), np.zeros(0)]).shape == (0,)


def test_taking_without_an_axis_counts_the_elements_in_a_row():
    places = np.array([[0, 7], [-1, 7]])
    np.testing.assert_array_equal(F.take(X, places).data, np.take(X, places))
    counted = np.zeros(X.size)
    np.add.at(counted, places.ravel(), 1)
    np.testing.assert_array_equal(slope(lambda x: F.take(x, places), X).ravel(), counted)


def test_a_setting_in_a_list_of_one_counts_for_both_axes():
    w = np.ones((2, 3, 3, 3))
    np.testing.assert_array_equal(F.conv2d(X, w, stride=[2], padding=[1]).data,
                                  F.conv2d(X, w, stride=2, padding=1).data)


def test_the_largest_none_of_a_number_are_none():
    values, indices = F.topk(np.array(3.0), 0)
    assert values.shape == indices.shape == (0,)


def test_one_image_may_come_without_an_axis_for_the_batch():
    w, bias = np.random.default_rng(1).standard_normal((3, 2, 3, 2)), np.arange(6.0)
    settings = {"stride": (2, 3), "padding": (1, 0), "groups": 3, "dilation": (1, 2)}
    painted = {**settings, "output_padding": (0, 1)}
    for convolve, weight, given in ((F.conv2d, w.reshape(6, 1, 3, 2), settings),
                                    (F.conv_transpose2d, w, painted)):
        alone, batch = (convolve(x, weight, bias, **given).data for x in (X[0], X[:1]))
        assert alone.ndim == 3
        np.testing.assert_array_equal(alone, batch[0])


@pytest.mark.parametrize(("name", "given"), [
    ("conv", (np.ones((4, 3, 2)),)), ("conv_transpose", (np.ones((3, 4, 2)),)),
    ("max_pool", (2,)), ("avg_pool", (2,)),
])
def test_settings_of_rows_are_unless_given_those_of_images(name, given):
    x = X[:, :, 0]
    of_image = tuple((1, g) if isinstance(g, int) else g[:, :, None] for g in given)
    y = getattr(F, f"{name}2d")(x[:, :, None], *of_image)
    np.testing.assert_array_equal(getattr(F, f"{name}1d")(x, *given).data, y.data[:, :, 0])


@pytest.mark.parametrize("dim", [0, -1])
def test_a_number_is_gathered_along_the_axis_that_it_would_have(dim):
    assert F.gather(np.array(3.0), dim, np.array(0)).item() == 3
    with pytest.raises(ArgumentError, match="gather"):
        F.gather(np.array(3.0), 3 * dim + 1, np.array(0))  # 1, -2


@pytest.mark.parametrize("extreme", [F.max, F.min])
def test_the_axis_of_an_extreme_goes_unless_it_is_kept(extreme):
    assert extreme(X, 1).values.shape == extreme(X, 1).indices.shape == (2, 6, 6)
    assert extreme(X, 1, True).values.shape == (2, 1, 6, 6)
    assert extreme(X, axis=1).shape == (2, 6, 6)
    assert extreme(X, axis=1, keepdims=True).shape == (2, 1, 6, 6)


def test_what_is_added_may_be_scaled():
    np.testing.assert_allclose(F.add(X, X, alpha=2).data, 3 * X)
    np.testing.assert_allclose(F.sub(X, 1, alpha=0.5).data, X - 0.5)
    np.testing.assert_allclose(slope(lambda x: F.sub(X, x, alpha=3), X), -3)


def test_quotients_are_rounded_down_or_towards_zero():
    x, y = minidl.tensor([7, -7, 7, -7, 6, 1, -1]), minidl.tensor([2, 2, -2, -2, -3, 2, 2])
    for rounding_mode, expected in (("floor", [3, -4, -4, 3, -2, 0, -1]),
                                    ("trunc", [3, -3, -3, 3, -2, 0, 0])):
        for dtype in (np.int64, np.float32):
            found = F.div(x.astype(dtype), y.astype(dtype), rounding_mode=rounding_mode)
            assert found.tolist() == expected and found.dtype == dtype
    assert F.div(np.array([1.0]), 0.0, rounding_mode="floor").item() == math.inf


def test_powers_of_integers_have_the_dtype_of_a_product():
    whole, truth = minidl.tensor([1, 4]), minidl.tensor([True, False])
    assert (whole**0.5).dtype == (truth**2.0).dtype == np.float32
    assert (whole**2).dtype == F.square(truth).dtype == (truth**3).dtype == np.int64
    assert (whole**0.5).tolist() == [1.0, 2.0]
    assert F.sign(truth).dtype == bool


@pytest.mark.parametrize("mode", ["linear", "nearest", "nearest-exact", "area"])
def test_a_signal_is_resized_as_an_image_of_one_row(mode):
    x = np.random.default_rng(0).standard_normal((2, 3, 5))
    of_image = {"linear": "bilinear"}.get(mode, mode)
    for size, scale in ((7, None), (None, 1.7), ([3], None)):
        y = F.interpolate(x, size, scale, mode)
        width = y.shape[2] if scale is None else None
        rows = F.interpolate(x[:, :, None], width and (1, width), scale and (1, scale), of_image)
        np.testing.assert_array_equal(y.data, rows.data[:, :, 0])
    ends = F.interpolate(x, 9, mode="linear", align_corners=True).data
    np.testing.assert_allclose(ends[..., ::2], x, atol=1e-15)


@pytest.mark.parametrize(("n", "c"), [(0, 3), (2, 0)])
def test_no_images_and_images_without_channels_are_resized_to_such(n, c):
    assert F.interpolate(np.zeros((n, c, 4, 5)), (8, 3), mode="bilinear").shape == (n, c, 8, 3)
    with pytest.raises(ShapeError, match="images with the axes"):
        F.interpolate(np.zeros((2, 3, 0, 5)), (8, 3))


W = np.ones((4, 3, 3, 3))

WRONG = {
    "conv2d, channels": (lambda: F.conv2d(X, np.ones((4, 2, 3, 3))), ShapeError, "so C = 3"),
    "conv2d, groups": (lambda: F.conv2d(X, W, groups=2), ArgumentError, "groups"),
    "conv2d, window": (lambda: F.conv2d(X, np.ones((4, 3, 9, 9))), ShapeError, "larger than"),
    "conv2d, stride": (lambda: F.conv2d(X, W, stride=0), ArgumentError, "stride"),
    "conv2d, bias": (lambda: F.conv2d(X, W, np.ones(3)), ShapeError, "bias"),
    "conv2d, axes": (lambda: F.conv2d(X[0, 0], W), ShapeError, "axes"),
    "conv2d, padding": (lambda: F.conv2d(X, W, padding="full"), ArgumentError,
                        "full"),
    "conv_transpose2d": (lambda: F.conv_transpose2d(X, np.ones((2, 3, 3, 3))), ShapeError, "C = 3"),
    "conv_transpose2d, groups": (lambda: F.conv_transpose2d(X, np.ones((3, 1, 2, 2)), groups=2),
                                 ArgumentError, "conv_transpose2d: groups must divide"),
    "output_padding": (lambda: F.conv_transpose2d(X, np.ones((3, 1, 2, 2)), output_padding=1),
                       ArgumentError, "output_padding"),
    "max_pool2d": (lambda: F.max_pool2d(X, 2, padding=2), ArgumentError, "half"),
    "max_unpool2d, shapes": (lambda: F.max_unpool2d(X, np.zeros((1, 1), int), 2), ShapeError,
                             "same"),
    "max_unpool2d, index": (lambda: F.max_unpool2d(X, np.full(X.shape, 999), 2), ArgumentError,
                            "no index 999"),
    "max_unpool2d, size": (lambda: F.max_unpool2d(X, np.zeros(X.shape, int), 2, output_size=(9, 9)),
                           ShapeError, "output_size"),
    "max_unpool2d, dtype": (lambda: F.max_unpool2d(X, X, 2), DtypeError, "integers"),
    "interpolate, mode": (lambda: F.interpolate(X, 3, mode="cubic"), ArgumentError, "cubic"),
    "interpolate, both": (lambda: F.interpolate(X, 3, 2.0), ArgumentError, "either"),
    "interpolate, corners": (lambda: F.interpolate(X, 3, align_corners=True), ArgumentError,
                             "align_corners"),
    "interpolate, linear": (lambda: F.interpolate(X, 3, mode="linear"), ShapeError, "signals"),
    "interpolate, trilinear": (lambda: F.interpolate(X, 3, mode="trilinear"), NotImplementedError,
                               "volumes"),
    "div, rounding": (lambda: F.div(X, 2, rounding_mode="up"), ArgumentError, "'up'"),
    "pow, integers": (lambda: F.pow(minidl.tensor([2]), -1), ArgumentError, "fraction"),
    "pow, two of integers": (lambda: F.pow(minidl.tensor([2]), minidl.tensor([-1])), ArgumentError,
                             "fraction"),
    "pow, shapes": (lambda: F.pow(X, X[..., :5]), ShapeError, "do not fit together"),
    "softmax": (lambda: F.softmax(X, (0, 1)), ArgumentError, "one axis"),
    "grid_sample": (lambda: F.grid_sample(X, np.zeros((1, 2, 2, 2))), ShapeError, "same N"),
    "pixel_shuffle": (lambda: F.pixel_shuffle(X, 2), ShapeError, "divide"),
    "batch_norm": (lambda: F.batch_norm(X, None, None), ArgumentError, "running_mean"),
    "batch_norm, one": (lambda: F.batch_norm(X[:1, :, :1, :1], None, None, training=True),
                        ShapeError, "more than one"),
    "batch_norm, weight": (lambda: F.batch_norm(X, None, None, np.ones(2), training=True),
                           ShapeError, "weight needs 3 elements"),
    "batch_norm, bias": (lambda: F.batch_norm(X, None, None, np.ones(3), np.ones(2), True),
                         ShapeError, "bias needs 3 elements"),
    "layer_norm": (lambda: F.layer_norm(X, 5), ShapeError, "normalized_shape"),
    "group_norm": (lambda: F.group_norm(X, 2), ShapeError, "num_groups"),
    "mse_loss": (lambda: F.mse_loss(X, X[0]), ShapeError, "same shape"),
    "reduction": (lambda: F.mse_loss(X, X, reduction="avg"), ArgumentError, "avg"),
    "smooth_l1_loss": (lambda: F.smooth_l1_loss(X, X, beta=-0.5), ArgumentError, "beta"),
    "cross_entropy, class": (lambda: F.cross_entropy(X[0, 0], np.full(6, 6)), ArgumentError,
                             "no class 6"),
    "cross_entropy, shape": (lambda: F.cross_entropy(X, np.zeros(2, int)), ShapeError,
                             "class axis"),
    "bce": (lambda: F.binary_cross_entropy(X, X), ArgumentError, "probabilities"),
    "dropout": (lambda: F.dropout(X, 2.0), ArgumentError, "probability"),
    "embedding": (lambda: F.embedding(np.array([4]), np.ones((4, 2))), ArgumentError, "only 0 to"),
    "matmul": (lambda: F.matmul(X, X[..., :5, :]), ShapeError, "last axis"),
    "linear": (lambda: F.linear(X, np.ones((2, 5))), ShapeError, "features"),
    "reshape": (lambda: F.reshape(X, (5, -1)), ShapeError, "elements"),
    "sum": (lambda: F.sum(X, 7), ArgumentError, "axis 7"),
    "max": (lambda: F.max(np.zeros((0, 2)), axis=0), ShapeError, "no elements"),
    "mean": (lambda: F.mean(np.array([1, 2])), DtypeError, "int64"),
    "cat": (lambda: F.cat([X, X[:, :, 1:]]), ShapeError, "cat"),
    "pad": (lambda: F.pad(X, (7, 0), mode="reflect"), ArgumentError, "smaller"),
    "index": (lambda: minidl.tensor(X)[np.array([0.5])], DtypeError, "index"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused_with_a_reason(name):
    action, error, reason = WRONG[name]
    with pytest.raises(error, match=reason):
        action()
