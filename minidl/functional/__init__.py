"""Functions of Tensors, with the names, arguments and meaning of torch.nn.functional.

One file per family; what no family of torch.nn.functional has (arithmetic,
reductions, shapes) follows torch's and NumPy's names, with ``axis`` and
``keepdims``.
"""

from minidl.functional.activation import (
    elu,
    gelu,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    relu,
    relu6,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from minidl.functional.conv import conv2d, conv_transpose2d
from minidl.functional.diagonal import diagonal
from minidl.functional.dropout import dropout, dropout2d
from minidl.functional.einsum import einsum
from minidl.functional.embedding import embedding, one_hot
from minidl.functional.gram import gram_matrix, total_variation
from minidl.functional.grid_sample import affine_grid, grid_sample
from minidl.functional.index import gather, getitem, take, take_along_axis
from minidl.functional.likelihood import (
    bernoulli_log_likelihood,
    gaussian_kl,
    gaussian_log_likelihood,
)
from minidl.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from minidl.functional.matmul import bmm, linear, matmul
from minidl.functional.norm import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
)
from minidl.functional.one_dimensional import (
    adaptive_avg_pool1d,
    avg_pool1d,
    conv1d,
    conv_transpose1d,
    max_pool1d,
)
from minidl.functional.pad import pad
from minidl.functional.pointwise import (
    abs,
    add,
    astype,
    clamp,
    clip,
    clone,
    cos,
    div,
    erf,
    exp,
    log,
    log1p,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    sign,
    sin,
    sqrt,
    square,
    sub,
    to_device,
    where,
)
from minidl.functional.pool import (
    adaptive_avg_pool2d,
    avg_pool2d,
    fixed_unpool2d,
    max_pool2d,
    max_unpool2d,
)
from minidl.functional.reduce import (
    argmax,
    argmin,
    cumsum,
    logsumexp,
    max,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)
from minidl.functional.resample import interpolate, pixel_shuffle, pixel_unshuffle
from minidl.functional.shape import (
    broadcast_to,
    cat,
    chunk,
    concatenate,
    expand,
    flatten,
    moveaxis,
    permute,
    reshape,
    split,
    squeeze,
    stack,
    transpose,
    unsqueeze,
)
from minidl.functional.softmax import log_softmax, softmax
from minidl.functional.sort import argsort, sort, topk
from minidl.functional.tile import flip, tile
from minidl.functional.unfold import fold, unfold
from minidl.functional.vector_norm import norm, normalize
from minidl.tensor import as_tensor
