"""minidl: a deep-learning engine that one can read.

Start with ``autograd.py``, then ``kinds.py``; ARCHITECTURE.md has the map.
"""

__version__ = "0.1.0"

from minidl.tensor import Tensor, as_tensor, tensor  # isort: skip  (everything is built on it)

from minidl import functional, random
from minidl.autograd import enable_grad, grad, no_grad
from minidl.compute import use_kernels
from minidl.creation import arange, full, linspace, ones, ones_like, rand, randn, zeros, zeros_like
from minidl.functional import (
    abs,
    cat,
    clip,
    concatenate,
    cos,
    exp,
    expand,
    log,
    logsumexp,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    permute,
    reshape,
    sigmoid,
    sin,
    split,
    sqrt,
    square,
    squeeze,
    stack,
    sum,
    tanh,
    transpose,
    unsqueeze,
    var,
    where,
)
from minidl.random import manual_seed
