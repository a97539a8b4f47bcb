"""Normalisation as layers: mean 0 and variance 1, then a trained scale and shift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import minidl.functional as F
from minidl.compute.changes import changed
from minidl.errors import ArgumentError, ShapeError, message
from minidl.nn import init
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter, unfilled
from minidl.tensor import Tensor, as_tensor, default_dtype


class _Affine(Module):
    """A scale that starts as 1 and a shift that starts as 0."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_affine(self, shape: tuple[int, ...], scale: bool, shift: bool, dtype: Any) -> None:
        self.register_parameter("weight", unfilled(*shape, dtype=dtype) if scale else None)
        self.register_parameter("bias", unfilled(*shape, dtype=dtype) if shift else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to 1 and the shift to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check(
        self, x: Tensor, ndims: tuple[int, ...], axes: str, axis: int, channels: int
    ) -> None:
        # Without this, one channel would be broadcast to many.
        if x.ndim not in ndims or x.shape[axis] != channels:
            raise ShapeError(
                message(
                    f"{type(self).__name__}: x needs the axes {axes} with C = {channels}",
                    f"received shape {x.shape}",
                )
            )


class _Tracking(_Affine):
    """A norm that may keep running statistics, for evaluation."""

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def _make_statistics(self, num_features: int, tracked: bool, dtype: Any) -> None:
        self.track_running_stats = tracked
        kind = default_dtype if dtype is None else dtype
        self.register_buffer("running_mean", np.zeros(num_features, kind) if tracked else None)
        self.register_buffer("running_var", np.ones(num_features, kind) if tracked else None)
        self.register_buffer("num_batches_tracked", np.array(0, np.int64) if tracked else None)

    def reset_running_stats(self) -> None:
        """Forget the batches that the running statistics have seen."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.data[...] = 0
            self.running_var.data[...] = 1
            for statistics in (self.running_mean, self.running_var):
                changed(statistics.data, "reset_running_stats")
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.data[...] = 0


class _BatchNorm(_Tracking):
    """Batch normalisation for any number of axes."""

    ndims: tuple[int, ...] = ()
    axes = ""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = None,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine = affine
        self._make_statistics(num_features, track_running_stats, dtype)
        self._make_affine((num_features,), affine, affine, dtype)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        self._check(x, self.ndims, self.axes, 1, self.num_features)
        share = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.data += 1
            if self.momentum is None:  # the plain mean of all batches
                share = 1 / self.num_batches_tracked.item()
        training = self.training or self.running_mean is None
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training, share,
            self.eps
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Normalise each feature over the batch: (N, C) or (N, C, L) -> the same.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        A number added to the variance.
    momentum : float or None
        Share of the new batch in the running statistics; None: their plain mean.
    affine : bool
        Whether to train a scale and a shift.
    track_running_stats : bool
        Whether to keep running statistics for evaluation; without them, the
        batch's own are used there too.
    dtype : optional
        That of the parameters and statistics; default float32.

    Notes
    -----
    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithms 1 and 2.
    """

    ndims, axes = (2, 3), "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Normalise each channel over the batch and the image: (N, C, H, W) -> the same.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, dtype
        The same as of BatchNorm1d.
    """

    ndims, axes = (4,), "(N, C, H, W)"


class InstanceNorm2d(_Tracking):
    """Normalise each channel of each image on its own: (N, C, H, W) -> the same.

    Parameters
    ----------
    num_features : int
        C; looked at only with ``affine`` or running statistics.
    eps : float
        A number added to the variance.
    momentum : float
        Share of the new batch in the running statistics.
    affine : bool
        Whether to train a scale and a shift.
    track_running_stats : bool
        Whether to keep running statistics, the means over a batch of each image's own; in
        evaluation mode all images are then normalised by these.
    dtype : optional

    Notes
    -----
    Source: Ulyanov, Vedaldi & Lempitsky 2016, "Instance normalization: the
    missing ingredient for fast stylization", equation 3.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: Any = None,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine = affine
        self._make_statistics(num_features, track_running_stats, dtype)
        self._make_affine((num_features,), affine, affine, dtype)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        known = self.affine or self.track_running_stats
        channels = self.num_features if known else x.shape[-3] if x.ndim > 2 else -1
        self._check(x, (3, 4), "(N, C, H, W) or (C, H, W)", -3, channels)
        batch = F.unsqueeze(x, 0) if x.ndim == 3 else x
        y = F.instance_norm(
            batch, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, self.momentum, self.eps
        )
        return F.reshape(y, x.shape) if x.ndim == 3 else y

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class LayerNorm(_Affine):
    """Normalise each example over its last axes.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of those axes, which weight and bias have too.
    eps : float
        A number added to the variance.
    elementwise_affine : bool
        Whether to train a scale, and with ``bias`` also a shift.
    bias : bool
    dtype : optional

    Notes
    -----
    Source: Ba, Kiros & Hinton 2016, "Layer normalization", section 3.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ):
        super().__init__()
        given = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        self.normalized_shape = tuple(given)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        shift = elementwise_affine and bias
        self._make_affine(self.normalized_shape, elementwise_affine, shift, dtype)

    def forward(self, x: Any) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(_Affine):
    """Normalise each group of channels of each image: (N, C, ...) -> the same.

    Parameters
    ----------
    num_groups : int
        The channels are split into so many groups.
    num_channels : int
        C.
    eps : float
        A number added to the variance.
    affine : bool
        Whether to train a scale and a shift per channel.
    dtype : optional

    Raises
    ------
    ArgumentError
        If the groups do not divide the channels.

    Notes
    -----
    Source: Wu & He 2018, "Group normalization", section 3.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: Any = None,
    ):
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ArgumentError(
                f"GroupNorm: {num_groups} groups do not divide {num_channels} channels"
            )
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        self._make_affine((num_channels,), affine, affine, dtype)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        self._check(x, tuple(range(2, max(x.ndim, 2) + 1)), "(N, C, ...)", 1, self.num_channels)
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class LocalResponseNorm(Module):
    """Divide each channel by (k + alpha mean(x^2 of ``size`` neighbouring channels)) ^ beta.

    Source: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with
    deep convolutional neural networks", section 3.3 (there the sum, here the
    mean, as in PyTorch).
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Any) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
