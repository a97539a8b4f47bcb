"""Samples of convolution and transposed convolution."""

from minidl.samples import Sample

X, W, B = (2, 4, 7, 6), (3, 4, 3, 2), (3,)

SAMPLES = [
    Sample("conv2d", "bias", lambda F, x, w, b: F.conv2d(x, w, b), [X, W, B]),
    Sample("conv2d", "stride", lambda F, x, w: F.conv2d(x, w, stride=(2, 3), padding=1), [X, W]),
    Sample("conv2d", "dilation", lambda F, x, w: F.conv2d(x, w, dilation=(2, 1), padding=(0, 2)),
           [X, W]),
    Sample("conv2d", "stride and dilation",
           lambda F, x, w: F.conv2d(x, w, stride=2, padding=2, dilation=(2, 3)), [X, W]),
    Sample("conv2d", "groups", lambda F, x, w: F.conv2d(x, w, groups=2, padding=1),
           [X, (6, 2, 3, 2)]),
    Sample("conv2d", "depthwise", lambda F, x, w: F.conv2d(x, w, None, 2, 1, 1, 4),
           [X, (4, 1, 3, 2)]),
    Sample("conv2d", "same", lambda F, x, w: F.conv2d(x, w, padding="same"), [X, W]),
    Sample("conv2d", "one image", lambda F, x, w: F.conv2d(x, w), [X[1:], W]),
    Sample("conv2d", "1x1", lambda F, x, w: F.conv2d(x, w), [X, (3, 4, 1, 1)]),
    Sample("conv_transpose2d", "bias", lambda F, x, w, b: F.conv_transpose2d(x, w, b),
           [(2, 3, 4, 5), W, (4,)]),
    Sample("conv_transpose2d", "stride and output_padding",
           lambda F, x, w: F.conv_transpose2d(x, w, None, (2, 3), 1, (1, 2)), [(2, 3, 4, 3), W]),
    Sample("conv_transpose2d", "groups and dilation",
           lambda F, x, w: F.conv_transpose2d(x, w, None, 2, 1, 1, 2, (2, 1)),
           [(2, 4, 4, 3), (4, 3, 3, 2)]),
]
