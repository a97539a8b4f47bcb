"""Faster NumPy for some of ``minidl.reference``, under the same names."""
