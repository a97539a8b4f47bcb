"""Windows along one axis of an image: which of them have a tap on a pixel, and on which."""

from __future__ import annotations

from typing import NamedTuple

from minidl.compute.windows import Windows


class Axis(NamedTuple):
    """Windows along one axis: tap m of window i is ``start + i * stride + m * dilation``."""

    start: int
    stride: int
    dilation: int

    def inside(self, tap: int, size: int, count: int) -> slice:
        """Find those of ``count`` windows whose tap lies inside an image of ``size`` pixels."""
        first = self.start + tap * self.dilation
        low = max(-(first // self.stride), 0)
        high = min(-((first - size) // self.stride), count)
        return slice(min(low, count), max(high, low))

    def at(self, tap: int, windows: slice) -> slice:
        """The pixels under this tap of those windows."""
        first = self.start + tap * self.dilation
        low = first + windows.start * self.stride
        last = low + (windows.stop - windows.start - 1) * self.stride
        return slice(low, max(last + 1, low), self.stride)  # of no windows, none

    @property
    def turned(self) -> Axis:
        """Taps for windows: the formula stays the same if i and m, stride and dilation trade."""
        return Axis(self.start, self.dilation, self.stride)


def axes_of(windows: Windows) -> tuple[Axis, Axis]:
    """The windows along the vertical and the horizontal axis."""
    down, across = (
        Axis(-windows.padding[a], windows.stride[a], windows.dilation[a]) for a in (0, 1)
    )
    return down, across
