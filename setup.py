"""Where the packages lie; everything else is in pyproject.toml.

``models/``, ``kernels/`` and ``examples/`` are top-level folders, because readers look for them
there. The first two are imported as ``minidl.models`` and ``minidl.kernels``; ``minidl run`` runs
the examples.
"""

from setuptools import find_packages, setup

TOP = {f"minidl.{folder}": folder for folder in ("models", "kernels", "examples")}

setup(
    packages=[*find_packages(include=["minidl", "minidl.*"]), *TOP],
    package_dir={"minidl": "minidl", **TOP},
    package_data={
        "minidl": ["py.typed"],
        "minidl.demo": ["*.js", "*.css"],
        "minidl.kernels_command": ["*.css"],
        "minidl.examples": ["*.cu"],
        # Compiled where they run: CUDA for a GPU, and for the CPU with the emulator.
        "minidl.kernels": ["*.cu", "include/*.cuh", "emulator/*.hpp", "emulator/*.cpp", "*.md"],
    },
)
