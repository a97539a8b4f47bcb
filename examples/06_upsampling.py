"""The ways to make an image larger, and the checkerboard that some of them leave.

1. A photograph shrunk by 10 and enlarged again. Bicubic interpolation comes out best, but
   only 0.5 dB above nearest (18.1 and 17.6 dB): what was lost cannot be interpolated. A transposed
   convolution with a bilinear window *is* bilinear interpolation, but for its dark border, where
   windows are missing; that costs 0.9 dB.

2. Shrunk by 2 and enlarged by 2, before and after a 5x5 convolution that learned on one half of
   the photograph and is measured on the other. After it, nearest, bilinear and transposed are
   equal within 0.1 dB (22.6 to 22.7), whatever they began with. Fixed unpooling ("bed of
   nails") gets 20.9: it and the convolution are one transposed convolution, with fewer weights to
   each pixel. Unpooling by indices gets 17.9, the least: in a smooth sky the place of the
   brightest pixel is mere noise, and one linear convolution cannot tell.
   (SegNet uses it on features, with many layers behind it.)

3. The checkerboard. With kernel 3 and stride 2, a pixel of the output lies under 1, 2 or 4
   windows; with kernel 4 under 4 everywhere. So equal weights turn a constant image into one with
   19 % of its energy at the Nyquist frequencies, or none. But an even overlap *allows* evenness and
   does not bring it: of random positive weights it is 26 % and 6 %, and of weights with zero mean
   about three quarters for either. Nor does an uneven one forbid it: trained in part 2, the windows
   of kernel 3 fall from 42 to 0.02 %. Resizing first and then convolving gives exactly none, with
   any weights (Odena et al. 2016, "Deconvolution and checkerboard artifacts"). Only a constant
   image is measured: beside edges, all of these can still alternate.

Writes tables, metrics.json and three pictures.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

import minidl
import minidl.functional as F
from minidl import Tensor, nn, no_grad, random
from minidl.compute.arrays import to_device
from minidl.errors import MinidlError, message
from minidl.lecture.flags import add_device_argument, arguments
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.optim import LBFGS
from minidl.train.progress import Progress

PAGODA = slice(20, 240), slice(70, 350)
"""Rows and columns of the photograph that are enlarged, and that no convolution learns from."""
TREES = slice(0, 426), slice(360, 640)
"""Those that the convolutions learn from."""
ROOF = slice(20, 76), slice(104, 160)
"""Rows and columns of the pagoda that unpooling.png shows."""
WINDOWS = 500
"""Random windows over which a checkerboard is averaged."""

Panel = tuple[str, np.ndarray]
"""A title and an image, (3, 1, H, W)."""


def photograph() -> np.ndarray:
    """(3, 1, 427, 640) in [0, 1]: red, green and blue as three images, treated alike."""
    try:
        from sklearn.datasets import load_sample_image
    except ImportError as cause:
        raise MinidlError(
            message("the photograph comes with scikit-learn", hint="pip install 'minidl[demo]'.")
        ) from cause
    return load_sample_image("china.jpg").transpose(2, 0, 1)[:, None].astype(np.float32) / 255


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    """Peak signal to noise ratio in dB: 10 log10(1 / mean squared error), for images in [0, 1]."""
    return float(-10 * np.log10(((x - np.clip(y, 0, 1)) ** 2).mean()))


def transposed(kernel: int, scale: int, start: str) -> nn.ConvTranspose2d:
    """A transposed convolution that enlarges by scale.

    ``start``: "bilinear", or as ``fill`` takes it. Mean brightness stays, on average.
    """
    overhang = kernel - scale
    padding = -(-overhang // 2)
    layer = nn.ConvTranspose2d(
        1, 1, kernel, scale, padding, output_padding=2 * padding - overhang, bias=False
    )
    if start == "bilinear":
        nn.init.bilinear_(layer.weight)
    else:
        fill(layer.weight, start, mean=(scale / kernel) ** 2)
    return layer


def fill(weight: Tensor, start: str, mean: float) -> None:
    """Constant ("ones"), or uniform from 0 ("random") or -2 mean ("zero-mean") to 2 mean."""
    low = {"ones": mean, "random": 0.0, "zero-mean": -2 * mean}[start]
    nn.init.uniform_(weight, low, mean if start == "ones" else 2 * mean)


def convolution(kernel: int) -> nn.Conv2d:
    """One window for all colours, without a bias, which keeps the size of an image."""
    return nn.Conv2d(1, 1, kernel, padding=kernel // 2, bias=False, padding_mode="replicate")


class Enlarger(nn.Module):
    """A way to enlarge by 2, and the convolution after it.

    (N, 1, H, W) and the indices of the max-pooling it comes from -> (N, 1, 2 H, 2 W)
    """

    def __init__(self, way: nn.Module, kernel: int = 5):
        super().__init__()
        self.way, self.convolution = way, convolution(kernel)

    def enlarge(self, x: Tensor, indices: Tensor) -> Tensor:
        """What the convolution is given."""
        return self.way(x, indices) if isinstance(self.way, nn.MaxUnpool2d) else self.way(x)

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        return self.convolution(self.enlarge(x, indices))


def pooled(image: Tensor) -> tuple[Tensor, Tensor]:
    """The image shrunk by 2 by means, and where the largest pixel of each 2 x 2 was."""
    _, indices = F.max_pool2d(image, 2, return_indices=True)
    return F.avg_pool2d(image, 2), indices


def fit(model: Enlarger, image: Tensor, steps: int) -> None:
    """Learn to undo the pooling, by the squared error of one image.

    L-BFGS, for Adam crawls here: an image's mean weighs far more than its details. After
    300 steps of it the convolutions still did harm (nearest: 22.3 dB before, 20.2 after; now 22.7).
    """
    small = pooled(image)
    optimizer = LBFGS(model.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = F.mse_loss(model(*small), image)
        error.backward()
        evaluations.append(error.item())
        progress.step(len(evaluations), evaluations[-1])
        return error

    evaluations: list[float] = []
    with closing(Progress(1, shown=True)) as progress:
        progress.begin("L-BFGS, losses computed", 0, None)
        optimizer.step(loss)


def nyquist_share(y: Tensor) -> float:
    """Part of an image's energy that alternates from pixel to pixel; 0 if it is constant.

    (N, 1, H, W) -> a number in [0, 1]: energy at the frequencies (0, 1/2), (1/2, 0) and
    (1/2, 1/2) in the middle of the image, over that and the energy at (0, 0).
    """
    middle = y.numpy()[:, 0, 8:-8, 8:-8]
    means = [[middle[:, a::2, b::2].mean((1, 2)) for b in (0, 1)] for a in (0, 1)]
    # The discrete Fourier transform of 2 x 2 means has exactly these four frequencies.
    energy = (np.abs(np.fft.fft2(np.array(means), axes=(0, 1))) ** 2).sum(-1)
    return float(1 - energy[0, 0] / energy.sum())


def answers(model: Enlarger, image: Tensor) -> tuple[Tensor, Tensor]:
    """The image pooled and enlarged: before the convolution, and after it."""
    small = pooled(image)
    with no_grad():
        return model.enlarge(*small), model(*small)


WAYS = {
    "kernel 3, stride 2": (3, False),
    "kernel 4, stride 2": (4, False),
    "nearest, then kernel 3": (3, True),
}
"""Size of the window, and whether it follows an enlargement or is one."""


def twice(x: Tensor, weight: Tensor, resize: bool) -> Tensor:
    """One window enlarges by 2, (N, C, H, W) * (C, O, K, K) -> (N, O, I, J)."""
    if resize:
        return F.conv2d(F.interpolate(x, scale_factor=2), weight.transpose(0, 1))
    return F.conv_transpose2d(x, weight, stride=2)


def windows(start: str, kernel: int, resize: bool, count: int, device: str) -> Tensor:
    """(1, count, K, K): windows that keep the mean brightness, those of zero mean apart."""
    weight = minidl.zeros((1, count, kernel, kernel))
    fill(weight, start, (1 if resize else 4) / kernel**2)
    return weight.to(device)


def overlap_shares(device: str, seed: int) -> dict[str, dict[str, float]]:
    """The checkerboard that a constant image becomes, for each way and each kind of window."""
    flat = minidl.ones((1, 1, 24, 24), device=device)
    shares: dict[str, dict[str, float]] = {}
    for name, (kernel, resize) in WAYS.items():
        random.manual_seed(seed)
        shares[name] = {}
        for start in ("ones", "random", "zero-mean"):
            y = twice(flat, windows(start, kernel, resize, WINDOWS, device), resize)
            shares[name][start] = nyquist_share(y.transpose(0, 1))
    return shares


def times_ten(x: Tensor, seed: int) -> tuple[list[Panel], dict[str, float]]:
    """Part 1: the pagoda shrunk by 10 and enlarged again, and each way's PSNR."""
    image = x.numpy()
    small = F.interpolate(x, scale_factor=0.1, mode="area")
    random.manual_seed(seed)
    ways: dict[str, nn.Module] = {
        "nearest": nn.Upsample(scale_factor=10),
        "bilinear": nn.Upsample(scale_factor=10, mode="bilinear"),
        "bicubic": nn.Upsample(scale_factor=10, mode="bicubic"),
        "fixed unpooling": nn.FixedUnpool2d(10),
        "transposed, bilinear": transposed(20, 10, "bilinear"),
        "transposed, random": transposed(20, 10, "random"),
    }
    panels, scores = [("the photograph", image)], {}
    for name, way in ways.items():
        with no_grad():
            y = way.to(x.device)(small).numpy()
        scores[name] = psnr(image, y)
        panels.append((f"{name}, {scores[name]:.1f} dB", y))
    page = np.ones_like(image)
    h, w = small.shape[2:]
    top, left = (image.shape[2] - h) // 2, (image.shape[3] - w) // 2
    page[:, :, top : top + h, left : left + w] = small.numpy()
    panels.insert(4, (f"shrunk by 10: {w} x {h} pixels", page))
    return panels, scores


def enlargers(seed: int) -> dict[str, Enlarger]:
    """Part 2: the ways to undo max-pooling, each with a convolution of its own."""
    random.manual_seed(seed)
    return {
        "nearest": Enlarger(nn.Upsample(scale_factor=2)),
        "bilinear": Enlarger(nn.Upsample(scale_factor=2, mode="bilinear")),
        "fixed unpooling": Enlarger(nn.FixedUnpool2d(2)),
        "unpooling by indices": Enlarger(nn.MaxUnpool2d(2)),
        "transposed 4, bilinear": Enlarger(transposed(4, 2, "bilinear")),
        "transposed 4, random": Enlarger(transposed(4, 2, "random")),
        "transposed 3, random": Enlarger(transposed(3, 2, "random")),
    }


def restore(photo: Tensor, steps: int, seed: int) -> tuple[list[Panel], dict[str, Any]]:
    """Part 2: train each on the trees, then measure it on the pagoda."""
    image, trees = photo[:, :, *PAGODA], photo[:, :, *TREES]
    flat = minidl.ones((1, 1, 64, 64), device=photo.device)
    original = image.numpy()
    small = F.interpolate(pooled(image)[0], scale_factor=2).numpy()
    above = [("the photograph", original[:, :, *ROOF])]
    below = [("shrunk by 2", small[:, :, *ROOF])]
    metrics: dict[str, dict[str, float]] = {}
    for name, model in enlargers(seed).items():
        model.to(photo.device)
        before, _ = answers(model, image)
        untrained, _ = answers(model, flat)
        fit(model, trees, steps)
        _, after = answers(model, image)
        way, both = answers(model, flat)
        metrics[name] = found = {
            "weights": sum(p.size for p in model.parameters()),
            "psnr": psnr(original, before.numpy()),
            "psnr after": psnr(original, after.numpy()),
            "checkerboard": nyquist_share(untrained),
            "checkerboard trained": nyquist_share(way),
            "checkerboard after": nyquist_share(both),
        }
        above.append((f"{name}\n{found['psnr']:.1f} dB", before.numpy()[:, :, *ROOF]))
        below.append((f"+ convolution\n{found['psnr after']:.1f} dB", after.numpy()[:, :, *ROOF]))
    return above + below, metrics


def nails_are_transposed(device: str) -> float:
    """Largest difference of fixed unpooling and a convolution from one transposed convolution."""
    x, weight = random.uniform((1, 1, 9, 9)).to(device), random.normal((1, 1, 5, 5)).to(device)
    nails = F.conv2d(F.fixed_unpool2d(x, 2), weight, padding=2)
    painted = F.conv_transpose2d(
        x, weight[:, :, ::-1, ::-1], stride=2, padding=2, output_padding=1
    )
    return F.abs(nails - painted).max().item()


def figure_of(width: int, height: int) -> Any:
    """A matplotlib Figure of so many pixels."""
    try:
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise MinidlError(
            message("the pictures need matplotlib", hint="pip install 'minidl[demo]'.")
        ) from cause
    return Figure(figsize=(width / 100, height / 100), dpi=100)


def draw_panels(path: Path, panels: list[Panel], columns: int, scale: int, title: int) -> None:
    """Images in rows under their titles, each pixel a square of scale x scale."""
    _, _, h, w = panels[0][1].shape
    h, w, gap = h * scale, w * scale, 10
    rows = -(-len(panels) // columns)
    width, height = columns * (w + gap) + gap, rows * (h + title + gap)
    figure = figure_of(width, height)
    for i, (name, image) in enumerate(panels):
        left = gap + (i % columns) * (w + gap)
        bottom = height - (i // columns + 1) * (h + title + gap) + gap
        axes = figure.add_axes((left / width, bottom / height, w / width, h / height))
        axes.imshow(np.clip(image[:, 0].transpose(1, 2, 0), 0, 1), interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(name, fontsize=11, pad=4)
    figure.savefig(path)


def draw_checkerboard(path: Path, device: str, seed: int) -> None:
    """How many windows overlap on each pixel; three random layers' answer to a constant image."""
    figure = figure_of(1080, 1140)
    grid = figure.subplots(3, 3)
    figure.subplots_adjust(left=0.06, right=0.99, top=0.92, bottom=0.01, hspace=0.04, wspace=0.05)
    for column, (name, (kernel, resize)) in enumerate(WAYS.items()):
        one = minidl.ones((1, 1, kernel, kernel), device=device)
        counts = twice(minidl.ones((1, 1, 7, 7), device=device), one, resize).numpy()[0, 0]
        counts = counts[2:10, 2:10]
        grid[0, column].imshow(counts, cmap="Blues", vmin=0, vmax=12)
        for (i, j), count in np.ndenumerate(counts):
            grid[0, column].text(j, i, f"{count:.0f}", ha="center", va="center", fontsize=11)
        grid[0, column].set_title(name, fontsize=13)
        for row, start in enumerate(("ones", "random"), 1):
            random.manual_seed(seed)
            y = minidl.ones((1, 1, 16, 16), device=device)
            for _ in range(3):
                y = twice(y, windows(start, kernel, resize, 1, device), resize)
            middle = y.numpy()[0, 0]
            a, b = (n // 2 - 32 for n in middle.shape)
            middle = middle[a : a + 64, b : b + 64]
            middle = middle / middle.mean()
            grid[row, column].imshow(middle, cmap="gray", vmin=0, vmax=2)
    names = ("windows over a pixel", "3 layers, windows of ones", "3 layers, random windows")
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for axes, name in zip(grid[:, 0], names, strict=True):
        axes.set_ylabel(name, fontsize=12)
    figure.suptitle("A constant image enlarged. Below: 0 is black, the mean grey, twice it white.")
    figure.savefig(path)


def main() -> None:
    parser = arguments(__doc__, "06_upsampling")
    add_device_argument(parser)
    args = parser.parse_args()
    photo = Tensor(to_device(photograph(), args.device))
    args.out.mkdir(parents=True, exist_ok=True)

    panels, tenfold = times_ten(photo[:, :, *PAGODA], args.seed)
    draw_panels(args.out / "times_ten.png", panels, 4, scale=1, title=24)
    print("1. Shrunk by 10, enlarged by 10: PSNR in dB. The baseline is nearest.")
    print(table(["", "PSNR", "gain"], [
        [k, f"{v:.2f}", f"{v - tenfold['nearest']:+.2f}"] for k, v in tenfold.items()]))

    panels, twofold = restore(photo, 5 if args.dry_run else 150, args.seed)
    draw_panels(args.out / "unpooling.png", panels, 8, scale=4, title=44)
    print("\n2. Shrunk by 2, enlarged by 2: PSNR in dB, and the checkerboard, of the way as it\n"
          "starts, of the way trained, and of both with the convolution. Baseline: nearest.")
    baseline = twofold["nearest"]["psnr"]
    print(table(
        ["", "weights", "PSNR", "+ conv.", "gain", "checkerboard", "trained", "+ conv."],
        [[name, f"{m['weights']}", f"{m['psnr']:.2f}", f"{m['psnr after']:.2f}",
          f"{m['psnr after'] - baseline:+.2f}", *(f"{m[k]:.2%}" for k in m if "check" in k)]
         for name, m in twofold.items()]))
    difference = nails_are_transposed(args.device)
    print("Fixed unpooling and a convolution are one transposed convolution with the window\n"
          f"turned: largest difference {difference:.1e}.")

    shares = overlap_shares(args.device, args.seed)
    draw_checkerboard(args.out / "checkerboard.png", args.device, args.seed)
    print(f"\n3. Checkerboard by the window, over {WINDOWS} random ones. Baseline: kernel 3.")
    print(table(["", "ones", "random, positive", "random, zero mean"],
                [[k, *(f"{s:.2%}" for s in v.values())] for k, v in shares.items()]))
    metrics = {"times ten": tenfold, "times two": twofold, "checkerboard": shares,
               "unpooling against transposed": difference}
    print(f"\nSaved {write_metrics(args.out, metrics)}, times_ten.png, unpooling.png and "
          "checkerboard.png.")


if __name__ == "__main__":
    main()
