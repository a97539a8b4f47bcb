"""Samples of padding."""

from minidl.samples import Sample

IMAGE, LINE = (2, 3, 4, 5), (3, 4, 5)

SAMPLES = [
    Sample("pad", "constant", lambda F, x: F.pad(x, (1, 2, 0, 3), value=2.0) ** 2, [IMAGE]),
    Sample("pad", "crop", lambda F, x: F.pad(x, (-1, 2, 1, -1)) ** 2, [IMAGE]),
    Sample("pad", "reflect", lambda F, x: F.pad(x, (1, 3, 2, 0), mode="reflect") ** 2, [IMAGE]),
    Sample("pad", "replicate", lambda F, x: F.pad(x, (1, 6, 2, 0), mode="replicate") ** 2, [IMAGE]),
    Sample("pad", "circular", lambda F, x: F.pad(x, (1, 3, 2, 0), mode="circular") ** 2, [IMAGE]),
    Sample("pad", "of a line", lambda F, x: F.pad(x, (2, 3), mode="reflect") ** 2, [LINE]),
    Sample("pad", "of three axes", lambda F, x: F.pad(x, (1, 0, 2, 1, 1, 3), mode="replicate") ** 2,
           [(2, 3, 2, 3, 4)]),
]
