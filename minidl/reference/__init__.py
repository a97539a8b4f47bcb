"""Readable NumPy for what is hand-written elsewhere: the oracle.

Every function takes and returns arrays, NumPy's or CuPy's.
"""

from minidl.reference.conv import conv2d_w, conv2d_x, conv2d_y
