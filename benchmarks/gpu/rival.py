"""PyTorch's side: modes, the corners of a convolution, a network like one of minidl's."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.gpu.cases import Conv

DEVICE = "cuda"

LAYOUTS = {"NCHW": torch.contiguous_format, "channels last": torch.channels_last}


def use_mode(mode: str) -> None:
    """Choose ``"strict"``, float32 throughout, or ``"tf32"``, products of rounded numbers."""
    precision = "ieee" if mode == "strict" else "tf32"
    torch.backends.cudnn.benchmark = True
    if hasattr(torch.backends.cudnn, "conv"):
        # Only this family of settings: reading the older flags after it raises.
        torch.backends.cudnn.conv.fp32_precision = precision
        torch.backends.cuda.matmul.fp32_precision = precision
    else:
        torch.backends.cudnn.allow_tf32 = mode != "strict"
        torch.backends.cuda.matmul.allow_tf32 = mode != "strict"


def drawn(shape: tuple[int, ...], layout: str = "channels last") -> torch.Tensor:
    """Standard normal numbers; never zeros, on which some units are faster."""
    x = torch.randn(shape, device=DEVICE)
    return x.to(memory_format=LAYOUTS[layout])


def corner(letter: str, case: Conv, x: Any, w: Any, y: Any) -> torch.Tensor:
    """Corner y, x or w of a convolution from the other two arrays."""
    steps = [case.stride] * 2, [case.padding] * 2
    if letter == "y":
        return F.conv2d(x, w, None, *steps)
    wanted = [letter == "x", letter == "w", False]
    found = torch.ops.aten.convolution_backward(
        y, x, w, None, *steps, [1, 1], False, [0, 0], 1, wanted
    )
    return found["xw".index(letter)]


def in_double(letter: str, case: Conv, x: Any, w: Any, y: Any) -> torch.Tensor:
    """The corner in float64, of the first image alone where each image has its own."""
    kept = slice(None) if letter == "w" else slice(1)
    torch.backends.cudnn.benchmark = False  # no search among algorithms for a single call
    try:
        return corner(letter, case, x[kept].double(), w.double(), y[kept].double())
    finally:
        torch.backends.cudnn.benchmark = True


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The norm of the difference, relative to the norm of what is expected."""
    found = found[: len(expected)].double()
    return float((found - expected).norm() / expected.norm())


# --- networks ---


def layer_like(layer: Any) -> nn.Module:
    """A layer of torch.nn with the settings and weights of one of minidl.nn."""
    kind = type(layer).__name__
    if kind == "Sequential":
        return nn.Sequential(*(layer_like(part) for part in layer))
    if kind in ("ReLU", "Tanh", "Sigmoid", "Flatten"):
        return getattr(nn, kind)()
    if kind == "Unflatten":
        return nn.Unflatten(layer.dim, tuple(layer.unflattened_size))
    if kind == "Linear":
        made: nn.Module = nn.Linear(layer.in_features, layer.out_features)
    elif kind in ("Conv2d", "ConvTranspose2d"):
        settings = {name: tuple(getattr(layer, name)) for name in ("stride", "padding", "dilation")}
        made = getattr(nn, kind)(layer.in_channels, layer.out_channels, tuple(layer.kernel_size),
                                 groups=layer.groups, **settings)
    else:
        raise NotImplementedError(f"rival: no layer like {kind}")
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.copy_(torch.from_numpy(getattr(layer, name).detach().numpy()))
    return made


class Network(nn.Module):
    """An autoencoder or a VAE (whose decoder gives logits) like one of ``minidl.models``."""

    def __init__(self, model: Any):
        super().__init__()
        self.encoder, self.decoder = layer_like(model.encoder), layer_like(model.decoder)
        self.latent = getattr(model, "latent", 0)

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """The loss that the model has, in nats per image."""
        code = self.encoder(x)
        if not self.latent:
            logits = self.decoder(code)
            return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        mean, log_var = code.split(self.latent, 1)
        z = mean + torch.exp(log_var / 2) * torch.randn_like(mean)
        surprise = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum()
        return (surprise + kl) / len(x)
