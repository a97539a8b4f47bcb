"""Where the packages lie; everything else is in pyproject.toml.

``models/`` is a top-level folder, because readers look for it there, and is
imported as ``minidl.models``.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["minidl", "minidl.*"]), "minidl.models", "minidl.kernels"],
    package_dir={"minidl": "minidl", "minidl.models": "models", "minidl.kernels": "kernels"},
    package_data={"minidl": ["py.typed"], "minidl.demo": ["*.js", "*.css"]},
)
