"""Samples of resizing and of moving channels to pixels."""

from typing import Any

from minidl.samples import Sample

X = (2, 3, 5, 4)


def _resized(setting: str, **options: Any) -> Sample:
    return Sample("interpolate", setting, lambda F, x: F.interpolate(x, **options) ** 2, [X])


SAMPLES = [
    _resized("nearest", scale_factor=2),
    _resized("nearest, a fraction", scale_factor=(1.7, 0.6)),
    _resized("nearest-exact", size=(7, 3), mode="nearest-exact"),
    _resized("bilinear", scale_factor=2, mode="bilinear"),
    _resized("bilinear, a fraction", scale_factor=1.7, mode="bilinear"),
    _resized("bilinear, recomputed", scale_factor=1.7, mode="bilinear",
             recompute_scale_factor=True),
    _resized("bilinear, align_corners", size=(9, 7), mode="bilinear", align_corners=True),
    _resized("bilinear, antialias", size=(2, 3), mode="bilinear", antialias=True),
    _resized("bicubic", scale_factor=2, mode="bicubic"),
    _resized("bicubic, align_corners", size=(3, 9), mode="bicubic", align_corners=True),
    _resized("bicubic, antialias", size=(2, 7), mode="bicubic", antialias=True),
    _resized("bicubic, antialias and align_corners", size=(3, 2), mode="bicubic", antialias=True,
             align_corners=True),
    _resized("area", size=(3, 6), mode="area"),
    Sample("interpolate", "linear, a signal",
           lambda F, x: F.interpolate(x, scale_factor=1.7, mode="linear") ** 2, [(2, 3, 5)]),
    Sample("pixel_shuffle", "", lambda F, x: F.pixel_shuffle(x, 2) ** 2, [(2, 8, 3, 2)]),
    Sample("pixel_unshuffle", "", lambda F, x: F.pixel_unshuffle(x, 2) ** 2, [(2, 3, 4, 6)]),
]
