"""Autoencoders: how few numbers does a digit need?

Squeeze images through a bottleneck of Z numbers and ask for them back. With two
linear maps this finds the plane of PCA (Baldi & Hornik 1989); with hidden layers
the plane may bend, and the same Z numbers say more. With many numbers PCA is hard
to beat by its own measure: it finds its optimum exactly, while the deep ones are
trained for a while, on another loss (cross-entropy). A denoising autoencoder is
given damaged images and asked for the clean ones, so that it must learn what
digits look like, not how to copy.

Writes a table, metrics.json and two pictures.
"""

from __future__ import annotations

import numpy as np

import minidl.functional as F
from minidl import Tensor, random
from minidl.commands.demo.measures import codes_of, decoded
from minidl.lecture.digits import Digits, load_digits
from minidl.lecture.flags import add_data_arguments, arguments
from minidl.lecture.pictures import enlarged, image_grid, save_png
from minidl.lecture.runs import train, write_metrics
from minidl.lecture.text_table import table
from minidl.models.autoencoder import Autoencoder, conv_autoencoder, mlp_autoencoder
from minidl.nn.conversion import beside

LATENTS = (2, 8, 32)
NOISE = 0.5
"""Standard deviation of the noise that the denoising autoencoder is to remove."""


def squared_error(model: Autoencoder, batch: tuple[Tensor, ...]) -> Tensor:
    """The loss PCA minimises: squared distance, mean over images."""
    (x,) = batch
    return F.mse_loss(model.decoder(model.encoder(x)), x, reduction="sum") / x.shape[0]


def linear_error(digits: Digits, latent: int, epochs: int, seed: int, device: str) -> float:
    """Squared error per held-out image of two linear maps, trained by Adam."""
    model = mlp_autoencoder(digits.image, latent, hidden=()).to(device)
    train(model, digits, epochs, seed=seed, lr=3e-3, loss=squared_error)
    return squared_error(model, (beside(model, digits.test_images),)).item()


def pca_error(digits: Digits, latent: int) -> float:
    """Squared error per held-out image of the best plane through the training images."""
    train_images = digits.train_images.reshape(len(digits.train_images), -1).astype(float)
    middle = train_images.mean(0)
    _, _, directions = np.linalg.svd(train_images - middle, full_matrices=False)
    x = digits.test_images.reshape(len(digits.test_images), -1) - middle
    plane = directions[:latent]
    return float(((x - x @ plane.T @ plane) ** 2).sum(1).mean())


def deep_error(model: Autoencoder, digits: Digits) -> float:
    """Squared error per held-out image of a model trained by cross-entropy."""
    rebuilt = decoded(model, codes_of(model, digits.test_images))
    return float(((rebuilt - digits.test_images) ** 2).sum((1, 2, 3)).mean())


def denoise(model: Autoencoder, batch: tuple[Tensor, ...]) -> Tensor:
    """Corrupt the images, ask for the clean ones."""
    (x,) = batch
    return model.loss(x + NOISE * random.normal(x.shape, device=x.device), target=x)


def main() -> None:
    parser = arguments(__doc__, "01_autoencoder")
    add_data_arguments(parser)
    args = parser.parse_args()
    digits = load_digits(args.data, args.root, args.seed)
    epochs = 1 if args.dry_run else 100 if args.data == "digits" else 20
    rows, metrics = [], {}
    shown = digits.test_images[:12]
    strips = [shown]
    for latent in LATENTS:
        random.manual_seed(args.seed)
        deep = mlp_autoencoder(digits.image, latent).to(args.device)
        train(deep, digits, epochs, seed=args.seed)
        conv = conv_autoencoder(digits.image, latent).to(args.device)
        train(conv, digits, epochs, seed=args.seed)
        errors = {
            "pca": pca_error(digits, latent),
            "linear": linear_error(digits, latent, epochs, args.seed, args.device),
            "deep": deep_error(deep, digits),
            "convolutional": deep_error(conv, digits),
        }
        metrics[str(latent)] = errors
        rows.append([f"{latent} numbers", *errors.values()])
        strips.append(decoded(deep, codes_of(deep, shown)))
    print("Squared error per held-out image")
    print(table(["", "PCA", "linear", "deep", "convolutional"], rows))

    random.manual_seed(args.seed)
    plain, denoising = (mlp_autoencoder(digits.image, 32).to(args.device) for _ in range(2))
    train(plain, digits, epochs, seed=args.seed)
    train(denoising, digits, 2 * epochs, seed=args.seed, loss=denoise)
    rng = np.random.default_rng(args.seed)
    damaged = digits.test_images + NOISE * rng.standard_normal(digits.test_images.shape)
    damaged = damaged.astype(np.float32)
    cleaned = {
        "nothing": np.clip(damaged, 0, 1),
        "autoencoder": decoded(plain, codes_of(plain, damaged)),
        "denoising": decoded(denoising, codes_of(denoising, damaged)),
    }
    noise = {
        name: float(((x - digits.test_images) ** 2).sum((1, 2, 3)).mean())
        for name, x in cleaned.items()
    }
    metrics["noise"] = noise
    print(f"\nThe same, of images with noise of standard deviation {NOISE}, cleaned by")
    print(table(["", "squared error"], [[k, v] for k, v in noise.items()]))

    rebuilt = enlarged(np.concatenate(strips))
    save_png(args.out / "reconstructions.png", image_grid(rebuilt, 12, gap=2))
    cleanings = enlarged(np.concatenate([shown, *(x[:12] for x in cleaned.values())]))
    save_png(args.out / "denoising.png", image_grid(cleanings, 12, gap=2))
    print(f"\nSaved {write_metrics(args.out, metrics)} and two pictures beside it: the images, "
          f"then from {', '.join(map(str, LATENTS))} numbers; and the images, damaged, cleaned by "
          "either.")


if __name__ == "__main__":
    main()
