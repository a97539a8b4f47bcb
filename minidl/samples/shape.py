"""Samples of reshaping, joining and splitting."""

from minidl.samples import Sample

A, IMAGE = (2, 3, 4), (2, 3, 4, 5)

SAMPLES = [
    Sample("reshape", "", lambda F, x: F.reshape(x, (4, -1)) ** 2, [A]),
    Sample("flatten", "", lambda F, x: F.flatten(x, 1) ** 2, [A]),
    Sample("transpose", "", lambda F, x: F.transpose(x, 0, 2) ** 2, [A]),
    Sample("permute", "", lambda F, x: F.permute(x, (2, 0, 1)) ** 2, [A]),
    Sample("moveaxis", "", lambda F, x: F.moveaxis(x, (0, 1), (2, 0)) ** 2, [A]),
    Sample("squeeze", "", lambda F, x: F.squeeze(x) ** 2, [(1, 3, 1, 2)]),
    Sample("squeeze", "axis", lambda F, x: F.squeeze(x, 2) ** 2, [(1, 3, 1, 2)]),
    Sample("unsqueeze", "", lambda F, x: F.unsqueeze(x, 1) ** 2, [A]),
    Sample("expand", "", lambda F, x: x.expand((2, 3, 4)) ** 2, [(3, 1)]),
    Sample("cat", "", lambda F, x, y: F.cat([x, y], 1) ** 2, [(2, 3), (2, 4)]),
    Sample("stack", "", lambda F, x, y: F.stack([x, y], 1) ** 2, [(2, 3), (2, 3)]),
    Sample("split", "equal", lambda F, x: F.split(x, 2, 1)[0] * F.split(x, 2, 1)[1], [(3, 4)]),
    Sample("split", "sizes", lambda F, x: F.split(x, [1, 3], 1)[1] ** 2, [(3, 4)]),
    Sample("chunk", "", lambda F, x: F.chunk(x, 3, 1)[1] * F.chunk(x, 3, 1)[0], [(2, 5)]),
]
