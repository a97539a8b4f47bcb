"""The default code on a CPU: the same functions as ``minidl.compute.reference``, faster.

What is missing here, the reference does well enough.
"""

from minidl.compute.fast.activation import rectify, rectify_adjoint
from minidl.compute.fast.conv import conv2d_w, conv2d_x, conv2d_y
from minidl.compute.fast.grid_sample import grid_sample_image, grid_sample_weight, grid_sample_y
from minidl.compute.fast.matmul import matmul_w, matmul_x, matmul_y
from minidl.compute.fast.optimizer import adam, momentum
from minidl.compute.fast.pool import max_pool2d, pick_windows, put_windows
from minidl.compute.fast.resample import resample

__all__ = [
    "adam", "conv2d_w", "conv2d_x", "conv2d_y", "grid_sample_image", "grid_sample_weight",
    "grid_sample_y", "matmul_w", "matmul_x", "matmul_y", "max_pool2d", "momentum",
    "pick_windows", "put_windows", "rectify", "rectify_adjoint", "resample",
]
