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
    assert (F.dropout(x, 1.0).data == 0).all()
    assert F.dropout(x, 0.3, training=False).data is x


def test_dropout2d_drops_whole_channels():
    y = F.dropout2d(np.ones((50, 40, 2, 3)), 0.5).data
    assert set(np.unique(y.sum((2, 3)))) == {0.0, 12.0}


def test_padding_row_of_an_embedding_receives_no_gradient():
    weight = minidl.tensor(np.ones((4, 2)), requires_grad=True)
    F.embedding(np.array([1, 3, 3]), weight, padding_idx=3).sum().backward()
    np.testing.assert_array_equal(weight.grad.data[:, 0], [0, 1, 0, 0])


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
    "output_padding": (lambda: F.conv_transpose2d(X, np.ones((3, 1, 2, 2)), output_padding=1),
                       ArgumentError, "output_padding"),
    "max_pool2d": (lambda: F.max_pool2d(X, 2, padding=2), ArgumentError, "half"),
    "max_unpool2d, shapes": (lambda: F.max_unpool2d(X, np.zeros((1, 1), int), 2), ShapeError,
                             "same"),
    "max_unpool2d, index": (lambda: F.max_unpool2d(X, np.full(X.shape, 999), 2), ArgumentError,
                            "outside"),
    "max_unpool2d, size": (lambda: F.max_unpool2d(X, np.zeros(X.shape, int), 2, output_size=(9, 9)),
                           ShapeError, "output_size"),
    "max_unpool2d, dtype": (lambda: F.max_unpool2d(X, X, 2), DtypeError, "integers"),
    "interpolate, mode": (lambda: F.interpolate(X, 3, mode="cubic"), ArgumentError, "cubic"),
    "interpolate, both": (lambda: F.interpolate(X, 3, 2.0), ArgumentError, "either"),
    "interpolate, corners": (lambda: F.interpolate(X, 3, align_corners=True), ArgumentError,
                             "align_corners"),
    "interpolate, linear": (lambda: F.interpolate(X, 3, mode="linear"), NotImplementedError,
                            "linear"),
    "grid_sample": (lambda: F.grid_sample(X, np.zeros((1, 2, 2, 2))), ShapeError, "same N"),
    "pixel_shuffle": (lambda: F.pixel_shuffle(X, 2), ShapeError, "divide"),
    "batch_norm": (lambda: F.batch_norm(X, None, None), ArgumentError, "running_mean"),
    "batch_norm, one": (lambda: F.batch_norm(X[:1, :, :1, :1], None, None, training=True),
                        ShapeError, "more than one"),
    "layer_norm": (lambda: F.layer_norm(X, 5), ShapeError, "normalized_shape"),
    "group_norm": (lambda: F.group_norm(X, 2), ShapeError, "num_groups"),
    "mse_loss": (lambda: F.mse_loss(X, X[0]), ShapeError, "same shape"),
    "reduction": (lambda: F.mse_loss(X, X, reduction="avg"), ArgumentError, "avg"),
    "cross_entropy, class": (lambda: F.cross_entropy(X[0, 0], np.full(6, 6)), ArgumentError,
                             "the class 6"),
    "cross_entropy, shape": (lambda: F.cross_entropy(X, np.zeros(2, int)), ShapeError,
                             "class axis"),
    "bce": (lambda: F.binary_cross_entropy(X, X), ArgumentError, "probabilities"),
    "dropout": (lambda: F.dropout(X, 2.0), ArgumentError, "probability"),
    "embedding": (lambda: F.embedding(np.array([4]), np.ones((4, 2))), ArgumentError, "outside"),
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
