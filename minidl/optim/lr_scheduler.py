"""Schedules under the name of PyTorch's module, ``torch.optim.lr_scheduler``."""

from minidl.optim.phases import ConstantLR, OneCycleLR, SequentialLR
from minidl.optim.schedule import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    ReduceLROnPlateau,
    StepLR,
)
from minidl.optim.schedule import Schedule as LRScheduler

__all__ = [
    "ConstantLR", "CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR",
    "MultiStepLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]
