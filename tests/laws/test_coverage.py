"""Law: every public function has a sample, so that every law sees it."""

from __future__ import annotations

import inspect

import minidl.functional as F
from minidl.samples import all_samples

EXEMPT = {
    "sign": "carries no gradient",
    "one_hot": "carries no gradient",
    "as_tensor": "makes Tensors",
    "astype": "its result is another dtype; tested in test_autograd",
    "to_device": "needs a second device",
    "clamp": "is clip",
    "concatenate": "is cat",
    "broadcast_to": "is expand",
    "square": "is pow(x, 2)",
}


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
