"""Which layers, with which weights: the published settings, by name.

    recipe             network       content       style, each layer     variation  begins   for
    relative           VGG-16, max   relu3_1: 200  relu1_1 .. 4_1: 1000  100        content  any
    gatys              VGG-19, mean  relu4_2: 1    relu1_1 .. 5_1: 200   -          noise    Caffe *
    gatys-pytorch      VGG-19, max   relu4_2: 1    relu1_1 .. 5_1: **    -          content  Caffe
    neural-style       VGG-19, max   relu4_2: 5    relu1_1 .. 5_1: 100   1e-3       noise    Caffe
    fast-neural-style  VGG-16, max   relu3_3: 1    relu1_2 .. 4_3: 5     1e-6       -        Caffe
    pytorch-examples   VGG-16, max   relu2_2: 1e5  relu1_2 .. 4_3: 1e10  -          -        torchv.
    random             VGG-19, mean  relu2_2: 50   relu1_1 .. 4_1: 250   20         noise    random
    random-fast        VGG-16, mean  relu2_2: 50   relu1_1 .. 4_1: 10    3          -        random

    *  scaled so that each filter's mean activation is 1 (``normalise_activations``)
    ** 1000 / N^2, N channels: 0.244 at conv1_1 to 0.0038 at conv5_1

"relative" is ours, and the one for trained weights: each layer's Gram matrix is compared relative
to the style's own, so that no weight has to be found for a picture or a weight file. Only the ratio
of its weights counts, but a thousandth of them all would be lost in L-BFGS, whose first step and
least curvature are absolute numbers. Seen with Caffe's VGG-16 at 256 pixels, 60 to 100 iterations:
a street in whirls and dots, or made of pebbles, its houses still there. Of style's four layers the
mean relative error under that network falls from 0.33 to 0.012 (Starry Night), and from 0.62 to
0.015 (pebbles). Content at relu4_1 or relu4_2 keeps less of the houses.

"gatys" has content : style = 1e-3, and 1/5 for each layer of style. The paper calls its layers
conv1_1 ... conv5_1 and conv4_2; in its Caffe network every ReLU works in place, so the maps of
these names are those behind the ReLU. Taken by the letter, its content, a sum over positions,
outweighs its style, a mean: begun with the content, nothing moves, and from noise comes the
photograph with a touch of the style's colours; with 100 times the style whirls come, with 10,000
times the houses go (VGG-16, 128 pixels, 60 iterations, scaled over 26 photographs).

"gatys-pytorch" is the first author's later program: begun with the content, the weights of the
network as they are, which ends in losses of hundreds of thousands (he prints 1,388,532 after 50
evaluations of 512 pixels, and 368,494 after 500). He takes L-BFGS's steps whole; ``stylise``
searches along each, for weights that are of all orders of size. At 128 and 256 pixels it paints
over most of the houses.

The size of features differs between weight files, and so does the right weight of style: with other
weights than these recipes were made for, expect to change it. Variation is measured on the
normalised picture that the network sees, but for "relative" and the two for random weights, where
it does not depend on the network: see ``minidl.tasks.perceptual.conventions``.

Those of "random" count relative to each other, too: content a fifth of one layer of style. A
smaller variation, 2, leaves coloured grain that the random filters do not see; 60 blurs. A network
that is trained for a style ("random-fast") learns content later than colours: with the weights of
"random" it paints the style's colours over everything for hundreds of steps.

Sources: as in ``minidl.tasks.perceptual.conventions``; the defaults of the programs. "relative" and
"random" were found by trying; of random filters, content deeper than relu2_2 is lost, and max
pooling gives noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from minidl.errors import ArgumentError, message
from minidl.tasks.perceptual.conventions import Convention, find_convention


@dataclass(frozen=True)
class Recipe:
    """The layers that are compared, and the weights of the comparisons.

    Attributes
    ----------
    convention : str or Convention
    content, style : dict of str to float
        Weights of VGG's layers.
    variation : float
        Weight of ``variation_loss``.
    network : {"vgg16", "vgg19"}
    pooling : {"max", "average"}
    normalised : bool
        Whether it is meant for a network after ``normalise_activations``.
    start : {"noise", "content"}
        What a picture that is optimised begins with.
    """

    convention: str | Convention
    content: Mapping[str, float] = field(default_factory=dict)
    style: Mapping[str, float] = field(default_factory=dict)
    variation: float = 0.0
    network: str = "vgg19"
    pooling: str = "max"
    normalised: bool = False
    start: str = "noise"

    def __post_init__(self) -> None:
        find_convention(self.convention)
        weights = [*self.content.values(), *self.style.values(), self.variation]
        if not (self.content or self.style) or not all(0 <= w < float("inf") for w in weights):
            raise ArgumentError(
                message(
                    "Recipe: it needs layers, and weights that are 0 or more",
                    f"received content {dict(self.content)}, style {dict(self.style)}, "
                    f"variation {self.variation}",
                )
            )

    def scaled(
        self, content: float = 1.0, style: float = 1.0, variation: float | None = None
    ) -> Recipe:
        """Copy the recipe with its weights multiplied; ``variation`` replaces its own."""
        return replace(
            self,
            content={name: content * w for name, w in self.content.items()},
            style={name: style * w for name, w in self.style.items()},
            variation=self.variation if variation is None else variation,
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers that are needed, each once."""
        return tuple(dict.fromkeys((*self.content, *self.style)))


_FIRST_OF_STAGE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_CHANNELS_OF_STAGE = (64, 128, 256, 512, 512)
_LAST_OF_STAGE = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")

RECIPES = {
    "relative": Recipe(
        "relative", {"relu3_1": 200}, dict.fromkeys(_FIRST_OF_STAGE[:4], 1e3), 100,
        network="vgg16", start="content",
    ),
    "gatys": Recipe(
        "gatys", {"relu4_2": 1}, dict.fromkeys(_FIRST_OF_STAGE, 1e3 / 5),
        pooling="average", normalised=True,
    ),
    "gatys-pytorch": Recipe(
        "gatys-pytorch", {"relu4_2": 1},
        {name: 1e3 / c**2 for name, c in zip(_FIRST_OF_STAGE, _CHANNELS_OF_STAGE, strict=True)},
        start="content",
    ),
    "neural-style": Recipe("jcjohnson", {"relu4_2": 5}, dict.fromkeys(_FIRST_OF_STAGE, 1e2), 1e-3),
    "fast-neural-style": Recipe(
        "jcjohnson", {"relu3_3": 1}, dict.fromkeys(_LAST_OF_STAGE, 5), 1e-6, network="vgg16"
    ),
    "pytorch-examples": Recipe(
        "pytorch-examples", {"relu2_2": 1e5}, dict.fromkeys(_LAST_OF_STAGE, 1e10),
        network="vgg16",
    ),
    "random": Recipe(
        "relative", {"relu2_2": 50}, dict.fromkeys(_FIRST_OF_STAGE[:4], 250), 20, pooling="average"
    ),
    "random-fast": Recipe(
        "relative", {"relu2_2": 50}, dict.fromkeys(_FIRST_OF_STAGE[:4], 10), 3,
        network="vgg16", pooling="average",
    ),
}
"""The rows of the table above, by name."""


def usual_recipe(pretrained: bool) -> str:
    """The name of the recipe that suits a network with any trained weights, or with random ones."""
    return "relative" if pretrained else "random"


def find_recipe(recipe: str | Recipe) -> Recipe:
    """Find the recipe of this name; a Recipe is returned as it is.

    Raises
    ------
    ArgumentError
        If none has this name.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ArgumentError(
            message(f"there is no recipe {recipe!r}", hint=f"choose one of {', '.join(RECIPES)}.")
        )
    return RECIPES[recipe]
