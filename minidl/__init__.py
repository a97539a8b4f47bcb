"""minidl: a deep-learning engine that one can read.

Start with ``autograd.py``, then ``kinds.py``; ARCHITECTURE.md has the map.
"""

from importlib import import_module
from typing import Any

from minidl.files import top_folders

__version__ = "0.1.0"

from minidl.tensor import Tensor, as_tensor, tensor  # isort: skip  (everything is built on it)

from numpy import float16, float32, float64, int8, int16, int32, int64, uint8

from minidl import functional, in_place, methods, numpys, random
from minidl.autograd import (
    Op,
    enable_grad,
    grad,
    inference_mode,
    no_grad,
    set_grad_enabled,
)
from minidl.compute.arrays import xp_of
from minidl.compute.dispatch import use_kernels
from minidl.creation import (
    arange,
    empty,
    eye,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    zeros,
    zeros_like,
)
from minidl.functional import (
    abs,
    argmax,
    argmin,
    argsort,
    bmm,
    cat,
    chunk,
    clamp,
    clip,
    concatenate,
    cos,
    cumsum,
    diagonal,
    einsum,
    exp,
    expand,
    flatten,
    flip,
    gather,
    log,
    log1p,
    logsumexp,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    norm,
    permute,
    pow,
    prod,
    relu,
    reshape,
    sigmoid,
    sign,
    sin,
    softmax,
    sort,
    split,
    sqrt,
    square,
    squeeze,
    stack,
    std,
    sum,
    tanh,
    tile,
    topk,
    transpose,
    unsqueeze,
    var,
    where,
)
from minidl.kinds import Bilinear, Linear, Pointwise
from minidl.random import manual_seed

methods.attach()
in_place.attach()
numpys.attach()
top_folders.make_importable()

ROOMS = (
    "check", "commands", "compute", "cuda", "data", "files", "kernels", "lecture", "models", "nn",
    "optim", "samples", "tasks", "train",
)
"""The parts of minidl that are imported when they are first asked for, as ``minidl.nn``."""

LATER = {
    "kernels_of": "minidl.cuda.source",
    "launch": "minidl.cuda.launch",
    **dict.fromkeys(("load", "save"), "minidl.saving"),
    **dict.fromkeys(("hessian", "hvp", "jacobian", "jvp", "vjp"), "minidl.derivatives"),
}
"""The functions that are imported when they are first asked for, and where they are."""


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in LATER:
        return getattr(import_module(LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *ROOMS, *LATER})
