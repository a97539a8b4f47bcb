"""Readable NumPy for what is hand-written elsewhere: the oracle.

Every function takes and returns arrays, NumPy's or CuPy's.
"""

from minidl.compute.reference.activation import rectify, rectify_adjoint
from minidl.compute.reference.bias import add_bias, channel_sums
from minidl.compute.reference.conv import conv2d_w, conv2d_x, conv2d_y
from minidl.compute.reference.gram import gram_a, gram_b, gram_y
from minidl.compute.reference.grid_sample import (
    grid_sample_image,
    grid_sample_weight,
    grid_sample_y,
)
from minidl.compute.reference.matmul import matmul_w, matmul_x, matmul_y
from minidl.compute.reference.norm import normalize, normalize_adjoint
from minidl.compute.reference.optimizer import adam, momentum
from minidl.compute.reference.pool import max_pool2d, pick_windows, put_windows
from minidl.compute.reference.resample import resample
from minidl.compute.reference.softmax import softmax, softmax_adjoint

__all__ = [
    "adam", "add_bias", "channel_sums", "conv2d_w", "conv2d_x", "conv2d_y", "gram_a", "gram_b",
    "gram_y", "grid_sample_image", "grid_sample_weight", "grid_sample_y", "matmul_w", "matmul_x",
    "matmul_y", "max_pool2d", "momentum", "normalize", "normalize_adjoint", "pick_windows",
    "put_windows", "rectify", "rectify_adjoint", "resample", "softmax", "softmax_adjoint",
]
