"""Depth from one view, learned without any depth: a second view is enough.

Garg et al. 2016 train a network that sees the left view alone. It gives a disparity, the *right*
view is warped by it, and the loss is how little that looks like the left one, plus a penalty on
slopes (gamma 0.01, the paper's). Nobody tells it a distance. Here a small one (355,615 parameters)
learns so from 300 generated pairs of 48x96 pixels and their mirror images, first on a grid of 6x12,
then on three finer ones. What came out on 60 held-out scenes, by seed 0 (all defaults, two and a
half minutes on one core):

                          abs rel  sq rel  RMSE, m  RMSE log  within 1.25  off by, px
    one depth for all      0.353    1.493    4.32     0.479      0.337        1.86
    mean of each pixel     0.254    0.898    3.08     0.329      0.525        1.21
    block matching         0.060    0.289    1.51     0.138      0.947        0.28
    net, exact slope       0.151    0.446    2.44     0.230      0.791        0.74
    net, Taylor slope      0.154    0.438    2.41     0.230      0.786        0.76

The first two baselines are *given* the true depths of the training scenes, which the net never
sees; it still more than halves the error of the first and takes 40 % off that of the second, which
knows that floors are below and far ends in the middle. Block matching is no rival but a bound: it
sees both views of the very scene. Where the right camera sees nothing, though, the net is ahead,
off by 1.17 px to 1.25. Seed 1 agrees: 0.143 and 0.146 against 0.349, 0.240 and 0.057.

Which derivative makes no difference here: that of the interpolation ("exact"), or the paper's, of
the image made linear. It does on one real pair, Middlebury's motorcycle at 120x184. There no
network is trained: a free field, one number per pixel, is fitted to that one pair by the same
loss, 200 steps of Adam on each of four grids. Its measured disparities are the truth:

                                   off by, px  over 1 px  over 2 px
    one disparity for all             3.66       0.940      0.856
    block matching, SAD               1.02       0.220      0.140
    block matching, NCC               0.73       0.147      0.091
    field, exact slope                1.27       0.305      0.204
    field, Taylor slope               0.96       0.259      0.153
    finest grid alone, exact slope    3.54       0.591      0.490
    finest grid alone, Taylor slope   2.05       0.410      0.295

(The single disparity is the truth's own median.) Taylor's slope looks at neighbours on both sides
of a pixel and gets out of holes in which the exact one stays: the front wheel. (Its best of four
gammas tried, 0.03, brings the exact one to 1.19.) And coarse to fine is what makes it work: as
many steps on the finest grid only, and most of the field is lost. Block matching by correlation
(NCC) still wins. It does not mind a view that is locally a little brighter, which a plain
difference takes for a wrong disparity: once each window's mean is subtracted, SAD has 0.70, too.

What does not work: edges. A quadratic penalty spreads a step over many pixels, so boxes come out
as hills, small or far ones not at all; and a wall nearer than most is taken for an ordinary
one. The blur is no failure to minimise, it is asked for: over their last epoch the nets have a
mean loss of 0.0077 and 0.0074, though off by most of a pixel; the true disparities have 0.0078
(training.png).
The scenes are simpler than a street: a texture's scale tells distance, light never changes.

``--preset paper`` trains L9 to L12 on KITTI's raw drives. It has only been run on a tiny folder of
the same form.

Writes tables, metrics.json, depth.png, training.png and motorcycle.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl import Tensor, no_grad, random
from minidl.compute.arrays import to_device
from minidl.data import (
    ArrayDataset,
    DataLoader,
    StereoScenes,
    focal_and_baseline,
    kitti_drives,
    kitti_raw,
    laser_depth,
    read_calibration,
    read_image,
    read_points,
    stereo_scenes,
)
from minidl.errors import DataError
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.models.garg import Garg
from minidl.nn import Parameter
from minidl.optim import SGD, Adam, LambdaLR, MultiStepLR
from minidl.tasks.depth import (
    GARG_CROP,
    ResizedPair,
    block_matching,
    depth_from_disparity,
    depth_metrics,
    mean_metrics,
    mirrored,
    motorcycle,
    photometric,
    quadratic_smoothness,
    warp,
)
from minidl.tasks.depth.losses import PAPER_GAMMA
from minidl.train import fit

LEVELS = 4
NET: dict[str, Any] = {"widths": (24, 48, 64, 64, 64), "hidden": 128, "kernel": 7,
                       "padding": "same", "upsampling": "fixed"}
GAMMA = 0.01
"""Of the smoothness, for images in [0, 1]."""
FINEST = "finest grid alone"
COMPARED = ("block matching, NCC", "field, Taylor slope")
BATCH, RATE = 8, 1e-3
NETS = {"exact": "net, exact slope", "taylor": "net, Taylor slope"}
LARGEST, WINDOW = 14, 5
"""Pixels: the largest shift that block matching tries, and the side of its windows."""
COLUMNS = {"abs_rel": "abs rel", "sq_rel": "sq rel", "rmse": "RMSE, m", "rmse_log": "RMSE log",
           "delta_1": "within 1.25", "pixels": "off by, px"}

PAPER_WEIGHT = 100.0

FIELD_SHRINK, FIELD_LARGEST = 4, 18
FIELD_RATE, FIELD_START = 0.05, 4.0

Maps = np.ndarray
"""Disparities, (N, 1, H, W)."""


class Size(NamedTuple):
    """How much of everything."""

    pairs: int
    test: int
    epochs: tuple[int, ...]
    """Of each level, over all pairs and their mirror images."""
    steps: tuple[int, ...]
    """Of each level of the motorcycle's field."""


FULL = Size(pairs=300, test=60, epochs=(5, 3, 3, 4), steps=(200, 200, 200, 200))
DRY = Size(pairs=8, test=3, epochs=(1, 1, 1, 1), steps=(3, 3, 3, 3))


# --- a network that sees one view, trained with two ---


def doubled(pairs: StereoScenes) -> ArrayDataset:
    """All pairs, and all again in a mirror, which swaps the cameras: disparities stay positive."""
    views = zip((pairs.left, pairs.right), mirrored(pairs.left, pairs.right), strict=True)
    return ArrayDataset(*(np.concatenate(each) for each in views))


def energy(left: Any, right: Any, disparity: Any, derivative: str = "exact") -> Tensor:
    """The paper's loss, on any grid: both views in the size of the disparity."""
    rebuilt = warp(right, disparity, derivative, padding_mode="border")
    return photometric(rebuilt, left) + GAMMA * quadratic_smoothness(disparity)


def learned(pairs: StereoScenes, derivative: str, size: Size, args: Any) -> tuple[Garg, list]:
    """A network trained from coarse to fine, and the mean loss of each epoch of each level."""
    random.manual_seed(args.seed)
    net = Garg(**NET).to(args.device)
    losses = []
    for level, epochs in enumerate(size.epochs):
        loader = DataLoader(doubled(pairs), BATCH, shuffle=True, drop_last=True,
                            seed=args.seed, device=args.device)
        optimizer = Adam(net.trained_by(level), lr=RATE)
        late = round(0.7 * epochs * len(loader))

        def loss(net: Garg, batch: Any, level: int = level) -> Tensor:
            left, right = (net.seen(x, level) for x in batch)
            return energy(left, right, net(batch[0], level), derivative)

        history = fit(net, loader, optimizer, loss, epochs=epochs,
                      schedule=MultiStepLR(optimizer, [late], 0.25))
        losses.append([row["loss"] for row in history])
    return net.eval(), losses


def foretold(net: Garg, left: np.ndarray, device: str) -> Maps:
    """What the network makes of left views, a few at a time."""
    with no_grad():
        parts = [net(Tensor(to_device(part, device))).to("cpu").numpy()
                 for part in np.split(left, range(20, len(left), 20))]
    return np.concatenate(parts)


def losses_of_truth(scenes: StereoScenes) -> list[float]:
    """The same energy for the true disparities, level by level: no network need be below it."""
    found = []
    for level in range(LEVELS):
        factor = 2 ** (LEVELS - 1 - level)
        left, right, disparity = (
            F.avg_pool2d(Tensor(x), factor) for x in (scenes.left, scenes.right, scenes.disparity)
        )
        found.append(energy(left, right, disparity * (1 / factor)).item())
    return found


# --- baselines and measures ---


def baselines(learnt: StereoScenes, held_out: StereoScenes) -> dict[str, Maps]:
    """Two that know the training scenes' true depths, and one that sees both views."""
    like = np.zeros_like(held_out.disparity)
    views = zip(held_out.left, held_out.right, strict=True)
    matched = [block_matching(*pair, LARGEST, WINDOW)[0][None] for pair in views]
    return {
        "one depth for all": like + np.median(learnt.disparity),
        "mean of each pixel": like + learnt.disparity.mean(0),
        "block matching": np.stack(matched),
    }


def measured(predicted: Maps, scenes: StereoScenes) -> dict[str, float]:
    """The usual measures of depth, and the mean error of the disparity."""
    width = predicted.shape[-1]

    def depth(disparity: np.ndarray) -> np.ndarray:
        return depth_from_disparity(disparity, scenes.focal, scenes.baseline, width)

    each = zip(depth(predicted[:, 0]), depth(scenes.disparity[:, 0]), strict=True)
    off = np.abs(predicted - scenes.disparity)
    places = {"": off, "_visible": off[scenes.visible], "_hidden": off[~scenes.visible]}
    return {
        **mean_metrics([depth_metrics(p, g) for p, g in each]),
        **{f"pixels{where}": float(values.mean()) for where, values in places.items()},
    }


# --- one real pair ---


def fitted(left: np.ndarray, right: np.ndarray, steps: tuple[int, ...], derivative: str,
           device: str) -> np.ndarray:
    """A free disparity field of one pair, from coarse to fine: (3, H, W) twice -> (H, W).

    No network: every pixel has a number of its own.
    """
    views = [Tensor(to_device(x[None], device)) for x in (left, right)]
    field: Tensor | None = None
    for level, count in enumerate(steps):
        factor = 2 ** (len(steps) - 1 - level)
        small, other = (F.avg_pool2d(x, factor) if factor > 1 else x for x in views)
        start = small[:, :1] * 0 + FIELD_START / factor
        if field is not None:
            h, w = small.shape[2:]
            start = 2 * F.interpolate(field.detach(), (h, w), mode="bilinear")
        field = Parameter(start.detach().data)
        optimizer = Adam([field], lr=FIELD_RATE)
        schedule = MultiStepLR(optimizer, [round(0.7 * count)], 0.25)
        for _ in range(count):
            optimizer.zero_grad()
            energy(small, other, field, derivative).backward()
            optimizer.step()
            schedule.step()
    assert field is not None
    return field.detach().to("cpu").numpy()[0, 0]


def measured_pair(disparity: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Where the truth is known: the mean error in pixels, and the share that is off by more."""
    off = np.abs(disparity - truth)[np.isfinite(truth)]
    return {"pixels": float(off.mean()), **{f"over_{n}": float((off > n).mean()) for n in (1, 2)}}


def real_pair(size: Size, device: str) -> tuple[Any, dict[str, np.ndarray]]:
    """The motorcycle, and everyone's disparity of it."""
    pair = motorcycle(FIELD_SHRINK)
    # Whole cells on the coarsest of the four grids.
    h, w = (8 * (side // 8) for side in pair.disparity.shape)
    pair = type(pair)(*(each[..., :h, :w] for each in pair))
    found = {"one disparity for all": np.full((h, w), np.nanmedian(pair.disparity))}
    for name in ("SAD", "NCC"):
        matched, _ = block_matching(pair.left, pair.right, FIELD_LARGEST, 7, name.lower())
        found[f"block matching, {name}"] = matched
    for name, steps in {"field": size.steps, FINEST: (sum(size.steps),)}.items():
        for kind, net in NETS.items():  # named alike
            found[net.replace("net", name)] = fitted(pair.left, pair.right, steps, kind, device)
    return pair, found


# --- the paper's setting ---


def paper(args: Any) -> None:
    """L9 to L12 on KITTI's raw drives, each stage with a folder of its own, resumable.

    From memory: sizes, rate, momentum, decay, augmentation. Not known to us: the range of the
    images, how the sums are normalised, how many epochs, which drives. Here images are in [0, 1],
    the loss is a mean over pixels times PAPER_WEIGHT, and the last tenth of the drives is held out.
    """
    size, drives = (188, 620), kitti_drives(args.data)
    held = drives[-max(len(drives) // 10, 1) :]
    change = ResizedPair(size, zoom=1.6, colour=0.1, mirror=True)
    pairs = kitti_raw([d for d in drives if d not in held] or drives, change)
    net = (Garg(widths=(8,) * 5, hidden=16) if args.dry_run else Garg()).to(args.device)
    epochs = 1 if args.dry_run else 10
    for level in range(LEVELS):
        loader = DataLoader(pairs, 1 if args.dry_run else 16, shuffle=True, workers=4,
                            seed=args.seed, device=args.device)
        optimizer = SGD(net.trained_by(level), lr=0.01, momentum=0.9, weight_decay=5e-4)

        def rate(step: int, steps: int = len(loader)) -> float:
            n = 1 + step // steps
            return (1 + 5e-4 * n) ** (1 - n)

        def loss(net: Garg, batch: Any, level: int = level) -> Tensor:
            left, right = (net.seen(x, level) for x in batch)
            disparity = net(batch[0], level)
            rebuilt = warp(right, disparity, "taylor", "border")
            smooth = quadratic_smoothness(disparity)
            return PAPER_WEIGHT * (photometric(rebuilt, left) + PAPER_GAMMA * smooth)

        fit(net, loader, optimizer, loss, epochs=epochs, schedule=LambdaLR(optimizer, rate),
            out=args.out / f"L{9 + level}", resume=args.resume)
    found = laser_measures(net.eval(), held, size, args)
    print(table(["L12", ""], [[name, value] for name, value in found.items()]))
    print(f"Saved {write_metrics(args.out, found)}")


def laser_measures(net: Garg, drives: list[Path], size: tuple[int, int], args: Any
                   ) -> dict[str, float]:
    """Against the laser, 1 to 50 m, inside Garg's crop, every tenth image of these drives."""
    found = []
    for drive in drives:
        cameras, laser = (read_calibration(drive.parent / f"calib_{name}.txt")
                          for name in ("cam_to_cam", "velo_to_cam"))
        focal, baseline = focal_and_baseline(cameras)
        for path, _ in kitti_raw([drive]).files[::10]:
            points = drive / "velodyne_points" / "data" / f"{path.stem}.bin"
            if points.is_file():
                image = read_image(path)
                h, w = image.shape[1:]
                resized, _ = ResizedPair(size)(image, image, np.random.default_rng(0))
                disparity = foretold(net, resized[None], args.device)
                rim = (size[1] - disparity.shape[3]) // 2
                whole = F.pad(disparity, [rim] * 4, "replicate")  # the net leaves out a rim
                fine = F.interpolate(whole, (h, w), mode="bilinear").numpy()[0, 0]
                depth = depth_from_disparity(fine * (w / size[1]), focal, baseline, w)
                given = laser_depth(read_points(points), cameras, laser, (h, w))
                found.append(depth_metrics(depth, given, crop=GARG_CROP))
    return mean_metrics(found)


# --- pictures ---


def panels(rows: int, columns: int, width: float, height: float, ticks: bool = False) -> Any:
    """A figure and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel in [] if ticks else axes.flat:
        panel.set(xticks=[], yticks=[])
    return figure, axes


def draw_scenes(path: Path, scenes: StereoScenes, maps: dict[str, Maps], chosen: list[int]) -> bool:
    """A row per scene: the left view, the truth, and everyone's disparity, in one scale."""
    try:
        figure, axes = panels(len(chosen), 2 + len(maps), 15.6, 0.98 * len(chosen) + 0.4)
    except ImportError:
        return False
    for i, (row, scene) in enumerate(zip(axes, chosen, strict=True)):
        row[0].imshow(scenes.left[scene].transpose(1, 2, 0))
        shown = {"the truth": scenes.disparity, **maps}
        for panel, (name, disparity) in zip(row[1:], shown.items(), strict=True):
            drawn = panel.imshow(disparity[scene, 0], cmap="magma", vmin=0, vmax=10)
            if i == 0:
                panel.set_title(name, fontsize=11)
    axes[0, 0].set_title("left view", fontsize=11)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.01, extend="max")
    bar.set_label("disparity, pixels (large: near)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=95)
    return True


def draw_training(path: Path, losses: dict[str, list], truth: list[float]) -> None:
    """The loss of each epoch, level by level, and what the true disparities would have."""
    figure, axes = panels(1, LEVELS, 13, 3.4, ticks=True)
    for level, panel in enumerate(axes[0]):
        for name, colour in zip(losses, ("tab:blue", "tab:orange"), strict=True):
            values = losses[name][level]
            scaled = [1000 * value for value in values]
            panel.plot(range(1, len(values) + 1), scaled, "o-", color=colour, label=name)
        panel.axhline(1000 * truth[level], color="black", ls="--", label="the true disparities")
        factor = 2 ** (LEVELS - 1 - level)
        panel.set_title(f"level {level}: {48 // factor} x {96 // factor}")
        panel.set(xlabel="epoch", xticks=range(1, len(values) + 1), ylim=(0, None))
    axes[0, 0].set_ylabel("mean loss of an epoch, times 1000")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=95)


def draw_pair(path: Path, pair: Any, maps: dict[str, np.ndarray]) -> None:
    """The left view, the given disparity, everyone's, and how far two of them are off."""
    figure, axes = panels(2, 4, 15.6, 5.4)
    axes[0, 0].imshow(pair.left.transpose(1, 2, 0))
    axes[0, 0].set_title("left view", fontsize=11)
    shown = {"given (white: unknown)": pair.disparity, **maps}
    del shown["one disparity for all"]  # a single colour
    for panel, (name, disparity) in zip(axes.flat[1:6], shown.items(), strict=False):
        drawn = panel.imshow(disparity, cmap="magma", vmin=0, vmax=16)
        panel.set_title(name, fontsize=11)
    for panel, name in zip(axes[1, 2:], COMPARED, strict=True):
        off = panel.imshow(np.abs(maps[name] - pair.disparity), cmap="viridis", vmin=0, vmax=3)
        panel.set_title(f"{name}: error", fontsize=11)
    figure.colorbar(drawn, ax=axes[0], shrink=0.95, extend="max").set_label("disparity, pixels")
    figure.colorbar(off, ax=axes[1], shrink=0.95, extend="max").set_label("error, pixels")
    figure.savefig(path, dpi=95)


def main() -> None:
    parser = arguments(__doc__, "14_depth")
    add_device_argument(parser)
    add_preset_arguments(parser, "KITTI's raw data: DATE/DATE_drive_NNNN_sync/, DATE/calib_*.txt")
    args = parse_with_preset(parser)
    if args.preset == "paper":
        paper(args)
        return
    size = DRY if args.dry_run else FULL
    # Two seeds for two sets, none of them shared by another run's sets.
    print(f"Drawing {size.pairs + size.test} stereo pairs.")
    learnt = stereo_scenes(size.pairs, seed=2 * args.seed, progress=True)
    held_out = stereo_scenes(size.test, seed=2 * args.seed + 1, progress=True)
    maps, losses = baselines(learnt, held_out), {}
    for derivative, name in NETS.items():
        net, losses[name] = learned(learnt, derivative, size, args)
        maps[name] = foretold(net, held_out.left, args.device)
    metrics: dict[str, Any] = {name: measured(each, held_out) for name, each in maps.items()}
    metrics["losses"] = losses | {"truth": losses_of_truth(learnt)}
    print(f"{size.pairs} pairs to learn from, {size.test} held-out scenes, of which one view is "
          "seen\n(but by block matching, which sees both).\n")
    rows = [[name, *(metrics[name][k] for k in COLUMNS)] for name in maps]
    print(table(["", *COLUMNS.values()], rows))
    drawn = draw_scenes(args.out / "depth.png", held_out, maps, list(range(min(6, size.test))))
    if drawn:
        draw_training(args.out / "training.png", losses, metrics["losses"]["truth"])
    try:
        pair, fields = real_pair(size, args.device)
    except DataError as cause:
        print(f"\nWithout the real pair: {cause}")
    else:
        metrics["motorcycle"] = {n: measured_pair(d, pair.disparity) for n, d in fields.items()}
        print("\nA real pair, 120 x 184, no network: one disparity for each pixel")
        print(table(["", "off by, px", "over 1 px", "over 2 px"],
                    [[n, *m.values()] for n, m in metrics["motorcycle"].items()]))
        if drawn:
            draw_pair(args.out / "motorcycle.png", pair, fields)
    print(f"\nSaved {write_metrics(args.out, metrics)}")


if __name__ == "__main__":
    main()
