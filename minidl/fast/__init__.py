"""The default code on a CPU: the same functions as ``minidl.reference``, faster.

What is missing here, the reference does well enough.
"""

from minidl.fast.conv import arranged, conv2d_w, conv2d_x, conv2d_y
from minidl.fast.pool import max_pool2d_index, pick_windows, put_windows
from minidl.fast.resample import resample
from minidl.fast.sample import sample_taps_image, sample_taps_weight, sample_taps_y
