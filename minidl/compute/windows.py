"""Sliding windows: which input pixel each tap of each output pixel looks at.

Output pixel (i, j) looks, through tap (k, l) of its window, at input pixel

    h = i * stride + k * dilation - padding        (the same for w, j, l)

and at zero (or nothing) where that falls outside the image. This one formula
is all the geometry of convolution, transposed convolution and pooling. Only
the padding above and on the left appears in it: what lies below and on the
right follows from the size of the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from minidl.errors import ArgumentError, ShapeError, message


class Pair(NamedTuple):
    """A setting for the vertical and the horizontal axis."""

    vertical: int
    horizontal: int


def pair(name: str, value: int | tuple[int, int], minimum: int) -> Pair:
    """Read a setting given as one integer or as (vertical, horizontal)."""
    both = value if isinstance(value, (tuple, list)) else (value,)
    both = (*both, *both) if len(both) == 1 else both
    if len(both) != 2 or any(isinstance(v, bool) or int(v) != v or v < minimum for v in both):
        raise ArgumentError(
            message(
                f"{name} must be one integer or a pair of integers, each at least {minimum}",
                f"received {value!r}",
            )
        )
    return Pair(int(both[0]), int(both[1]))


@dataclass(frozen=True)
class Windows:
    """The places of the windows over an image.

    Attributes
    ----------
    image : (H, W)
        Size of the image that the windows slide over, in pixels.
    kernel : (K, L)
        Size of a window, in taps.
    output : (I, J)
        Number of windows along each axis.
    stride, padding, dilation : Pair
        Step between windows; zeros above and to the left of the image; step
        between the taps of one window. All in pixels.
    """

    image: Pair
    kernel: Pair
    output: Pair
    stride: Pair = Pair(1, 1)
    padding: Pair = Pair(0, 0)
    dilation: Pair = Pair(1, 1)

    @property
    def reach(self) -> Pair:
        """Size of the zero-padded image that holds every tap, starting at -padding."""
        return Pair(*(self._reach(axis) for axis in (0, 1)))

    def _reach(self, axis: int) -> int:
        windows = max(self.output[axis] - 1, 0) * self.stride[axis]
        taps = (self.kernel[axis] - 1) * self.dilation[axis] + 1
        return max(windows + taps, self.padding[axis] + self.image[axis])


def count_windows(
    size: int, kernel: int, stride: int, before: int, after: int, dilation: int, ceil: bool = False
) -> int:
    """Count the windows that fit along one axis of ``size`` pixels.

    With ``ceil`` a last, incomplete window is kept, as long as it starts inside
    the image or the padding before it (the rule of Caffe and PyTorch).
    """
    span = before + size + after - ((kernel - 1) * dilation + 1)
    if not ceil:
        return span // stride + 1
    windows = -(-span // stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + before else windows


def windows_over(
    who: str,
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
) -> Windows:
    """Lay windows over an image, as convolution and pooling do.

    ``padding`` may also be ``"valid"`` (none) or ``"same"`` (as many windows as
    pixels; stride 1 only, the odd zero goes below and to the right).
    """
    steps = pair(f"{who}: stride", stride, 1)
    gaps = pair(f"{who}: dilation", dilation, 1)
    if isinstance(padding, str):
        before, after = _named_padding(who, padding, kernel, steps, gaps)
    else:
        before = after = pair(f"{who}: padding", padding, 0)
    counts = [
        count_windows(
            image[a], kernel[a], steps[a], before[a], after[a], gaps[a], ceil_mode
        )
        for a in (0, 1)
    ]
    if min(counts) < 1:
        raise ShapeError(
            message(
                f"{who}: the window is larger than the padded image",
                f"the image has (H, W) = {tuple(image)}, padding {tuple(before)} on each side",
                f"the window has (K, L) = {tuple(kernel)}, dilation {tuple(gaps)}",
                hint="use a larger image, a smaller window or more padding.",
            )
        )
    return Windows(Pair(*image), Pair(*kernel), Pair(*counts), steps, before, gaps)


def _named_padding(
    who: str, name: str, kernel: tuple[int, int], stride: Pair, dilation: Pair
) -> tuple[Pair, Pair]:
    if name == "valid":
        return Pair(0, 0), Pair(0, 0)
    if name != "same":
        raise ArgumentError(
            message(
                f"{who}: unknown padding {name!r}",
                hint='give an integer, a pair of integers, "valid" or "same".',
            )
        )
    if stride != (1, 1):
        raise ArgumentError(
            message(f'{who}: padding="same" needs stride 1', f"received stride {tuple(stride)}")
        )
    total = Pair(*((kernel[a] - 1) * dilation[a] for a in (0, 1)))
    before = Pair(*(t // 2 for t in total))
    return before, Pair(*(t - b for t, b in zip(total, before, strict=True)))


def transposed_windows(
    who: str,
    output: tuple[int, int],
    kernel: tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
) -> Windows:
    """Lay the windows whose outputs are the pixels that a transposed convolution reads.

    A transposed convolution turns windows around: it is given one value per
    window, (I, J) = ``output``, and asked for the image under them. Several
    image sizes share one number of windows; ``output_padding`` says which.
    """
    steps = pair(f"{who}: stride", stride, 1)
    gaps = pair(f"{who}: dilation", dilation, 1)
    before = pair(f"{who}: padding", padding, 0)
    extra = pair(f"{who}: output_padding", output_padding, 0)
    if any(extra[a] >= max(steps[a], gaps[a]) for a in (0, 1)):
        raise ArgumentError(
            message(
                f"{who}: output_padding must be smaller than stride or dilation",
                f"received output_padding {tuple(extra)}, stride {tuple(steps)}, "
                f"dilation {tuple(gaps)}",
            )
        )
    image = [
        (output[a] - 1) * steps[a] - 2 * before[a] + gaps[a] * (kernel[a] - 1) + extra[a] + 1
        for a in (0, 1)
    ]
    if min(image) < 1:
        raise ShapeError(
            message(
                f"{who}: the output image would be empty",
                f"{tuple(output)} windows of (K, L) = {tuple(kernel)} with padding "
                f"{tuple(before)} cover (H, W) = {tuple(image)}",
                hint="use less padding or a larger input.",
            )
        )
    return Windows(
        Pair(*image), Pair(*kernel), Pair(*output), steps, before, gaps
    )
