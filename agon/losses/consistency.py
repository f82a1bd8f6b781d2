"""Consistency regularisation as pure functions: Consistency Regularization for Generative Adversarial Networks (Zhang et al., 2020),
https://arxiv.org/abs/1910.12027, and Improved Consistency Regularization for GANs (Zhao et al., 2021), https://arxiv.org/abs/2002.04724."""

from __future__ import annotations

from torch import Tensor


def consistency(outputs: Tensor, others: Tensor) -> Tensor:
    """E |D(x) - D(T(x))|^2 of the logits of samples and of the same samples changed a little (Zhang et al., equation 3; Zhao et al., equations 1 to 3)."""
    return (outputs.float() - others.float()).square().mean()


def latent_indifference(made: Tensor, near: Tensor) -> Tensor:
    """-E |G(z) - G(T(z))|^2: falls as neighbouring latents give samples (N, ...) that differ more (Zhao et al., algorithm 2).

    The mean over a sample's values and not their sum, so that the weight does not depend on the resolution.
    """
    return -(made.float() - near.float()).square().mean()
