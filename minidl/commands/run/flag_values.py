"""Values of flags: numbers that are read from text, and refused out of range."""

from __future__ import annotations

import argparse


def positive_int(text: str) -> int:
    """Read an integer, 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, received {text}")
    return value


def non_negative(text: str) -> float:
    """Read a number, 0 or more, and finite."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more, received {text}")
    return value


def enlargement(text: str) -> float:
    """Read how many times as large a picture becomes, 1 to 16."""
    value = float(text)
    if not 1 <= value <= 16:
        raise argparse.ArgumentTypeError(f"must be from 1 to 16, received {text}")
    return value
