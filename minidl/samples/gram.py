"""Samples of Gram matrices and total variation."""

from minidl.samples import Sample, apart

IMAGES = (2, 3, 2, 3)

SAMPLES = [
    Sample("gram_matrix", "", lambda F, x: F.gram_matrix(x), [IMAGES],
           torch=lambda F, x: F.einsum("nahw,nbhw->nab", x, x)),
    Sample("gram_matrix", "normalize", lambda F, x: F.gram_matrix(x, normalize=True), [IMAGES],
           torch=lambda F, x: F.einsum("nahw,nbhw->nab", x, x) / 18),
    Sample("total_variation", "", lambda F, x: F.total_variation(x), [IMAGES], apart, torch=False),
    Sample("total_variation", "squares", lambda F, x: F.total_variation(x, 2), [IMAGES],
           torch=False),
]
