"""`minidl demo`: train autoencoders and VAEs on digits, and write a page about them.

    experiment.py   the four models, and how they are trained     <- start here
    measures.py     numbers and images from trained models
    sections.py     the page, section by section
    report.py       the page's HTML, with a decoder that runs in the browser
    charts.py       charts, by matplotlib
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from minidl import random
from minidl.commands.demo import report
from minidl.commands.demo.experiment import RECIPES, Trained, run_experiment
from minidl.commands.demo.measures import IMPORTANCE_SAMPLES, measure
from minidl.commands.demo.sections import write_sections
from minidl.data import has_mnist
from minidl.errors import DataError, MinidlError, message
from minidl.lecture.digits import load_digits
from minidl.lecture.flags import add_data_arguments, add_run_arguments
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the demo."""
    add_run_arguments(parser, "demo")
    add_data_arguments(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run that was stopped in --out"
    )


def main(args: argparse.Namespace) -> int:
    """Train, measure, write ``report.html`` and ``metrics.json``."""
    start = time.perf_counter()
    check_extras()
    check_mnist(args.data, args.root)
    digits = load_digits(args.data, args.root, args.seed)
    recipe = RECIPES[args.data]
    if args.dry_run:
        recipe = replace(recipe, epochs=2)
    print(f"{digits.name}: {len(digits.train_images):,} images to learn from, "
          f"{len(digits.test_images):,} held out. {recipe.epochs} epochs each.")

    def tell(trained: Trained) -> None:
        loss = trained.history[-1]["test_loss"]
        print(f"  {trained.name:15} held-out loss {loss:7.2f} nats   {trained.seconds:5.1f} s",
              flush=True)

    experiment = run_experiment(digits, recipe, args.seed, args.out, args.resume, args.device, tell)
    random.manual_seed(args.seed)
    metrics = measure(experiment, digits, args.seed)
    metrics["seconds"] = round(time.perf_counter() - start, 1)
    subtitle = (
        f"{digits.name}, seed {args.seed}: {len(digits.train_images):,} images to learn from, "
        f"{len(digits.test_images):,} held out, {metrics['seconds']} s in all."
    )
    args.out.mkdir(parents=True, exist_ok=True)
    page = args.out / "report.html"
    parts = write_sections(experiment, digits, metrics, args.seed)
    page.write_text(report.page("Autoencoders and VAEs on digits", subtitle, parts), "utf-8")
    write_metrics(args.out, metrics)
    print("\n" + table(["", "k-means purity"], [*metrics["purity"].items()]))
    print(f"\nHeld-out ELBO {metrics['elbo']:.2f} <= log p(x) {metrics['log_likelihood']:.2f} "
          f"nats per image ({IMPORTANCE_SAMPLES} draws).")
    print(f"Open {page} ({time.perf_counter() - start:.0f} s).")
    return 0


def check_mnist(data: str, root: Path | None) -> None:
    """Refuse a folder without MNIST, and say how it gets there.

    Raises
    ------
    DataError
        If the test images are not there, of which the demo needs at least these.
    """
    if data == "mnist" and root is not None and not has_mnist(root, train=False):
        raise DataError(
            message(
                f"--root '{root}' does not hold MNIST's IDX files",
                hint=f"""python -c "from minidl.data import mnist; mnist({str(root)!r}, """
                """train=False, download=True)" fetches the test images.""",
            )
        )


def check_extras() -> None:
    """Refuse to train for a minute when the page could not be drawn in the end.

    Raises
    ------
    MinidlError
        If a package of ``minidl[demo]`` is missing.
    """
    missing = [name for name in ("sklearn", "matplotlib") if find_spec(name) is None]
    if missing:
        raise MinidlError(
            message(
                f"demo: {' and '.join(missing)} cannot be imported",
                hint="pip install 'minidl[demo]'.",
            )
        )
