"""Gatys et al.: a picture that has the content of one picture and the style of another.

    the picture z is what is trained: nothing else changes
    loss(z) = content(z, content picture) + style(z, style picture) + variation(z)

What is compared, and how it is weighed, is a recipe (``minidl.tasks.perceptual.recipes``). Beside
the paper's: several styles, blended or each in a region of its own; the content's own colours; a
start from the content picture; Adam. A run that is stopped goes on from its last saved state as if
it had not been, bit for bit.

    features = random_features()                    # or load_features("vgg19-dcbb9e9d.pth")
    result = stylise(content, style, features)      # arrays (3, H, W), RGB from 0 to 1
    result.picture

The optimised picture is the one that the network sees, normalised: published weights of variation
and sizes of noise are for that.

Source: Gatys, Ecker & Bethge 2016, "Image style transfer using convolutional neural networks";
blending and original colours as in Johnson's neural-style; regions after Gatys et al. 2017,
"Controlling perceptual factors in neural style transfer", section 4.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl import Tensor, nn, no_grad
from minidl.compute.arrays import to_device
from minidl.errors import ArgumentError, CheckpointError, message
from minidl.files.whole import remove_leftovers
from minidl.optim import LBFGS, Adam
from minidl.tasks.perceptual.features import Features
from minidl.tasks.perceptual.objective import Losses, Objective
from minidl.tasks.perceptual.preparing import as_batch
from minidl.tasks.perceptual.recipes import Recipe, find_recipe, usual_recipe
from minidl.tasks.restoration.luma import rgb_to_ycbcr, ycbcr_to_rgb
from minidl.train import DivergenceError, load_checkpoint, save_checkpoint
from minidl.train.interrupt import held_interrupt
from minidl.train.progress import Progress

OPTIMISERS = ("lbfgs", "adam")
STARTS = ("noise", "content")

Watcher = Callable[[int, np.ndarray, dict[str, float]], Any]
"""A function (step, picture, losses); the picture is (3, H, W), RGB from 0 to 1."""


class Stylised(NamedTuple):
    """The result of a style transfer."""

    picture: np.ndarray
    """The picture, (3, H, W), RGB from 0 to 1, float32."""
    losses: list[dict[str, float]]
    """Rows of numbers, one for each report: step, total, content, style, variation."""
    pretrained: bool
    """Whether the network was trained; otherwise it had random weights."""
    converged: bool
    """Whether L-BFGS found nothing more to improve before its steps were spent."""


class Canvas(nn.Module):
    """The picture as the one parameter of a model."""

    def __init__(self, z: Tensor):
        super().__init__()
        self.z = nn.Parameter(z.detach().clone())


def stylise(
    content: np.ndarray,
    styles: np.ndarray | Sequence[np.ndarray],
    features: Features,
    recipe: str | Recipe | None = None,
    *,
    style_weights: Sequence[float] | None = None,
    masks: Sequence[np.ndarray] | None = None,
    start: str | None = None,
    noise: float = 0.02,
    optimizer: str = "lbfgs",
    lr: float | None = None,
    steps: int = 300,
    every: int = 10,
    history: int = 20,
    preserve_colour: bool = False,
    seed: int = 0,
    watcher: Watcher | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Stylised:
    """Give the content of one picture the style of another, or of several.

    Parameters
    ----------
    content : array, shape (3, H, W)
        RGB from 0 to 1; the result has its size.
    styles : array, shape (3, I, J), or several
        Of any sizes: what is transferred are strokes of their size in pixels.
    features : Features
        With ``pretrained`` False, weights are random.
    recipe : str or Recipe, optional
        Default: "relative" for trained weights, "random" for random ones.
    style_weights : sequence of float, optional
    masks : sequence of arrays, (H, W), optional
        Regions of the styles; see ``minidl.tasks.perceptual.Objective``.
    start : {"noise", "content"}, optional
        What the picture begins with. Default: what the recipe says.
    noise : float
        Standard deviation around grey, 1 being the range of a pixel.
    optimizer : {"lbfgs", "adam"}
        L-BFGS with a strong-Wolfe line search.
    lr : float, optional
        Adam's is in grey levels of 255 a step; default: 10, as in neural-style. L-BFGS: 1.
    steps : int
        Iterations; of L-BFGS each may evaluate the loss more than once.
    every : int
        Steps from one report, one call of ``watcher`` and one saved state to the next.
    history : int
        Pairs of pictures that L-BFGS remembers, which a saved state holds, too.
    preserve_colour : bool
        Take the luma of the result, and the colours of the content.
    seed : int
        Seed of the noise.
    watcher : callable, optional
    checkpoint : path, optional
        A .safetensors file to save the state in.
    resume : bool
        Go on from ``checkpoint``, if it is there.
    progress : bool
        Whether to say on standard error how far it is: by a bar on a terminal, elsewhere by a
        line about every ten seconds.

    Returns
    -------
    Stylised

    Raises
    ------
    ArgumentError, ShapeError
        If a setting, a picture, a mask or a layer makes no sense; before anything is computed.
    CheckpointError
        If the state to resume from is of other pictures or settings, or damaged.
    DivergenceError
        If the loss is no longer finite; the last saved state stays.
    """
    found = find_recipe(recipe or usual_recipe(features.pretrained))
    start = found.start if start is None else start
    pictures = [styles] if isinstance(styles, np.ndarray) and styles.ndim == 3 else list(styles)
    _check(start, optimizer, steps, every, noise, history, checkpoint, resume, lr)
    target = features.prepare(as_batch("content", content, features.device))
    features.check(found.layers, target.shape)
    objective = Objective(features, found, pictures, style_weights, masks)
    first = target if start == "content" else _noise(features, target, noise, seed)
    canvas = Canvas(first)
    settings = {
        "content": _fingerprint(content), "styles": [_fingerprint(p) for p in pictures],
        "masks": [_fingerprint(m) for m in masks or ()], "style_weights": objective.shares,
        "recipe": repr(found), "network": _network_of(features), "start": start, "noise": noise,
        "normalisation": features.normalisation, "seed": seed,
        "optimizer": optimizer, "lr": lr, "every": every, "history": history,
    }
    rate = _rate(features, optimizer, lr)
    run = _Run(
        canvas, objective, objective.content_of(target), optimizer, rate, history,
        Progress(1, progress),
    )
    run.saved, run.settings = None if checkpoint is None else Path(checkpoint), settings
    if run.saved is not None:
        remove_leftovers(run.saved)
        if resume and run.saved.exists():
            run.load()

    def shown() -> np.ndarray:
        picture = np.clip(features.picture(canvas.z.detach()).numpy()[0], 0, 1)
        return with_colours_of(content, picture) if preserve_colour else picture

    converged = run.go(steps, every, shown, watcher)
    return Stylised(shown(), run.losses, features.pretrained, converged)


def with_colours_of(content: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Join the luma of ``result`` and the chroma of ``content``, (3, H, W), RGB from 0 to 1."""
    mixed = rgb_to_ycbcr(np.asarray(content, result.dtype))
    mixed[0] = rgb_to_ycbcr(result)[0]
    return ycbcr_to_rgb(mixed)


class _Run:
    """The optimisation, in stretches of some steps."""

    def __init__(
        self, canvas: Canvas, objective: Objective, content: dict[str, Tensor], optimizer: str,
        rate: float, history: int, progress: Progress,
    ):
        self.canvas, self.objective, self.content = canvas, objective, content
        self.progress, self._earlier = progress, 0
        self.optimizer: Any
        if optimizer == "adam":
            self.optimizer = Adam([canvas.z], lr=rate)
        else:
            # Tolerances of 0: what is small depends on the recipe, and steps are counted anyway.
            self.optimizer = LBFGS(
                [canvas.z], lr=rate, history_size=history, max_eval=10**9, tolerance_grad=0,
                tolerance_change=0, line_search_fn="strong_wolfe",
            )
        self.step = 0
        self.losses: list[dict[str, float]] = []
        self.saved: Path | None = None
        self.settings: dict[str, Any] = {}

    def go(
        self, steps: int, every: int, shown: Callable[[], np.ndarray], watcher: Watcher | None
    ) -> bool:
        """Take the steps that are left; return whether nothing was left to improve before."""
        stuck = False
        self.progress.begin("style", min(self.step, steps), steps)
        with held_interrupt() as interrupt, closing(self.progress):
            while self.step < steps and not stuck:
                count = min(every, steps - self.step)
                stuck = not self.advance(count)
                self.progress.step(self.step, self.losses[-1]["total"])
                if watcher is not None:
                    watcher(self.step, shown(), self.losses[-1])
                self.save()
                if interrupt:
                    raise KeyboardInterrupt
        return stuck

    def advance(self, count: int) -> bool:
        """Take some steps; return whether the picture changed."""
        before, self._earlier = self.canvas.z.data.copy(), self._taken()
        if isinstance(self.optimizer, LBFGS):
            self.optimizer.param_groups[0]["max_iter"] = count
            self.optimizer.step(self._closure)
        else:
            for _ in range(count):
                self.optimizer.step(self._closure)
        self.step += count
        with no_grad():
            losses = self._judged().numbers()
        if not math.isfinite(losses["total"]):
            raise DivergenceError(f"stylise: the loss is {losses['total']} at step {self.step}")
        self.losses.append({"step": self.step, **losses})
        return bool((before != self.canvas.z.data).any())

    def _closure(self) -> Tensor:
        self.optimizer.zero_grad()
        total = self._judged().total
        total.backward()
        if self.progress.waits:
            self.progress.step(self.step + self._taken() - self._earlier, total.item())
        return total

    def _taken(self) -> int:
        """The steps that the optimiser has taken, with the one that it is at."""
        memory: dict[str, Any] = next(iter(self.optimizer.state.values()), {})
        return int(memory.get("iterations", memory.get("step", 0)))

    def _judged(self) -> Losses:
        return self.objective(self.canvas.z, self.content)

    def save(self) -> None:
        """Replace the saved state by the present one."""
        if self.saved is not None:
            save_checkpoint(
                self.saved, model=self.canvas, optimizer=self.optimizer, step=self.step,
                config=self.settings, history=self.losses,
            )

    def load(self) -> None:
        """Go back to the saved state, if it is of this run."""
        held = load_checkpoint(self.saved or "", restore_random=False)
        changed = [k for k, v in self.settings.items() if held.config.get(k) != v]
        if changed:
            raise CheckpointError(
                message(
                    f"stylise: '{self.saved}' is of another run",
                    f"these differ: {', '.join(changed)}",
                    hint="resume with the same pictures and settings, or begin anew.",
                )
            )
        load_checkpoint(
            self.saved or "", model=self.canvas, optimizer=self.optimizer, restore_random=False
        )
        self.step, self.losses = held.step, [dict(row) for row in held.history]


def _rate(features: Features, optimizer: str, lr: float | None) -> float:
    """The learning rate in units of z; Adam's is given in grey levels a step."""
    if optimizer != "adam":
        return 1 if lr is None else lr
    white, black = (features.prepare(np.full((1, 3, 1, 1), v, np.float32)) for v in (1, 0))
    level = float(abs(white.numpy() - black.numpy()).mean()) / 255
    return (10 if lr is None else lr) * level


def _noise(features: Features, like: Tensor, std: float, seed: int) -> Tensor:
    drawn = 0.5 + std * np.random.default_rng(seed).standard_normal(like.shape)
    return features.prepare(Tensor(to_device(drawn.astype(np.float32), like.device)))


def _network_of(features: Features) -> list[Any]:
    # Without the classifier, which no file brings: it is other random numbers in each process.
    layers = features.vgg.features
    return [[type(layer).__name__ for layer in layers], _fingerprint(*layers.state_dict().values())]


def _fingerprint(*arrays: Any) -> int:
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
    return crc


def _check(
    start: str, optimizer: str, steps: int, every: int, noise: float, history: int,
    checkpoint: Any, resume: bool, lr: float | None,
) -> None:
    for name, value, known in (("start", start, STARTS), ("optimizer", optimizer, OPTIMISERS)):
        if value not in known:
            raise ArgumentError(
                message(f"stylise: unknown {name} {value!r}", hint=f"choose one of {known}.")
            )
    if min(steps, every, history) < 1 or not noise >= 0 or (lr is not None and not lr > 0):
        raise ArgumentError(
            message(
                "stylise: steps, every and history must be 1 or more, lr positive, noise 0 or more",
                f"received {steps}, {every}, {history}, {lr}, {noise}",
            )
        )
    if resume and checkpoint is None:
        raise ArgumentError(message("stylise: resume needs a file", hint="give checkpoint=..."))
    if checkpoint is not None and Path(checkpoint).suffix != ".safetensors":
        raise ArgumentError(f"stylise: checkpoint must end in .safetensors, not '{checkpoint}'")
