"""The kernels: the same functions as ``minidl.compute.reference``, computed by the .cu files here.

On CuPy arrays by the GPU, on NumPy arrays by the emulator (``use_kernels("emulated")``). How to
read a kernel is said in README.md.
"""

from minidl.kernels.activation import rectify, rectify_adjoint
from minidl.kernels.bias import add_bias, channel_sums
from minidl.kernels.conv import conv2d_w, conv2d_x, conv2d_y
from minidl.kernels.gram import gram_a, gram_b, gram_y
from minidl.kernels.grid_sample import grid_sample_image, grid_sample_weight, grid_sample_y
from minidl.kernels.matmul import matmul_w, matmul_x, matmul_y
from minidl.kernels.norm import normalize, normalize_adjoint
from minidl.kernels.optimizer import adam, momentum
from minidl.kernels.pool import max_pool2d, pick_windows, put_windows
from minidl.kernels.resample import resample
from minidl.kernels.softmax import softmax, softmax_adjoint

__all__ = [
    "adam", "add_bias", "channel_sums", "conv2d_w", "conv2d_x", "conv2d_y", "gram_a", "gram_b",
    "gram_y", "grid_sample_image", "grid_sample_weight", "grid_sample_y", "matmul_w", "matmul_x",
    "matmul_y", "max_pool2d", "momentum", "normalize", "normalize_adjoint", "pick_windows",
    "put_windows", "rectify", "rectify_adjoint", "resample", "softmax", "softmax_adjoint",
]
