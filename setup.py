"""Where the packages lie; everything else is in pyproject.toml.

``models/``, ``kernels/`` and ``examples/`` are top-level folders, because readers look for them
there. A wheel holds them inside ``minidl``; in a checkout ``minidl/__init__.py`` finds them. An
editable install puts this folder on Python's path, before any folder that is merely called minidl:
a script beside the checkout imports the package, and not the checkout.
"""

import sys

from setuptools import find_packages, setup

EDITABLE = "editable_wheel" in sys.argv
TOP = {} if EDITABLE else {f"minidl.{name}": name for name in ("models", "kernels", "examples")}

setup(
    packages=[*find_packages(include=["minidl", "minidl.*"]), *TOP],
    package_dir={"": "."} if EDITABLE else {"minidl": "minidl", **TOP},
    package_data={
        "minidl": ["py.typed"],
        "minidl.commands.demo": ["*.js", "*.css"],
        "minidl.commands.kernels": ["*.css"],
        "minidl.examples": ["*.cu"],
        # Compiled where they run: for a GPU, for the CPU, and for the CPU with the emulator.
        "minidl.kernels": ["*.cu", "*.md", "include/*.cuh", "emulator/*.?pp", "native/*.?pp"],
    },
)
