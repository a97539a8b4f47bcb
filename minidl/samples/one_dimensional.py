"""Samples of convolution and pooling of rows."""

from minidl.samples import Sample, apart

ROWS = (2, 4, 9)

SAMPLES = [
    Sample("conv1d", "", lambda F, x, w, b: F.conv1d(x, w, b), [ROWS, (6, 4, 3), (6,)]),
    Sample("conv1d", "every setting",
           lambda F, x, w: F.conv1d(x, w, None, 2, 1, 3, 2), [ROWS, (6, 2, 3)]),
    Sample("conv1d", "same", lambda F, x, w: F.conv1d(x, w, padding="same"), [ROWS, (6, 4, 3)]),
    Sample("conv_transpose1d", "",
           lambda F, x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1, 2), [ROWS, (4, 3, 3), (6,)]),
    Sample("max_pool1d", "", lambda F, x: F.max_pool1d(x, 3, 2, 1) ** 2, [ROWS], apart),
    Sample("avg_pool1d", "", lambda F, x: F.avg_pool1d(x, 3, 2, 1) ** 2, [ROWS]),
    Sample("adaptive_avg_pool1d", "", lambda F, x: F.adaptive_avg_pool1d(x, 4) ** 2, [ROWS]),
]
