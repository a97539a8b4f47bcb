"""Samples of the activations, away from their kinks."""

from minidl.samples import Sample, apart

A = (3, 4)

SAMPLES = [
    Sample("relu", "", lambda F, x: F.relu(x) * x, [A], apart),
    Sample("leaky_relu", "", lambda F, x: F.leaky_relu(x, 0.2) * x, [A], apart),
    Sample("elu", "alpha 1", lambda F, x: F.elu(x), [A], apart),
    Sample("elu", "alpha 0.7", lambda F, x: F.elu(x, 0.7), [A], apart),
    Sample("gelu", "exact", lambda F, x: F.gelu(x), [A]),
    Sample("gelu", "tanh", lambda F, x: F.gelu(x, approximate="tanh"), [A]),
    Sample("softplus", "", lambda F, x: F.softplus(x), [A]),
    Sample("softplus", "beta 3", lambda F, x: F.softplus(x, beta=3, threshold=2), [A], apart),
    Sample("sigmoid", "", lambda F, x: F.sigmoid(x), [A]),
    Sample("tanh", "", lambda F, x: F.tanh(x), [A]),
    Sample("logsigmoid", "", lambda F, x: F.logsigmoid(x), [A]),
    Sample("silu", "", lambda F, x: F.silu(x), [A]),
    Sample("mish", "", lambda F, x: F.mish(x), [A]),
    Sample("hardtanh", "", lambda F, x: F.hardtanh(x, -0.5, 0.8) ** 2, [A], apart),
    Sample("relu6", "", lambda F, x: F.relu6(8 * x) ** 2, [A], apart),
]
