"""Layers and models, with the names, arguments and state dicts of torch.nn.

Start with ``module.py``; every layer is one call into ``minidl.functional``.
"""

from minidl.nn import init
from minidl.nn.activation import (
    ELU,
    GELU,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from minidl.nn.containers import ModuleDict, ModuleList, Sequential
from minidl.nn.conv import Conv2d, ConvTranspose2d
from minidl.nn.dropout import Dropout, Dropout2d
from minidl.nn.linear import Embedding, Flatten, Identity, Linear, Unflatten
from minidl.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from minidl.nn.module import ForwardHook, Module, ModuleError
from minidl.nn.norm import (
    BatchNorm1d,
    BatchNorm2d,
    GroupNorm,
    InstanceNorm2d,
    LayerNorm,
    LocalResponseNorm,
)
from minidl.nn.one_dimensional import (
    AdaptiveAvgPool1d,
    AvgPool1d,
    Conv1d,
    ConvTranspose1d,
    InstanceNorm1d,
    MaxPool1d,
)
from minidl.nn.pad import (
    CircularPad2d,
    ConstantPad2d,
    ReflectionPad2d,
    ReplicationPad2d,
    ZeroPad2d,
)
from minidl.nn.parameter import Parameter
from minidl.nn.pool import AdaptiveAvgPool2d, AvgPool2d, FixedUnpool2d, MaxPool2d, MaxUnpool2d
from minidl.nn.state import LoadReport
from minidl.nn.unfold import Fold, Unfold
from minidl.nn.upsample import PixelShuffle, PixelUnshuffle, Upsample
