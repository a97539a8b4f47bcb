"""By what a style loss is divided: each source in its own way, each under its name.

F and P are features of one image and of its target, (N channels, M = H W positions); G is the Gram
matrix of F, and A that of the style image, each of so many positions M as its own image has.

    convention         G                style loss of a layer       content loss
    gatys              F F^T / M        sum (G - A)^2 / (4 N^2)     sum (F - P)^2 / 2
    gatys-pytorch      F F^T / M        mean (G - A)^2              mean (F - P)^2
    jcjohnson          F F^T / (N M)    mean (G - A)^2              mean (F - P)^2
    johnson            F F^T / (N M)    sum (G - A)^2               mean (F - P)^2
    pytorch-examples   F F^T / (N M)    mean (G - A)^2              mean (F - P)^2
    relative           F F^T / M        sum (G - A)^2 / sum A^2     sum (F - P)^2 / sum P^2

A weight means nothing without its convention: at N = 512 channels, "gatys-pytorch" makes the same
pair of images N^2 = 262,144 times as far apart as "jcjohnson" does. With images of one size,
"gatys" is the paper's sum (F F^T - P P^T)^2 / (4 N^2 M^2). A batch's loss is the mean over its
images. Variation is a sum in the units that the network sees, bytes for Caffe's weights; by
"relative" it is a mean, in standard deviations of ImageNet's pixels for every network.

Sources: Gatys, Ecker & Bethge 2016, "Image style transfer using convolutional neural networks",
equations 1 to 5 (gatys), and the first author's PyTorch code (gatys-pytorch; Grams of different
sizes as in his DeepTextures); Johnson's neural-style and fast-neural-style (jcjohnson); Johnson,
Alahi & Fei-Fei 2016, "Perceptual losses", equations 2 to 4 (johnson); pytorch/examples
fast_neural_style. "relative" is ours, after He, Wang & Hopcroft 2016, who rescale each layer: it
does not change if a layer's features are all multiplied by one number, so it needs no tuning to a
network.
"""

from __future__ import annotations

from dataclasses import dataclass

from minidl.errors import ArgumentError, message


@dataclass(frozen=True)
class Convention:
    """A choice of divisors of Gram matrices and losses.

    Attributes
    ----------
    gram : {"M", "NM"}
        What a Gram matrix is divided by.
    style : {"quarter", "mean", "sum", "relative"}
        sum / (4 N^2), sum / N^2, sum, or sum / sum A^2.
    content : {"half", "mean", "relative"}
        sum / 2, the mean, or sum / sum P^2.
    variation : {"sum", "mean"}
        Half of it, over the squared differences of neighbouring pixels.
    """

    gram: str
    style: str
    content: str
    variation: str = "sum"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("gram", self.gram, ("M", "NM")),
            ("style", self.style, ("quarter", "mean", "sum", "relative")),
            ("content", self.content, ("half", "mean", "relative")),
            ("variation", self.variation, ("sum", "mean")),
        ):
            if value not in known:
                raise ArgumentError(
                    message(f"Convention: unknown {name} {value!r}", hint=f"choose one of {known}.")
                )


CONVENTIONS = {
    "gatys": Convention("M", "quarter", "half"),
    "gatys-pytorch": Convention("M", "mean", "mean"),
    "jcjohnson": Convention("NM", "mean", "mean"),
    "johnson": Convention("NM", "sum", "mean"),
    "pytorch-examples": Convention("NM", "mean", "mean"),
    "relative": Convention("M", "relative", "relative", "mean"),
}
"""The rows of the table above, by name."""


def find_convention(convention: str | Convention) -> Convention:
    """Find the convention of this name; a Convention is returned as it is.

    Raises
    ------
    ArgumentError
        If none has this name.
    """
    if isinstance(convention, Convention):
        return convention
    if convention not in CONVENTIONS:
        raise ArgumentError(
            message(
                f"there is no convention {convention!r}",
                hint=f"choose one of {', '.join(CONVENTIONS)}.",
            )
        )
    return CONVENTIONS[convention]
