"""What comes out of a network's layers on the way: for perceptual losses, style, decoders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minidl.errors import ArgumentError, message
from minidl.nn.module import Module
from minidl.tensor import Tensor


def tap(
    who: str, layers: Mapping[str, Module], x: Tensor, names: Iterable[str]
) -> dict[str, Tensor]:
    """Run the layers, and return the outputs of those named, in the order of ``names``.

    Parameters
    ----------
    who : str
        The owner of the layers, for the error.
    layers : mapping of str to Module
        The layers in their order. Those behind the last one that is asked for are not
        computed.
    x : Tensor
        The input of the first layer.
    names : iterable of str

    Raises
    ------
    ArgumentError
        If there is no such layer.
    """
    wanted = list(names)
    unknown = [name for name in wanted if name not in layers]
    if unknown:
        raise ArgumentError(
            message(
                f"{who}: there is no layer {unknown[0]!r}",
                hint=f"there are {', '.join(layers)}.",
            )
        )
    found: dict[str, Tensor] = {}
    for name, layer in layers.items():
        if all(tapped in found for tapped in wanted):
            break
        x = layer(x)
        if name in wanted:
            found[name] = x
    return {name: found[name] for name in wanted}
