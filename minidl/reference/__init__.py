"""Readable NumPy for what is hand-written elsewhere: the oracle.

Every function takes and returns arrays, NumPy's or CuPy's.
"""

from minidl.reference.conv import arranged, conv2d_w, conv2d_x, conv2d_y
from minidl.reference.gram import gram_a, gram_b, gram_y
from minidl.reference.norm import normalize, normalize_adjoint
from minidl.reference.pool import max_pool2d_index, pick_windows, put_windows
from minidl.reference.resample import resample
from minidl.reference.sample import sample_taps_image, sample_taps_weight, sample_taps_y
