"""Where the packages lie; everything else is in pyproject.toml.

``models/`` and ``kernels/`` are top-level folders, because readers look for them there, and are
imported as ``minidl.models`` and ``minidl.kernels``.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["minidl", "minidl.*"]), "minidl.models", "minidl.kernels"],
    package_dir={"minidl": "minidl", "minidl.models": "models", "minidl.kernels": "kernels"},
    package_data={
        "minidl": ["py.typed"],
        "minidl.demo": ["*.js", "*.css"],
        "minidl.kernels_command": ["*.css"],
        # Compiled where they run: CUDA for a GPU, and for the CPU with the emulator.
        "minidl.kernels": ["*.cu", "include/*.cuh", "emulator/*.hpp", "emulator/*.cpp", "*.md"],
    },
)
