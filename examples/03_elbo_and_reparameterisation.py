"""The ELBO is a bound, and its gradient can be estimated well or badly.

Part 1. log p(x) >= ELBO. An average of K importance weights inside the logarithm
lies between the two and climbs towards log p(x) as K grows (Burda et al. 2016).

Part 2. The gradient of E_q[f(z)] by the mean m and log variance s of a Gaussian q
can be estimated from samples in two ways:

    score function      f(z) * d log q(z) / d(m, s)        needs f's values only
    reparameterisation  d f(m + exp(s / 2) * noise) / d(m, s)    needs f's slope

Both are unbiased. This script draws many samples of each for one held-out image
and a trained VAE, with f(z) = log p(x|z), and shows that their means agree and
that their variances do not: this is why VAEs are trained as they are (Kingma &
Welling 2014, section 2.2, and Paisley et al. 2012 on the variance). Subtracting
the mean of f (a *baseline*) helps the score function, but not nearly enough.
"""

from __future__ import annotations

import numpy as np

import minidl
from minidl import Tensor, no_grad, random
from minidl.commands.demo import charts
from minidl.commands.demo.measures import bounds
from minidl.lecture.digits import load_digits
from minidl.lecture.flags import add_data_arguments, arguments
from minidl.lecture.runs import train, write_metrics
from minidl.lecture.text_table import table
from minidl.models.vae import VAE, mlp_vae
from minidl.nn.conversion import beside

WEIGHTS = (1, 4, 16, 64, 256, 1024)


def reparameterised(model: VAE, x: Tensor, mean: np.ndarray, log_var: np.ndarray) -> np.ndarray:
    """One gradient by (mean, log_var) per row of mean, (S, 2 Z), by autograd."""
    m = minidl.tensor(mean, device=x.device, requires_grad=True)
    s = minidl.tensor(log_var, device=x.device, requires_grad=True)
    f = model.log_likelihood(x.expand(len(mean), *x.shape[1:]), model.reparameterise(m, s))
    # Row i of f depends on row i of m and s alone, so the sum's gradient is every row's own.
    grad_m, grad_s = minidl.grad(f.sum(), (m, s))
    assert grad_m is not None and grad_s is not None
    return np.concatenate([grad_m.numpy(), grad_s.numpy()], 1)


def score_function(
    model: VAE, x: Tensor, mean: np.ndarray, log_var: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients by the score function: without, and with a baseline."""
    with no_grad():
        z = model.reparameterise(beside(model, mean), beside(model, log_var))
        f = model.log_likelihood(x.expand(len(mean), *x.shape[1:]), z).numpy()[:, None]
    distance = (z.numpy() - mean) / np.exp(log_var / 2)
    score = np.concatenate([distance / np.exp(log_var / 2), (distance**2 - 1) / 2], 1)
    # Each draw's baseline is the mean of the others, which leaves the estimate unbiased.
    baseline = (f.sum() - f) / (len(f) - 1)
    return f * score, (f - baseline) * score


def main() -> None:
    parser = arguments(__doc__, "03_elbo_and_reparameterisation")
    add_data_arguments(parser)
    args = parser.parse_args()
    digits = load_digits(args.data, args.root, args.seed)
    epochs = 1 if args.dry_run else 100 if args.data == "digits" else 10
    random.manual_seed(args.seed)
    model = mlp_vae(digits.image, 8, (128,), trials=digits.trials).to(args.device)
    train(model, digits, epochs, seed=args.seed)
    model.eval()

    images = digits.test_images[:100]
    counts = WEIGHTS[:3] if args.dry_run else WEIGHTS
    elbo = float(bounds(model, images, 1)[0].mean())
    climbing = [float(bounds(model, images, k)[1].mean()) for k in counts]
    print("Part 1: nats per image, mean over 100 held-out images")
    weighted = [[f"{k} weights", b] for k, b in zip(counts, climbing, strict=True)]
    print(table(["", "bound"], [["ELBO", elbo], *weighted]))

    draws = 500 if args.dry_run else 20_000
    x = beside(model, digits.test_images[:1])
    with no_grad():
        mean, log_var = (np.repeat(t.numpy(), draws, 0) for t in model.encode(x))
    plain, baseline = score_function(model, x, mean, log_var)
    estimates = {
        "score function": plain,
        "score function, baseline": baseline,
        "reparameterisation": reparameterised(model, x, mean, log_var),
    }
    best = estimates["reparameterisation"].var(0)
    rows, metrics = [], {"elbo": elbo, "bounds": dict(zip(map(str, counts), climbing, strict=True))}
    for name, gradients in estimates.items():
        variance = gradients.var(0)
        ratio = float(np.median(variance / best))
        rows.append([name, f"{gradients.mean(0)[0]:+.3f}", f"{variance[0]:.3g}", f"{ratio:.1f}"])
        metrics[name] = {"median_variance_ratio": ratio, "variance": variance.tolist(),
                         "mean": gradients.mean(0).tolist()}
    print(f"\nPart 2: gradient of E[log p(x|z)], {draws:,} draws; the first latent's mean, and the "
          "median\nover all means and log variances of the variance against reparameterisation's")
    print(table(["", "mean", "variance", "ratio"], rows))

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "bounds.png").write_bytes(charts.lines(
        {"The bound climbs": {"importance weighted": climbing, "ELBO": [elbo] * len(counts)}},
        counts, "weights K", "nats per image", ("log", "linear")))
    coordinates = range(1, 2 * model.latent + 1)
    (args.out / "variance.png").write_bytes(charts.lines(
        {"Variance of one draw": {name: g.var(0) for name, g in estimates.items()}},
        coordinates, "means, then log variances", "variance", ("linear", "log")))
    print(f"\nSaved {write_metrics(args.out, metrics)}, bounds.png and variance.png.")


if __name__ == "__main__":
    main()
