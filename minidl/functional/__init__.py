"""Functions of Tensors, with the names, arguments and meaning of torch.nn.functional.

One file per family; what no family of torch.nn.functional has (arithmetic,
reductions, shapes) follows torch's and NumPy's names, with ``axis`` and
``keepdims``.
"""

from minidl.functional.index import getitem, take, take_along_axis
from minidl.functional.matmul import linear, matmul
from minidl.functional.pointwise import (
    abs,
    add,
    astype,
    clamp,
    clip,
    clone,
    cos,
    div,
    elu,
    erf,
    exp,
    gelu,
    leaky_relu,
    log,
    logsigmoid,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    relu,
    sigmoid,
    sign,
    sin,
    softplus,
    sqrt,
    square,
    sub,
    tanh,
    to_device,
    where,
)
from minidl.functional.reduce import logsumexp, max, mean, min, std, sum, var
from minidl.functional.shape import (
    broadcast_to,
    cat,
    concatenate,
    expand,
    flatten,
    moveaxis,
    pad,
    permute,
    reshape,
    split,
    squeeze,
    stack,
    transpose,
    unsqueeze,
)
