"""Inception Score: exp of the mean KL divergence of a classifier's answer to a sample from its mean answer.

Salimans et al., 2016, "Improved Techniques for Training GANs", https://arxiv.org/abs/1606.03498, section 4; mean and standard deviation over 10 parts of the
samples, which are shuffled first (a folder in the order of its classes would give parts of one class each) with the generator and seed of torch-fidelity, so
that equal logits give its number. It sees no real sample: diversity within a class and fidelity to the data do not count, and a memorised picture a class
scores best. It is biased downwards where a part has few samples (Chong and Forsyth, 2020, https://arxiv.org/abs/1911.07023).
"""

import numpy as np

from agon.errors import Unavailable
from agon.metrics.bootstrap import NUM_SPLITS, perfect
from agon.metrics.samples import Samples

METRICS = {"inception_score": "Inception Score: how sure and how varied a classifier's answers are (higher is better)"}
KINDS = ("image",)
EXTRACTOR = "inception"
LAYERS = ("logits",)

SPLITS = 10
SHUFFLE_SEED = 2020


def inception_scores(logits: np.ndarray, num_splits: int = SPLITS, seed: int | None = SHUFFLE_SEED) -> np.ndarray:
    """(num_splits,) scores, each in [1, K], of (N, K) logits; published are their mean and ``std()``. ``seed`` None keeps the order."""
    count = len(logits)
    if count < num_splits:
        raise Unavailable(
            "The Inception Score cannot be split into {splits} parts of {count} samples. Expected at least {least}: draw more (-n {least}).",
            splits=num_splits, count=count, least=10 * num_splits,
        )  # fmt: skip
    order = np.arange(count) if seed is None else np.random.RandomState(seed).permutation(count)
    return np.array([score(logits[order[i * count // num_splits : (i + 1) * count // num_splits]]) for i in range(num_splits)])


def score(logits: np.ndarray) -> float:
    """exp(mean KL(p(y|x) || p(y))) of (N, K) logits: between 1 and min(N, K)."""
    logits = np.asarray(logits, np.float64)
    log_p = logits - logits.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    mean = p.mean(axis=0)
    # Where no sample gives a class any weight (underflow), it adds nothing.
    log_mean = np.log(np.where(mean > 0, mean, 1))
    return float(np.exp((p * (log_p - log_mean)).sum(axis=1).mean()))


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Mean over 10 parts of the fakes; beside it the reals', at the same count where there are as many."""
    if "logits" not in samples.extractor.layers:
        raise Unavailable(
            "The Inception Score needs a classifier, and the extractor '{extractor}' gives no logits. "
            "Use inception_score (Inception) or inception_score_digits.",
            extractor=samples.extractor.name,
        )
    real, fake = samples.features("logits")
    scores = inception_scores(fake)
    size, classes = len(fake) // SPLITS, fake.shape[1]
    warnings = (f"A part has {size} samples for {classes} classes: the score is biased downwards; draw 10 a class and part.",) if size < 10 * classes else ()
    return [
        samples.result(
            "inception_score",
            scores.mean(),
            scores.std(ddof=1) / np.sqrt(SPLITS),
            num_real=len(real),
            num_fake=len(fake),
            protocol={"splits": SPLITS, "shuffled": True, "value": "mean over the parts", "error": "standard deviation over the parts / sqrt(parts)"},
            reference=of_reals(real, len(fake)),
            details={"standard_deviation_over_splits": float(scores.std()), "classes": classes, "scores": scores.tolist()},
            warnings=warnings,
        )
    ]


def of_reals(real: np.ndarray, num_fake: int) -> dict:
    """The reals' own score from their logits (M, K): random subsets of as many as there are fakes, else once all of them; {} where they are too few."""
    if len(real) < SPLITS:
        return {}
    if len(real) <= num_fake:
        few = "" if len(real) == num_fake else f" (there are not {num_fake})"
        return {"perfect_sampler": perfect(inception_scores(real), f"the real samples' own score, {len(real)} of them{few}; standard deviation over parts")}
    subsets = [np.sort(np.random.default_rng([4, index]).permutation(len(real))[:num_fake]) for index in range(NUM_SPLITS)]
    scores = [inception_scores(real[chosen]).mean() for chosen in subsets]
    return {"perfect_sampler": perfect(scores, f"the real samples' own score, random subsets of {num_fake} of {len(real)}")}
