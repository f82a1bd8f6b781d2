"""The metrics by name, for ``agon list metrics``: a table that needs no torch."""

METRICS: dict[str, tuple[str, str]] = {
    "frechet": (
        "agon.metrics.frechet",
        "Fréchet distance between Gaussians fitted to real and fake features (lower is better)",
    ),
    "kid": (
        "agon.metrics.kid",
        "Kernel distance: unbiased cubic-kernel MMD in features, with a test of whether it differs from 0 (lower is "
        "better)",
    ),
    "precision": ("agon.metrics.prdc", "Fraction of fakes that lie among the real samples (higher is better)"),
    "recall": ("agon.metrics.prdc", "Fraction of reals that lie among the fakes (higher is better)"),
    "density": (
        "agon.metrics.prdc",
        "How densely the reals surround the fakes (1 is a perfect sampler's; more means the fakes crowd)",
    ),
    "coverage": (
        "agon.metrics.prdc",
        "Fraction of reals that have a fake as near as their own neighbours (higher is better)",
    ),
    "accuracy": (
        "agon.metrics.accuracy",
        "Fraction of conditional samples that a classifier gives the class asked for (higher is better)",
    ),
    "near_copies": (
        "agon.metrics.copying",
        "Fraction of fakes nearer to a training sample than 99 % of the reals are (1 % is a perfect sampler's)",
    ),
    "modes": ("agon.metrics.modes", "Modes of a known mixture that the samples reach"),
    "high_quality": (
        "agon.metrics.modes",
        "Fraction of samples within 3 sigma of a mode (98.9 % is a perfect sampler's in the plane)",
    ),
    "reverse_kl": (
        "agon.metrics.modes",
        "Reverse KL divergence between the samples' shares of the modes and the true ones, in nats (lower is better)",
    ),
    "sliced_wasserstein": (
        "agon.metrics.sliced_wasserstein",
        "Mean Wasserstein-1 distance over random directions, for points (lower is better)",
    ),
    "pixel_sliced_wasserstein": (
        "agon.metrics.sliced_wasserstein",
        "The same on raw pixels, where no feature extractor fits: a coarse number (lower is better)",
    ),
}
