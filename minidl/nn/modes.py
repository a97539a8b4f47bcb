"""Training and evaluation for a while, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minidl.nn.module import Module


@contextmanager
def modes_kept(model: Module) -> Iterator[None]:
    """Whatever is trained or evaluated inside, each part is in its old mode afterwards.

    Not ``model.train()``: a frozen part may have been in evaluation before.
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
