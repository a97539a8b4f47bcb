"""The demo's page: one HTML file that needs nothing beside it.

Pictures are inlined as PNG, the decoder's weights as base64, so that a double
click opens it, offline, with the live decoder running.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from minidl import nn
from minidl.errors import ArgumentError, message
from minidl.lecture.pictures import png_bytes

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
           "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
"""One colour per digit, the same on the whole page."""

REACH = 4.0
"""Largest coordinate of a code on the live plane, which shows nearly all of the prior."""

_ACTIVATIONS = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
"""The activations that the page's decoder knows, and its names of them."""


def picture(page: np.ndarray, caption: str = "", width: int | None = None) -> str:
    """Write a grid of pixels as a figure; ``width`` in CSS pixels magnifies it sharply."""
    encoded = base64.b64encode(png_bytes(page)).decode()
    size = f' width="{width}"' if width else ""
    return _figure(f'<img class="pixels" alt="{html.escape(caption)}"{size} src="data:image/png;'
                   f'base64,{encoded}">', caption)


def chart(png: bytes, caption: str = "") -> str:
    """Write a chart, drawn as PNG, as a figure."""
    encoded = base64.b64encode(png).decode()
    return _figure(f'<img alt="{html.escape(caption)}" src="data:image/png;base64,{encoded}">',
                   caption)


def _figure(inside: str, caption: str) -> str:
    label = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{inside}{label}</figure>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of text."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(r, 'td') for r in rows)}</table>"


def section(title: str, text: str, *parts: str) -> str:
    """Write a headed section: a paragraph, then figures and tables."""
    return f"<h2>{html.escape(title)}</h2><p>{html.escape(text)}</p>{''.join(parts)}"


def explorer(
    decoder: nn.Sequential, image: tuple[int, int], codes: np.ndarray, labels: np.ndarray
) -> str:
    """Write the live decoder: the latent plane, the image under the pointer, the code.

    Parameters
    ----------
    decoder : Sequential
        Linear layers and activations from a code of two numbers to logits.
    image : (H, W)
    codes : array, shape (N, 2)
        The codes to mark on the plane.
    labels : array of int, shape (N,)
        The digit of each code.
    """
    data = {
        "layers": decoder_layers(decoder),
        "image": list(image),
        "reach": REACH,
        "codes": np.round(codes.astype(float), 3).tolist(),
        "labels": labels.tolist(),
        "colours": COLOURS,
    }
    legend = "".join(f'<span><i style="background:{c}"></i>{d}</span>'
                     for d, c in enumerate(COLOURS))
    return (
        '<div class="explorer"><div><canvas id="plane" width="560" height="560" tabindex="0">'
        f'</canvas><div class="legend soft">{legend}</div></div>'
        '<div><canvas id="decoded"></canvas><div id="code"></div></div></div>'
        f'<script type="application/json" id="explorer-data">{json.dumps(data)}</script>'
        f"<script>{_resource('explorer.js')}</script>"
    )


def decoder_layers(decoder: nn.Sequential) -> list[dict[str, Any]]:
    """Turn a fully connected decoder, whose last layer gives pixels, into numbers for the browser.

    Raises
    ------
    ArgumentError
        If the decoder holds layers that the page cannot run.
    """
    layers: list[dict[str, Any]] = []
    for layer in decoder:
        if isinstance(layer, nn.Linear):
            assert layer.bias is not None
            layers.append({
                "inputs": layer.in_features,
                "outputs": layer.out_features,
                "weight": _base64(layer.weight.detach().numpy()),
                "bias": _base64(layer.bias.detach().numpy()),
                "activation": "sigmoid",
            })
        elif type(layer) in _ACTIVATIONS and layers:
            layers[-1]["activation"] = _ACTIVATIONS[type(layer)]
        elif not isinstance(layer, nn.Unflatten):
            raise ArgumentError(
                message(
                    f"explorer: the page cannot run a {type(layer).__name__}",
                    hint="use a fully connected decoder (Linear with ReLU, Tanh or Sigmoid).",
                )
            )
    return layers


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()


def page(title: str, subtitle: str, sections: Sequence[str]) -> str:
    """Write the whole document."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_resource('report.css')}</style></head>"
        f'<body><h1>{html.escape(title)}</h1><p class="soft">{html.escape(subtitle)}</p>'
        f"{''.join(sections)}</body></html>\n"
    )


def _resource(name: str) -> str:
    return files("minidl.commands.demo").joinpath(name).read_text("utf-8")
