"""Samples of windows as columns, and back."""

from minidl.samples import Sample

IMAGE, KERNEL = (2, 3, 7, 6), (3, 2)

SAMPLES = [
    Sample("unfold", "", lambda F, x: F.unfold(x, 2) ** 2, [(2, 3, 4, 5)]),
    Sample("unfold", "every setting",
           lambda F, x: F.unfold(x, KERNEL, (1, 2), (2, 1), (2, 3)) ** 2, [IMAGE]),
    Sample("fold", "", lambda F, x: F.fold(x, (4, 5), 2) ** 2, [(2, 12, 12)]),
    Sample("fold", "every setting",
           lambda F, x: F.fold(x, (7, 6), KERNEL, (1, 2), (2, 1), (2, 3)) ** 2, [(2, 18, 10)]),
]
