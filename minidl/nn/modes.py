"""Training and evaluation for a while, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minidl.nn.module import Module


@contextmanager
def modes_kept(model: Module) -> Iterator[None]:
    """Put each part back into its mode, training or evaluation, when the block ends.

    ``model.train()`` would not do: a frozen part may have been in evaluation before.
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
