"""A call runs through few Python functions: it is quick, and quickly read."""

from __future__ import annotations

import pytest

import minidl
import minidl.functional as F
from benchmarks.frames import CASES, frames_of


@pytest.mark.parametrize("name", CASES)
def test_a_call_takes_at_most_so_many_frames(name, monkeypatch):
    monkeypatch.setattr("minidl.compute.threads.count", lambda: 1)  # frames of other threads hide
    frames, hops = frames_of(CASES[name].make())
    assert hops < frames <= CASES[name].most


def nodes_of(y: minidl.Tensor) -> list[str]:
    """The names of the ops behind a Tensor, the last one first."""
    found, pending = [], [y.node]
    while pending:
        node = pending.pop()
        if node is not None and node.op is not None:
            found.append(node.op.name)
            pending += node.parents
    return found


def test_a_convolution_with_bias_leaves_two_nodes():
    x, w, b = (minidl.randn(*s, requires_grad=True) for s in ((2, 3, 5, 5), (4, 3, 3, 3), (4,)))
    assert nodes_of(F.conv2d(x, w, b)) == ["AddBias", "Conv2d"]
    assert nodes_of(F.conv2d(x, w)) == ["Conv2d"]


@pytest.mark.parametrize(
    "name, call",
    [
        ("Sum", lambda x: x.sum()),
        ("Mean", lambda x: x.mean(1)),
        ("Max", lambda x: x.max()),
        ("Multiply", lambda x: x * minidl.ones(4)),
        ("Multiply", lambda x: x * 2),
        ("Matmul", lambda x: x @ minidl.ones((4, 2))),
        ("Conv2d", lambda x: F.conv2d(x, minidl.ones((1, 3, 1, 1)))),
        ("ConvTranspose2d", lambda x: F.conv_transpose2d(x, minidl.ones((3, 1, 1, 1)))),
        ("MaxPool2d", lambda x: F.max_pool2d(x, 2)),
        ("MaxUnpool2d", lambda x: F.max_unpool2d(x, minidl.tensor([[[[0]]]] * 2), 2)),
        ("LogSumExp", lambda x: F.logsumexp(x, 1)),
    ],
)
def test_a_tensor_says_what_made_it_by_the_name_that_a_newcomer_expects(name, call):
    x = minidl.randn(2, 3, 4, 4, requires_grad=True)
    if name == "MaxUnpool2d":
        x = minidl.randn(2, 1, 1, 1, requires_grad=True)
    assert f"op={name})" in repr(call(x))
