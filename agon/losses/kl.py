"""Auto-Encoding Variational Bayes (Kingma & Welling, 2014), https://arxiv.org/abs/1312.6114, appendix B, as a pure function."""

from __future__ import annotations

from torch import Tensor


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) = 1/2 sum(mean^2 + exp(log_variance) - 1 - log_variance) of (N, Z), in nats: the mean over N, float32."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
