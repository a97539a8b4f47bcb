"""Readable NumPy for every hand-written computation: the oracle of the faster code."""
