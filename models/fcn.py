"""FCN: a classifier made convolutional, its coarse scores enlarged to one per pixel.

    x (N, 3, H, W) -> logits (N, classes, H, W)

VGG-16's fully connected layers become convolutions, so the network scores every
place it fits. That gives one score per 32 pixels. Transposed convolutions that
start as bilinear interpolation enlarge the scores; FCN-16s and FCN-8s add the
scores of pool4 and pool3 on the way, which know better *where*.

    layer           window  channels    500x500   8s adds
    conv1_1, 1_2    3          64       698       (100 zeros around the image)
    pool1           2          64       349
    stage 2, pool2  3, 2      128       175
    stage 3, pool3  3, 2      256        88       score_pool3, cropped by 9
    stage 4, pool4  3, 2      512        44       score_pool4, cropped by 5
    stage 5, pool5  3, 2      512        22
    fc6, fc7        7, 1     4096        16       dropout 0.5 after each
    score_fr        1        classes     16
    upscore2        4        classes     34       + score_pool4
    upscore_pool4   4        classes     70       + score_pool3
    upscore8       16        classes    568       cropped by 31

Trained parameters with 21 classes: 134,346,581 (32s), 134,357,354 (16s),
134,362,751 (8s). The network starts from VGG-16 (``copy_vgg16``), and each of
the three from the one before.

Source: Long, Shelhamer & Darrell 2015, "Fully convolutional networks for
semantic segmentation", sections 3 and 4, and the authors' release of reference
models, whose padding, crops and fixed enlargement are the defaults here. Where
convolutions start when no VGG-16 is copied is ours: normal, as He et al. 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minidl import Tensor, nn
from minidl.errors import ArgumentError, CheckpointError, message
from minidl.models.width import scaled

VGG16_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of VGG-16's convolutions, stage by stage; a max-pool ends each stage."""

VGG16_FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Numbers of these convolutions in torchvision's ``features``."""

PADDINGS = ("release", "same")
UPSAMPLINGS = ("release", "paper", "learned")


class FCN(nn.Module):
    """FCN-32s, FCN-16s or FCN-8s.

    (N, C, H, W) -> (N, classes, H, W)

    Parameters
    ----------
    classes : int
        21 in PASCAL VOC, the background among them.
    stride : {8, 16, 32}
        Pixels between the scores that the last enlargement starts from.
    at_once : bool
        Scale pool4 by 0.01 and pool3 by 0.0001 before they are scored, so that
        FCN-16s and FCN-8s can be trained in one go.
    padding : {"release", "same"}
        "release": 100 zeros around the image, no others at fc6, and crops that
        align the maps. "same": every convolution keeps the size, so that
        nothing is left to crop and small images are not mostly zeros.
    upsampling : {"release", "paper", "learned"}
        Which enlargements stay bilinear: all ("release"), the last one only
        ("paper"), or none of them.
    width : float
        Scales the number of channels of all layers but the scores.
    in_channels : int
        C.
    """

    def __init__(
        self,
        classes: int = 21,
        stride: int = 8,
        at_once: bool = False,
        padding: str = "release",
        upsampling: str = "release",
        width: float = 1.0,
        in_channels: int = 3,
    ):
        super().__init__()
        _check("stride", stride, (8, 16, 32))
        _check("upsampling", upsampling, UPSAMPLINGS)
        self.stride, self.crops = stride, crop_offsets(stride, padding)
        self.shares = (1e-2, 1e-4) if at_once else (1.0, 1.0)
        same = padding == "same"
        plan = vgg16_plan(in_channels, width)
        self.stages = nn.ModuleList(_stage(layers) for layers in plan)
        self.stages[0].conv1_1.padding = (1, 1) if same else (100, 100)
        third, fourth, last = (plan[level][-1][2] for level in (2, 3, 4))
        hidden = scaled(4096, width)
        self.classifier = nn.Sequential({
            "fc6": nn.Conv2d(last, hidden, 7, padding=3 if same else 0),
            "relu6": nn.ReLU(), "drop6": nn.Dropout(),
            "fc7": nn.Conv2d(hidden, hidden, 1),
            "relu7": nn.ReLU(), "drop7": nn.Dropout(),
        })
        self.score_fr = nn.Conv2d(hidden, classes, 1)
        if stride < 32:
            between = upsampling != "release"
            self.upscore2 = _enlarge(classes, 2, same, between)
            self.score_pool4 = nn.Conv2d(fourth, classes, 1)
        if stride < 16:
            self.upscore_pool4 = _enlarge(classes, 2, same, between)
            self.score_pool3 = nn.Conv2d(third, classes, 1)
        name = "upscore" if stride == 32 else f"upscore{stride}"
        self.last = name
        self.add_module(name, _enlarge(classes, stride, same, upsampling == "learned"))
        self._start()

    def _start(self) -> None:
        """Set initial values: scores of 0, so that a new skip first changes nothing."""
        for path, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
                if path.startswith("score"):
                    nn.init.zeros_(layer.weight)
                else:
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each pixel."""
        pools, y = [], x
        for stage in self.stages:
            y = stage(y)
            pools.append(y)
        score = self.score_fr(self.classifier(y))
        crops = iter(self.crops)
        if self.stride < 32:
            skip = self.score_pool4(pools[3] * self.shares[0])
            score = _add(self.upscore2(score), skip, next(crops))
        if self.stride < 16:
            skip = self.score_pool3(pools[2] * self.shares[1])
            score = _add(self.upscore_pool4(score), skip, next(crops))
        enlarged = getattr(self, self.last)(score)
        return _crop(enlarged, next(crops), x.shape[2], x.shape[3])

    def copy_vgg16(self, state: Mapping[str, Any]) -> None:
        """Start from a VGG-16 of torchvision's names; see ``copy_vgg16``."""
        copy_vgg16(self, state)


def fcn32s(classes: int = 21, **settings: Any) -> FCN:
    """FCN-32s, the coarse network: enlarged by 32 in one step; settings as in ``FCN``."""
    return FCN(classes, 32, **settings)


def fcn16s(classes: int = 21, **settings: Any) -> FCN:
    """FCN-16s, with the scores of pool4; settings as in ``FCN``."""
    return FCN(classes, 16, **settings)


def fcn8s(classes: int = 21, **settings: Any) -> FCN:
    """FCN-8s, with the scores of pool4 and pool3; settings as in ``FCN``."""
    return FCN(classes, 8, **settings)


# --- geometry ---


def crop_offsets(stride: int, padding: str = "release") -> tuple[int, ...]:
    """The offset at which each map begins before the one that it must lie on, in its own cells.

    Follows the centre of the top left cell, in pixels of the image. A pooling
    moves it by half of its input's step; a window without padding by its
    radius; a transposed convolution back by the radius of its own window.

    Returns
    -------
    tuple of int
        Offsets for pool4 and pool3, as far as ``stride`` uses them, then for the end.
    """
    _check("padding", padding, PADDINGS)
    same = padding == "same"
    centre, step = (0.0 if same else 1.0 - 100.0), 1
    centres = {}
    for _ in VGG16_CHANNELS:
        centre += step / 2
        step *= 2
        centres[step] = centre
    centre += 0 if same else 3 * step  # fc6
    offsets = []
    while step > stride:
        step //= 2
        centre -= (0.5 if same else 1.5) * step  # a window of 4, of which "same" cuts 1
        offsets.append((centre - centres[step]) / step)
    centre -= (stride - 1) / 2 if same else stride - 0.5  # a window of 2 stride
    return tuple(int(offset) for offset in (*offsets, -centre))


def _crop(x: Tensor, offset: int, height: int, width: int) -> Tensor:
    return x[:, :, offset : offset + height, offset : offset + width]


def _add(score: Tensor, skip: Tensor, offset: int) -> Tensor:
    """Add scores where both are. With "same", the enlarged score of an odd map is larger."""
    height, width = (min(score.shape[a], skip.shape[a] - offset) for a in (2, 3))
    return _crop(score, 0, height, width) + _crop(skip, offset, height, width)


# --- layers ---


def _stage(layers: list[tuple[str, int, int]]) -> nn.Sequential:
    """A stage: 3x3 convolutions, ReLU, then a pool that keeps an odd last row, as Caffe's does."""
    parts: dict[str, nn.Module] = {}
    for name, c, o in layers:
        parts[name] = nn.Conv2d(c, o, 3, padding=1)
        parts[name.replace("conv", "relu")] = nn.ReLU()
    return nn.Sequential({**parts, "pool": nn.MaxPool2d(2, ceil_mode=True)})


def _enlarge(classes: int, scale: int, same: bool, learned: bool) -> nn.ConvTranspose2d:
    """A transposed convolution that starts as bilinear interpolation.

    One that stays so need not look at other classes' scores: a group per class
    leaves out the zeros between them.
    """
    groups = 1 if learned else classes
    layer = nn.ConvTranspose2d(
        classes, classes, 2 * scale, scale, scale // 2 if same else 0, groups=groups, bias=False
    )
    nn.init.bilinear_(layer.weight, groups)
    layer.weight.requires_grad_(learned)
    return layer


def _check(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ArgumentError(
            message(f"FCN: unknown {name} {value!r}", hint=f"choose one of {choices}.")
        )


# --- VGG-16, which SegNet and DeconvNet start from too ---


def vgg16_plan(in_channels: int, width: float) -> list[list[tuple[str, int, int]]]:
    """VGG-16's convolutions, stage by stage: name, C, O."""
    plan, c = [], in_channels
    for i, stage in enumerate(VGG16_CHANNELS, 1):
        layers = []
        for j, channels in enumerate(stage, 1):
            o = scaled(channels, width)
            layers.append((f"conv{i}_{j}", c, o))
            c = o
        plan.append(layers)
    return plan


def copy_vgg16(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Copy a VGG-16's weights into layers called conv1_1 ... conv5_3, fc6 and fc7.

    Parameters
    ----------
    model : Module
        Without fc6 and fc7, those of the VGG-16 are left out.
    state : mapping of str to array
        torchvision's names: ``features.0.weight`` ... ``classifier.3.bias``. A
        fully connected layer is a convolution whose window is the whole image,
        so its matrix is only reshaped.

    Raises
    ------
    CheckpointError
        If something is missing or of another shape; nothing has been changed then.
    """
    paths = {path.rpartition(".")[2]: path for path, _ in model.named_modules()}
    names = [name for stage in vgg16_plan(3, 1.0) for name, _, _ in stage]
    origins = dict(zip(names, (f"features.{n}" for n in VGG16_FEATURES), strict=True))
    origins |= {n: f"classifier.{k}" for n, k in (("fc6", 0), ("fc7", 3)) if n in paths}
    wanted = {f"{paths[n]}.{kind}": f"{origin}.{kind}"
              for n, origin in origins.items() for kind in ("weight", "bias")}
    missing = [origin for origin in wanted.values() if origin not in state]
    if missing:
        raise CheckpointError(
            message(
                "copy_vgg16: these weights are missing: " + ", ".join(missing),
                hint="the names must be torchvision's, of a VGG-16 without batch norm.",
            )
        )
    targets = dict(model.named_parameters())
    values = {own: state[origin] for own, origin in wanted.items()}
    for own, value in values.items():
        if value.ndim == 2 and value.size == targets[own].size:
            values[own] = value.reshape(targets[own].shape)
    model.load_state_dict(values, strict=False)


def parameter_groups(model: FCN, lr: float) -> list[dict[str, Any]]:
    """The reference code's groups for an optimiser: biases at twice the rate, without decay.

    With ``SGD(parameter_groups(model, lr), lr, momentum=0.99, weight_decay=5e-4)``, the loss summed
    over the pixels of one image, it trains at rates of 1e-10 (32s), 1e-12 (16s), 1e-14 (8s).

    These rates belong to Caffe's VGG-16, whose maps of BGR bytes are large (of a photograph, root
    mean squares of 670 at pool3 and 130 at pool4): copy it, under torchvision's names and with its
    fc6 and fc7, and give images ``vgg.normalise(x, "ilsvrc")``. With torchvision's weights and
    inputs, sixty times as small, the loss of a pixel falls by 3e-5 where it should fall by 0.10.
    """
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    weights = [p for name, p in model.named_parameters() if not name.endswith("bias")]
    return [{"params": weights}, {"params": biases, "lr": 2 * lr, "weight_decay": 0.0}]
