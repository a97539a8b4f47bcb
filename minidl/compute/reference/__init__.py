"""Readable NumPy for what is hand-written elsewhere: the oracle.

Every function takes and returns arrays, NumPy's or CuPy's.
"""

from minidl.compute.reference.conv import conv2d_w, conv2d_x, conv2d_y
from minidl.compute.reference.gram import gram_a, gram_b, gram_y
from minidl.compute.reference.grid_sample import (
    grid_sample_image,
    grid_sample_weight,
    grid_sample_y,
)
from minidl.compute.reference.norm import normalize, normalize_adjoint
from minidl.compute.reference.pool import max_pool2d_index, pick_windows, put_windows
from minidl.compute.reference.resample import resample

__all__ = [
    "conv2d_w", "conv2d_x", "conv2d_y", "gram_a", "gram_b", "gram_y", "grid_sample_image",
    "grid_sample_weight", "grid_sample_y", "max_pool2d_index", "normalize", "normalize_adjoint",
    "pick_windows", "put_windows", "resample",
]
