"""Optimisers, schedules of the learning rate, and clipping of gradients."""

from minidl.optim import lr_scheduler
from minidl.optim.adagrad import Adagrad
from minidl.optim.adam import Adam, AdamW
from minidl.optim.clip import clip_grad_adjustable_, clip_grad_norm_, clip_grad_value_
from minidl.optim.lbfgs import LBFGS
from minidl.optim.optimizer import Optimizer
from minidl.optim.phases import ConstantLR, OneCycleLR, SequentialLR
from minidl.optim.rmsprop import RMSprop
from minidl.optim.schedule import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    ReduceLROnPlateau,
    Schedule,
    StepLR,
)
from minidl.optim.sgd import SGD
