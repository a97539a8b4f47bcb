"""The models of the lecture, one file per paper; imported as ``minidl.models``."""
