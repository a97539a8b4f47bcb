"""The kernels: the same functions as ``minidl.reference``, computed by the .cu files here.

On CuPy arrays by the GPU, on NumPy arrays by the emulator (``use_kernels("emulated")``). How to
read a kernel is said in README.md.
"""

from minidl.kernels.conv import arranged, conv2d_w, conv2d_x, conv2d_y
from minidl.kernels.gram import gram_a, gram_b, gram_y
from minidl.kernels.norm import normalize, normalize_adjoint
from minidl.kernels.pool import max_pool2d_index, pick_windows, put_windows
from minidl.kernels.resample import resample
from minidl.kernels.sample import sample_taps_image, sample_taps_weight, sample_taps_y
