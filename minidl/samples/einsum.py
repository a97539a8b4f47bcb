"""Samples of Einstein's sums."""

from minidl.samples import Sample

SAMPLES = [
    Sample("einsum", "matrices", lambda F, x, w: F.einsum("ij,jk->ki", x, w), [(2, 3), (3, 4)]),
    Sample("einsum", "batch, inner and outer letters",
           lambda F, x, w: F.einsum("bhid,bjhd->bhij", x, w), [(2, 3, 4, 5), (2, 6, 3, 5)]),
    Sample("einsum", "three operands", lambda F, x, w, v: F.einsum("i,ij,j->", x, w, v),
           [(2,), (2, 3), (3,)]),
    Sample("einsum", "one operand", lambda F, x: F.einsum("ijk->kj", x) ** 2, [(2, 3, 4)]),
    Sample("einsum", "diagonals", lambda F, x, w: F.einsum("iijk,ki->ij", x, w),
           [(3, 3, 2, 4), (4, 3)]),
    Sample("einsum", "further axes", lambda F, x, w: F.einsum("...ij,...jk->...ik", x, w),
           [(5, 1, 2, 3), (4, 3, 2)]),
    Sample("einsum", "without an arrow", lambda F, x, w: F.einsum("bi,bi", x, w), [(2, 3), (2, 3)]),
]
