"""Variational autoencoders: rate, distortion, and what a digit costs in nats.

An autoencoder's codes have no distribution, so nothing can be drawn from it. A
VAE gives each image a Gaussian of codes, pays for its distance from the prior
(the *rate*, a KL divergence in nats) and for what the code does not say (the
*distortion*, -log p(x|z)). Their sum is minus the ELBO. This script trains

    the fully connected VAE of Kingma & Welling, 20 latents, and reports its
        held-out ELBO and importance-sampled log-likelihood;
    a convolutional one;
    the same network with beta = 0.25, 1 and 4, which buys distortion with rate;
    a Gaussian decoder, which models grey values as such.

Writes tables, metrics.json and a picture of samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import no_grad, random
from minidl.commands.demo.measures import bounds, decoded
from minidl.lecture.digits import Digits, load_digits
from minidl.lecture.flags import add_data_arguments, arguments
from minidl.lecture.pictures import enlarged, image_grid, save_png
from minidl.lecture.runs import train, write_metrics
from minidl.lecture.text_table import table
from minidl.models.vae import VAE, conv_vae, mlp_vae
from minidl.nn.conversion import beside

BETAS = (0.25, 1.0, 4.0)


def rate_and_distortion(model: VAE, images: np.ndarray) -> tuple[float, float]:
    """KL and -log p(x|z), in nats per image."""
    with no_grad():
        bound = model.elbo(beside(model, images), samples=8)
    return bound.kl.mean().item(), -bound.log_likelihood.mean().item()


def trained(model: VAE, digits: Digits, epochs: int, args: Any, beta: float = 1.0) -> VAE:
    """The model after training, with the epoch count, seed and device of this run."""
    model.to(args.device)
    train(
        model,
        digits,
        epochs,
        seed=args.seed,
        batch_size=args.batch_size,
        loss=lambda model, batch: model.loss(batch[0], beta),
    )
    return model.eval()


def main() -> None:
    parser = arguments(__doc__, "02_vae")
    add_data_arguments(parser)
    parser.add_argument("--epochs", type=int, help="default: 200 for digits, 60 for MNIST")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--hidden", type=int, help="default: 256 for digits, 500 for MNIST")
    parser.add_argument("--only-paper", action="store_true", help="the first model alone")
    args = parser.parse_args()
    digits = load_digits(args.data, args.root, args.seed)
    small = args.data == "digits"
    epochs = 1 if args.dry_run else args.epochs or (200 if small else 60)
    hidden = (args.hidden or (256 if small else 500),)

    models = {"MLP, 20 latents": lambda: mlp_vae(digits.image, 20, hidden, trials=digits.trials)}
    if not args.only_paper:
        models["convolutional"] = lambda: conv_vae(digits.image, 20, trials=digits.trials)
    rows, metrics, drawings = [], {}, []
    for name, build in models.items():
        random.manual_seed(args.seed)
        model = trained(build(), digits, epochs, args)
        elbo, log_likelihood = bounds(model, digits.test_images, 64 if args.dry_run else 256)
        rows.append([name, float(elbo.mean()), float(log_likelihood.mean())])
        metrics[name] = {"elbo": float(elbo.mean()), "log_likelihood": float(log_likelihood.mean())}
        drawings.append(sample(model, args.seed))
    print(f"{digits.name}: {len(digits.train_images):,} images to learn from, {epochs} epochs.")
    print("Held out, nats per image")
    print(table(["", "ELBO", "log p(x)"], rows))
    if not args.only_paper:
        print("\nRate and distortion of the same network, nats per held-out image")
        rows = []
        for beta in BETAS:
            random.manual_seed(args.seed)
            model = mlp_vae(digits.image, 20, hidden, trials=digits.trials)
            trained(model, digits, epochs, args, beta)
            rate, distortion = rate_and_distortion(model, digits.test_images)
            rows.append([f"beta = {beta:g}", rate, distortion, rate + distortion])
            metrics[f"beta = {beta:g}"] = {"rate": rate, "distortion": distortion}
            drawings.append(sample(model, args.seed))
        print(table(["", "rate", "distortion", "sum"], rows))

        random.manual_seed(args.seed)
        gaussian = trained(
            mlp_vae(digits.image, 20, hidden, likelihood="gaussian"), digits, epochs, args
        )
        elbo, log_density = bounds(gaussian, digits.test_images, 64)
        metrics["gaussian"] = {"elbo": float(elbo.mean()), "log_density": float(log_density.mean())}
        drawings.append(sample(gaussian, args.seed))
        print(f"\nGaussian decoder: ELBO {elbo.mean():.1f} nats per image. A density of grey "
              "values, so it may be positive, and is not to be compared with those above.")

    drawn = enlarged(np.concatenate(drawings))
    save_png(args.out / "samples.png", image_grid(drawn, 12, gap=2))
    print(f"\nSaved {write_metrics(args.out, metrics)} and samples.png: a row per model, in the "
          "order of the tables.")


def sample(model: VAE, seed: int) -> np.ndarray:
    """Twelve images from the prior, the same codes for every model."""
    codes = np.random.default_rng(seed).standard_normal((12, model.latent))
    return decoded(model, codes)


if __name__ == "__main__":
    main()
