"""Samples of the pointwise family."""

from minidl.samples import Sample, apart, normal, positive

A, ROW = (3, 4), (4,)

SAMPLES = [
    Sample("add", "broadcast", lambda F, x, y: x + y, [A, ROW]),
    Sample("add", "numbers", lambda F, x: 2 + x + 1.5, [A]),
    Sample("sub", "broadcast", lambda F, x, y: x - y, [(3, 1), (1, 4)]),
    Sample("sub", "from a number", lambda F, x: 1 - x, [A]),
    Sample("mul", "broadcast", lambda F, x, y: x * y, [(2, 3, 1), (3, 4)]),
    Sample("mul", "by itself", lambda F, x: x * x, [A]),
    Sample("div", "broadcast", lambda F, x, y: x / y, [A, ROW], [normal, positive]),
    Sample("div", "a number", lambda F, x: 1 / x, [A], positive),
    Sample("neg", "", lambda F, x: -x, [A]),
    Sample("pow", "cube", lambda F, x: x**3, [A]),
    Sample("pow", "square", lambda F, x: F.square(x), [A]),
    Sample("pow", "power one", lambda F, x: x**1, [A]),
    Sample("pow", "power zero", lambda F, x: x**0 + x, [A]),
    Sample("pow", "negative half", lambda F, x: x**-0.5, [A], positive),
    Sample("pow", "tensors", lambda F, x, y: F.pow(x, y), [A, ROW], [positive, normal]),
    Sample("exp", "", lambda F, x: F.exp(x), [A]),
    Sample("log", "", lambda F, x: F.log(x), [A], positive),
    Sample("log1p", "", lambda F, x: F.log1p(x), [A], positive),
    Sample("sqrt", "", lambda F, x: F.sqrt(x), [A], positive),
    Sample("sin", "", lambda F, x: F.sin(x), [A]),
    Sample("cos", "", lambda F, x: F.cos(x), [A]),
    Sample("erf", "", lambda F, x: F.erf(x), [A]),
    Sample("abs", "", lambda F, x: F.abs(x) * x, [A], apart),
    Sample("maximum", "", lambda F, x, y: F.maximum(x * x, y), [A, (3, 4)], apart),
    Sample("minimum", "", lambda F, x, y: F.minimum(x * x, y), [A, (3, 4)], apart),
    Sample("clip", "two numbers", lambda F, x: F.clip(x, -0.4, 0.3) * x, [A], apart),
    Sample("clip", "one number", lambda F, x: F.clip(x, max=0.2) * x, [A], apart),
    Sample("clip", "a tensor", lambda F, x, y: F.clip(x, y), [A, (3, 4)], [apart, normal]),
    Sample("where", "", lambda F, x, y: F.where(x > 0, x * y, y * y), [A, ROW], apart),
    Sample("clone", "", lambda F, x: F.clone(x) * x, [A]),
]
