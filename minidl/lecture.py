"""What the lecture's examples share: their flags, digits, training and results."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl import Tensor, no_grad
from minidl import data as readers
from minidl.compute import to_device
from minidl.data import ArrayDataset, DataLoader
from minidl.errors import ArgumentError, DeviceError, message
from minidl.models.autoencoder import Autoencoder
from minidl.models.vae import VAE
from minidl.optim import Adam
from minidl.serialize import write_json
from minidl.text_table import table as table
from minidl.train import History, fit


class Digits(NamedTuple):
    """Images of handwritten digits, split in two; (N, 1, H, W) float32 in [0, 1], labels int64."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    trials: int
    """Black-or-white points that a grey pixel is the mean of."""

    @property
    def image(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, c, h, w = self.train_images.shape
        return c, h, w


def arguments(description: str | None, name: str) -> argparse.ArgumentParser:
    """A parser with the flags every example has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_run_arguments(parser, name)
    return parser


def add_run_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The flags of anything that runs and leaves results."""
    parser.add_argument(
        "--out", type=Path, default=Path("runs") / name, help="folder of results (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--dry-run", action="store_true", help="a few steps only, in seconds")


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that choose the digits, and where to train on them."""
    parser.add_argument(
        "--data",
        choices=("digits", "mnist"),
        default="digits",
        help="scikit-learn's 8x8 digits, or MNIST (%(default)s)",
    )
    parser.add_argument("--root", type=Path, help="folder of MNIST's IDX files")
    add_device_argument(parser)


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """The flag that says where to train."""
    parser.add_argument(
        "--device", type=usable_device, default="cpu", metavar="{cpu,cuda}",
        help="where to train (%(default)s)",
    )  # fmt: skip


def add_preset_arguments(parser: argparse.ArgumentParser, folder: str) -> None:
    """The flags that choose between minutes on generated data and the paper's own setting.

    Parameters
    ----------
    folder : str
        What ``--data`` holds, such as "CamVid: train/, trainannot/, ...".
    """
    parser.add_argument(
        "--preset", choices=("tiny", "paper"), default="tiny",
        help="two minutes on two cores, or the paper's setting on its data (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help=f"for --preset paper: the folder of {folder}"
    )
    parser.add_argument(
        "--resume", action="store_true", help="for --preset paper: go on where a run stopped"
    )


def parse_with_preset(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The flags; ends the program if the paper's setting is asked for without its data."""
    args = parser.parse_args()
    if args.preset == "paper" and args.data is None:
        parser.error("--preset paper needs --data DIR")
    if args.data is not None and not args.data.is_dir():
        parser.error(f"--data {args.data}: there is no such folder")
    return args


def usable_device(name: str) -> str:
    """The name of a device, if this machine can use it; asked before anything is computed."""
    try:
        to_device(np.zeros(1), name)
    except DeviceError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name


def beside(model: Any, array: np.ndarray) -> Tensor:
    """The array as a Tensor, on the device where a model's weights are."""
    weights = next(iter(model.parameters()), None)
    return Tensor(to_device(array, "cpu" if weights is None else weights.device))


def load_digits(data: str, root: Path | None, seed: int = 0) -> Digits:
    """The digits the flags ask for.

    ``"digits"``: scikit-learn's 1,797, split 1,500 / 297. A pixel there counts the
    ink among 4x4 points of a larger picture, so it has 16 trials. ``"mnist"``: 60,000 /
    10,000 if the folder has all four files; with the 10,000 test images alone,
    these are split 9,000 / 1,000. Both splits are drawn by the seed.

    Raises
    ------
    ArgumentError
        If MNIST is asked for without a folder.
    DataError
        If a file is missing or damaged.
    """
    if data == "digits":
        return _split("scikit-learn's digits", readers.digits(), 297, 16, seed)
    if root is None:
        raise ArgumentError(
            message("--data mnist needs a folder", hint="pass --root DIR with MNIST's IDX files.")
        )
    test = readers.mnist(root, train=False)
    if not readers.has_mnist(root, train=True):
        return _split("MNIST's 10,000 test images", test, 1000, 1, seed)
    images, labels = readers.mnist(root, train=True).arrays
    test_images, test_labels = test.arrays
    return Digits("MNIST", images, labels, test_images, test_labels, trials=1)


def _split(name: str, dataset: ArrayDataset, held_out: int, trials: int, seed: int) -> Digits:
    images, labels = dataset.arrays
    order = np.random.default_rng(seed).permutation(len(images))
    test, train = order[:held_out], order[held_out:]
    return Digits(name, images[train], labels[train], images[test], labels[test], trials)


def train(
    model: Autoencoder | VAE,
    digits: Digits,
    epochs: int,
    *,
    seed: int = 0,
    lr: float = 1e-3,
    batch_size: int = 50,
    loss: Callable[[Any, Any], Tensor] | None = None,
    out: Path | None = None,
    resume: bool = False,
) -> History:
    """Train on the training images with Adam, measuring the loss on the test images.

    On the device where the model is: ``model.to("cuda")`` first, for a GPU.

    Parameters
    ----------
    model : Autoencoder or VAE
        Its ``loss(x)`` is minimised, unless ``loss(model, batch)`` is given.
    epochs : int
    out : Path, optional
        Folder of checkpoints and metrics; with ``resume`` the run goes on from there.

    Returns
    -------
    History
        Per epoch: ``loss`` and ``test_loss``, in nats per image.
    """
    loader = DataLoader(
        ArrayDataset(digits.train_images), batch_size, shuffle=True, drop_last=True, seed=seed,
        device=beside(model, digits.test_images[:0]).device,
    )  # fmt: skip

    def validate(model: Any) -> dict[str, float]:
        return {"test_loss": mean_loss(model, digits.test_images)}

    return fit(
        model,
        loader,
        Adam(model.parameters(), lr=lr),
        loss or (lambda model, batch: model.loss(batch[0])),
        epochs=epochs,
        validate=validate,
        out=out,
        resume=resume,
        progress=False,
    )


def mean_loss(model: Any, images: np.ndarray, batch: int = 500) -> float:
    """``model.loss`` over all images, in nats per image."""
    with no_grad():
        parts = [images[i : i + batch] for i in range(0, len(images), batch)]
        return sum(model.loss(beside(model, x)).item() * len(x) for x in parts) / len(images)


def write_metrics(out: Path, metrics: dict[str, Any]) -> Path:
    """Save an example's numbers as ``metrics.json`` in its folder."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "metrics.json"
    write_json(path, metrics)
    return path
