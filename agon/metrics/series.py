"""Series: can a recurrent network tell real from fake, can one trained on fakes predict reals, and do marginals and correlations agree.

Discriminative and predictive score: Yoon et al., 2019, "Time-series Generative Adversarial Networks" (TimeGAN), https://papers.nips.cc/paper/8789, section 5;
networks of that paper differ from code to code and so do the numbers: compare those of one protocol. Autocorrelation: the score of Wiese et al., 2020 (Quant
GANs), https://arxiv.org/abs/1907.06673, section 7.2.1. Series are float (N, T, F).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agon.errors import Unavailable, UserError
from agon.metrics.bootstrap import perfect
from agon.metrics.halves import compare
from agon.metrics.judge import train
from agon.metrics.marginals import wasserstein_1d
from agon.metrics.samples import Samples
from agon.metrics.sides import Side

METRICS = {
    "discriminative_score": "|accuracy - 0.5| of a recurrent classifier of real against fake series (lower is better)",
    "predictive_score": "Mean absolute error of one-step forecasts of real series by a network trained on fakes, in the reals' range (lower is better)",
    "autocorrelation_distance": "Mean absolute difference of real and fake autocorrelations (lower is better)",
    "cross_correlation_distance": "Mean absolute difference of real and fake correlations between features (lower is better)",
    "marginal_distance": "Wasserstein-1 distance of real and fake values, mean over features, in standard deviations of the reals (lower is better)",
}
KINDS = ("series",)
EXTRACTOR = ""
PAIRED = False
LABELLED = False
HIDDEN, STEPS, BATCH, RATE, WINDOW = 24, 200, 64, 1e-2, 64
REPEATS = 3
LAGS = 32
FEWEST = 20
MOST = 5_000  # series a side


class Reader(nn.Module):
    """One GRU layer and a linear map of its states: (N, T, F) -> (N, T, outputs)."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(features, HIDDEN, batch_first=True), nn.Linear(HIDDEN, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x)[0])


def discriminative_score(real: np.ndarray, fake: np.ndarray, seed: int = 0, steps: int = STEPS) -> float:
    """|accuracy - 0.5| on a held-out fifth of a GRU classifier trained on as many real (M, T, F) as fake (N, T, F) series: 0 cannot tell, 0.5 always can.

    Both are standardised as the reals are; series longer than WINDOW are judged by one random window each. The mean over the steps
    decides (TimeGAN: the last state, which takes many times longer to train).
    """
    real, fake, _ = standardised(real, fake)
    count = min(len(real), len(fake))
    random = np.random.default_rng(seed)
    parts = [torch.from_numpy(window(part[random.permutation(len(part))[:count]], random)) for part in (real, fake)]
    held = max(1, count // 5)
    x, y = torch.cat([part[held:] for part in parts]), torch.arange(2).repeat_interleave(count - held).float()
    network = network_of(real.shape[2], 1, seed)

    def loss(net: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(net(x[rows]).mean(1)[:, 0], y[rows])

    train(network, loss, len(x), seed=seed, steps=steps, batch=BATCH, rate=RATE)
    with torch.no_grad():
        right = [(network(part[:held]).mean(1)[:, 0] > 0) == bool(label) for label, part in enumerate(parts)]
    return abs(float(torch.cat(right).double().mean()) - 0.5)


def predictive_score(real: np.ndarray, fake: np.ndarray, seed: int = 0, steps: int = STEPS) -> float:
    """Mean absolute error on all of ``real`` (M, T, F) of a GRU trained on ``fake`` (N, T, F) to tell the next step from those before, all features from all,
    in units of the reals' range (feature by feature). TimeGAN predicts the last feature from the others: another number."""
    width = np.ptp(real, (0, 1))
    real, fake, spread = standardised(real, fake)
    random = np.random.default_rng(seed)
    ours, theirs = (torch.from_numpy(window(part, random, WINDOW + 1)) for part in (real, fake))
    network = network_of(real.shape[2], real.shape[2], seed)
    train(network, lambda net, rows: (net(theirs[rows, :-1]) - theirs[rows, 1:]).abs().mean(), len(theirs), seed=seed, steps=steps, batch=BATCH, rate=RATE)
    with torch.no_grad():
        errors = (network(ours[:, :-1]) - ours[:, 1:]).abs().double().mean((0, 1)).numpy()
    return float((errors * spread / np.where(width > 0, width, 1)).mean())


def network_of(features: int, outputs: int, seed: int) -> Reader:
    """A network with the weights that ``seed`` draws; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Reader(features, outputs)


def standardised(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both, float32, less the reals' mean and by their standard deviation, feature by feature (a constant one by 1), and that deviation (F,).

    In a 0..1 range, where TimeGAN has them, one far value squeezes all others and the network learns many times more slowly.
    """
    spread = real.std((0, 1))
    spread = np.where(spread > 0, spread, 1)
    ours, theirs = (((part - real.mean((0, 1))) / spread).astype(np.float32) for part in (real, fake))
    return ours, theirs, spread


def window(series: np.ndarray, random: np.random.Generator, length: int = WINDOW) -> np.ndarray:
    """(N, min(T, length), F): a random window of each."""
    if series.shape[1] <= length:
        return np.ascontiguousarray(series)
    start = random.integers(0, series.shape[1] - length + 1, len(series))
    return np.take_along_axis(series, (start[:, None] + np.arange(length))[:, :, None], 1)


def lag_products(series: np.ndarray, lags: int) -> np.ndarray:
    """(N, lags + 1, F): mean over time of x(t) x(t + k), k = 0 to ``lags``, after each feature's mean over all series and times is taken off."""
    centred = series - series.mean((0, 1))
    length = series.shape[1]
    return np.stack([(centred[:, : length - lag] * centred[:, lag:]).mean(1) for lag in range(lags + 1)], 1)


def autocorrelation(products: np.ndarray) -> np.ndarray:
    """(lags, F) autocorrelations, k = 1 to ``lags``, from ``lag_products``; 0 for a constant feature."""
    mean = products.mean(0)
    return np.divide(mean[1:], mean[0], out=np.zeros_like(mean[1:]), where=mean[0] > 0)


def feature_products(series: np.ndarray) -> np.ndarray:
    """(N, F, F): mean over time of x_i(t) x_j(t), centred as in ``lag_products``."""
    centred = series - series.mean((0, 1))
    return np.einsum("nti,ntj->nij", centred, centred) / series.shape[1]


def correlation(products: np.ndarray) -> np.ndarray:
    """(F (F - 1) / 2,) correlations between features from ``feature_products``; 0 with a constant feature."""
    mean = products.mean(0)
    scale = np.sqrt(np.outer(mean.diagonal(), mean.diagonal()))
    whole = np.divide(mean, scale, out=np.zeros_like(mean), where=scale > 0)
    return whole[np.triu_indices(len(mean), 1)]


def marginal_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Wasserstein-1 distance of all values of a feature, (M, T, F) and (N, T, F), in the reals' standard deviations; mean over features. A feature that is
    constant in the reals counts in its own unit."""
    spread = real.std((0, 1))
    each = [wasserstein_1d(real[..., i].ravel(), fake[..., i].ravel()) for i in range(real.shape[2])]
    return float(np.mean(each / np.where(spread > 0, spread, 1)))


def gather(side: Side) -> np.ndarray:
    """(N, T, F) float64, at most MOST series drawn with a fixed seed. Raises UserError where lengths differ."""
    chunks = [torch.as_tensor(chunk) for _, chunk in side.chunks()]
    if len({chunk.shape[1:] for chunk in chunks}) != 1 or chunks[0].ndim != 3:
        raise UserError("The series of '{data}' differ in shape: {shapes}. Expected (series, steps, features), all of one length: cut them alike.",
                        data=side.name, shapes=", ".join(sorted({str(tuple(chunk.shape[1:])) for chunk in chunks})))
    whole = torch.cat(chunks).double().numpy()
    return whole if len(whole) <= MOST else whole[np.sort(np.random.default_rng(0).choice(len(whole), MOST, replace=False))]


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """The asked ones of the five."""
    real, fake = gather(samples.real), gather(samples.fake)
    if real.shape[1:] != fake.shape[1:]:
        raise UserError("Real series have shape {real}, fake ones {fake} (steps, features). Expected the same: cut them alike.",
                        real=real.shape[1:], fake=fake.shape[1:])
    if real.shape[1] < 2:
        raise UserError("Series of {steps} step have no course. Expected 2 steps or more.", steps=real.shape[1])
    results = _statistics(samples, [name for name in names if name in STATISTICS], real, fake)
    for name in TRAINED:
        if name in names:
            results.append(_trained(samples, name, real, fake))
    return results


def _statistics(samples: Samples, names: list[str], real: np.ndarray, fake: np.ndarray) -> list[dict]:
    results = []
    for name in names:
        if name == "cross_correlation_distance" and real.shape[2] < 2:
            raise Unavailable("cross_correlation_distance needs two features or more, these series have one. Leave it out: --metrics autocorrelation_distance")
        prepare, score, about = STATISTICS[name]
        ours, theirs = prepare(real), prepare(fake)

        def one(rows: np.ndarray, others: np.ndarray, against_fake: bool, name=name, score=score, ours=ours, theirs=theirs) -> dict[str, float]:
            return {name: score(ours[rows], (theirs if against_fake else ours)[others])}

        results += compare(samples, [name], len(real), len(fake), one, protocol={**about(real), "most": MOST})
    return results


def lags_of(series: np.ndarray) -> int:
    """How many lags are compared: LAGS, or half of the series: the longest lags have few products to average over."""
    return max(1, min(LAGS, series.shape[1] // 2))


def _difference(of: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda real, fake: float(np.abs(of(real) - of(fake)).mean())


STATISTICS = {
    "autocorrelation_distance": (lambda x: lag_products(x, lags_of(x)), _difference(autocorrelation), lambda x: {"lags": lags_of(x)}),
    "cross_correlation_distance": (feature_products, _difference(correlation), lambda x: {"lag": 0}),
    "marginal_distance": (lambda x: x, marginal_distance, lambda x: {"unit": "standard deviations of the reals"}),
}
TRAINED = {"discriminative_score": discriminative_score, "predictive_score": predictive_score}


def _trained(samples: Samples, name: str, real: np.ndarray, fake: np.ndarray) -> dict:
    """Mean over REPEATS networks at half of the counts, so that real half against real half is the same measurement."""
    half = min(len(real), len(fake)) // 2
    if half < FEWEST:
        raise Unavailable("{metric} trains a network and needs {least} series or more on each side, there are {real} real and {fake} fake. Give more.",
                          metric=name, least=2 * FEWEST, real=len(real), fake=len(fake))
    values, floor = [], []
    for seed in range(REPEATS):
        random = np.random.default_rng([2, seed])
        order = random.permutation(len(real))
        ours, other = real[order[:half]], real[order[half : 2 * half]]
        values.append(TRAINED[name](ours, fake[random.permutation(len(fake))[:half]], seed))
        floor.append(TRAINED[name](ours, other, seed))
    return samples.result(
        name, np.mean(values), np.std(values, ddof=1), num_real=len(real), num_fake=len(fake),
        protocol={
            "network": f"GRU of {HIDDEN} units", "steps": STEPS, "batch": BATCH, "optimizer": f"Adam, {RATE} falling to 0", "window": WINDOW,
            "repeats": REPEATS, "compared_real": half, "compared_fake": half, "value": "mean over networks, each on random halves of both sides",
            "error": "standard deviation over the networks and halves",
        },
        reference={"perfect_sampler": perfect(floor, "one half of the reals in the fakes' place, same networks and counts")},
        details={"each": [float(value) for value in values]},
    )  # fmt: skip
