"""Masci et al.'s stacked convolutional autoencoder, and the classifier that starts from it.

A layer has one set of filters W for both ways, a bias for each map b, and c for each channel:

    h = act(x * W + b)                        valid:  (N, C, H, W) -> (N, O, I, J)
    y = act(unpooled(pooled(h)) * W~ + c)     full:   back to (N, C, H, W)

W~ is W turned upside down and left to right, so that the way back is the transposed convolution.
Pooling keeps the largest of each 2x2 cell; on the way back it returns to where it stood and the
other three are 0, which is all that keeps the maps sparse. Layers are trained one after the
other, each on the pooled maps of those below; then the stack is the start of a classifier.

    28x28 -> 100 maps, 5x5 -> pool -> 150 maps, 5x5 -> pool -> 200 maps, 3x3 -> 300 -> 10

Source: Masci, Meier, Ciresan & Schmidhuber 2011, "Stacked convolutional auto-encoders for
hierarchical feature extraction". Known to us from memory, not from the text, are the sizes
above, the scaled tanh 1.7159 tanh(2 x / 3), that the third layer has no pool, and the loss, half
the squared error. The start of the filters is ours (uniform, by fan-in, as torch.nn's).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import minidl.functional as F
from minidl import Tensor, nn, no_grad
from minidl.errors import ArgumentError, message

MNIST_LAYERS = ((100, 5, True), (150, 5, True), (200, 3, False))
"""Maps, window, and whether a 2x2 max-pool follows, for each layer of MNIST's stack."""


def scaled_tanh(x: Tensor) -> Tensor:
    """The activation 1.7159 tanh(2 x / 3): 1 at 1, and -1 at -1."""
    return 1.7159 * F.tanh(x * (2 / 3))


class ConvAutoencoderLayer(nn.Module):
    """A layer of the stack: (N, C, H, W) -> (N, O, I, J), pooled or not, and back.

    Parameters
    ----------
    channels, maps : int
        C and O.
    window : int
        K = L.
    pool : bool
        Whether a 2x2 max-pool follows; I and J before it must then be even.
    """

    def __init__(self, channels: int, maps: int, window: int, pool: bool):
        super().__init__()
        self.pool = pool
        self.weight = nn.Parameter(np.empty((maps, channels, window, window), np.float32))
        self.bias = nn.Parameter(np.zeros(maps, np.float32))
        self.back_bias = nn.Parameter(np.zeros(channels, np.float32))
        nn.init.fan_in_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """What the next layer sees: the maps, pooled or not."""
        h = self.maps(x)
        return F.max_pool2d(h, 2) if self.pool else h

    def maps(self, x: Tensor) -> Tensor:
        """The maps h before the pool, (N, O, I, J)."""
        h = scaled_tanh(F.conv2d(x, self.weight, self.bias))
        if self.pool and (h.shape[2] % 2 or h.shape[3] % 2):
            raise ArgumentError(
                message(
                    "ConvAutoencoderLayer: a 2x2 pool needs an even number of rows and columns",
                    f"the maps have (I, J) = {h.shape[2:]}",
                    hint="pad the images, or choose another window.",
                )
            )
        return h

    def reconstruct(self, x: Tensor) -> Tensor:
        """The reconstruction y of x, (N, C, H, W) -> (N, C, H, W)."""
        h = self.maps(x)
        if self.pool:
            pooled, indices = F.max_pool2d(h, 2, return_indices=True)
            h = F.max_unpool2d(pooled, indices, 2)
        return scaled_tanh(F.conv_transpose2d(h, self.weight, self.back_bias))

    def loss(self, x: Tensor, target: Tensor | None = None) -> Tensor:
        """Half the squared error, summed over pixels, mean over images.

        ``target`` is x itself unless x was corrupted.
        """
        y = self.reconstruct(x)
        return F.mse_loss(y, x if target is None else target, reduction="sum") / (2 * x.shape[0])


class StackedConvAutoencoder(nn.Module):
    """A stack of layers, and a classifier on top: (N, C, H, W) -> logits (N, classes).

    Parameters
    ----------
    image : (C, H, W)
    layers : sequence of (maps, window, pool)
    hidden : int
        Units of the fully connected layer.
    classes : int
    """

    def __init__(
        self,
        image: tuple[int, int, int] = (1, 28, 28),
        layers: Sequence[tuple[int, int, bool]] = MNIST_LAYERS,
        hidden: int = 300,
        classes: int = 10,
    ):
        super().__init__()
        channels = (image[0], *(maps for maps, _, _ in layers))
        self.layers = nn.ModuleList(
            ConvAutoencoderLayer(c, *layer) for c, layer in zip(channels, layers, strict=False)
        )
        with no_grad():
            features = self.below(Tensor(np.zeros((1, *image), np.float32)), len(layers)).size
        self.hidden = nn.Linear(features, hidden)
        self.output = nn.Linear(hidden, classes)

    def below(self, x: Tensor, depth: int) -> Tensor:
        """What layer number ``depth`` (from 0) sees of the images x."""
        for layer in [*self.layers][:depth]:
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """The logits of the classes, (N, classes)."""
        features = F.flatten(self.below(x, len(self.layers)), 1)
        return self.output(scaled_tanh(self.hidden(features)))
