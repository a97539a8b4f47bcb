"""Law: every public function has a sample, so that every law sees it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import minidl.functional as F
from minidl import samples
from minidl.samples import all_samples

EXEMPT = {
    "sign": "carries no gradient",
    "one_hot": "carries no gradient",
    "argmax": "carries no gradient",
    "argmin": "carries no gradient",
    "argsort": "carries no gradient",
    "as_tensor": "makes Tensors",
    "astype": "its result is another dtype; tested in test_autograd",
    "to_device": "needs a second device",
    "clamp": "is clip",
    "concatenate": "is cat",
    "broadcast_to": "is expand",
    "square": "is pow(x, 2)",
}

FAMILIES = sorted(module.name for module in pkgutil.iter_modules(F.__path__))
"""The files of ``minidl.functional``."""


def test_every_public_function_has_a_sample():
    public = {n for n in dir(F) if inspect.isfunction(getattr(F, n)) and not n.startswith("_")}
    sampled = {s.op for s in all_samples()}
    assert public - sampled - set(EXEMPT) == set()


def test_only_functions_that_need_it_are_excused():
    assert not set(EXEMPT) & {s.op for s in all_samples()}
    assert all(hasattr(F, name) for name in EXEMPT)


def test_sample_names_are_unique():
    names = [s.name for s in all_samples()]
    assert len(names) == len(set(names))


def test_every_family_has_a_file_of_samples():
    assert sorted(module.name for module in pkgutil.iter_modules(samples.__path__)) == FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_lie_in_the_file_of_the_family_that_defines_their_op(family: str):
    held = importlib.import_module(f"minidl.samples.{family}").SAMPLES
    homes = {s.op: getattr(F, s.op).__module__ for s in held}
    assert homes
    assert homes == dict.fromkeys(homes, f"minidl.functional.{family}")
