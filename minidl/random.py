"""The one source of random numbers that minidl draws from.

Numbers are drawn on the CPU, whatever device they are for, so that a seed gives
the same run everywhere, and so that the state fits into a JSON file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compute.arrays import to_device
from minidl.compute.counts import whole
from minidl.errors import CheckpointError
from minidl.tensor import Tensor, default_dtype

_generator = np.random.Generator(np.random.PCG64())


def manual_seed(seed: int) -> None:
    """Start the random numbers from a seed: the same seed, the same numbers.

    Raises
    ------
    ArgumentError
        If it is no integer, or negative.
    """
    _generator.bit_generator.state = np.random.PCG64(whole("manual_seed: seed", seed)).state


def generator() -> np.random.Generator:
    """Return the generator itself, for what the functions below do not draw."""
    return _generator


def normal(shape: Any = (), dtype: Any = default_dtype, device: str = "cpu") -> Tensor:
    """Draw independent numbers from the normal distribution of mean 0 and variance 1."""
    drawn = _generator.standard_normal(shape, np.dtype(dtype))
    return Tensor(to_device(np.asarray(drawn), device))


def uniform(
    shape: Any = (),
    low: float = 0.0,
    high: float = 1.0,
    dtype: Any = default_dtype,
    device: str = "cpu",
) -> Tensor:
    """Draw independent numbers from the uniform distribution on [low, high)."""
    drawn = np.asarray(_generator.random(shape, np.dtype(dtype)))
    scaled = low + drawn * drawn.dtype.type(high - low)
    return Tensor(to_device(scaled.astype(drawn.dtype, copy=False), device))


def permutation(n: int) -> np.ndarray:
    """Return the integers below n in random order."""
    return _generator.permutation(n)


def get_state() -> dict[str, Any]:
    """Return the state of the generator, as numbers and strings that JSON can hold."""
    return dict(_generator.bit_generator.state)


def set_state(state: dict[str, Any]) -> None:
    """Continue from a state that ``get_state`` returned.

    Raises
    ------
    CheckpointError
        If it is not such a state.
    """
    try:
        _generator.bit_generator.state = state
    except (KeyError, TypeError, ValueError) as cause:
        raise CheckpointError(f"set_state: not a state of this generator: {cause}") from None
