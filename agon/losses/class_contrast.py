"""Class losses that compare the samples of a batch with each other, for conditional games.

``embedding``: (N, E) a discriminator's embeddings of samples, ``proxies``: (K, E) one vector for each class, ``label``: (N,). All are normalised here; float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def conditional_contrastive(embedding: Tensor, proxies: Tensor, label: Tensor, temperature: float = 1.0) -> Tensor:
    """The 2C loss of ContraGAN (Kang & Park 2020, https://arxiv.org/abs/2006.12681, equation 8).

    A sample is drawn to its class's proxy and to the samples of its class, and away from all others: minus the log of their share of sum exp(cosine / t).
    """
    f, own = _normalised(embedding, proxies, label)
    with_proxy = ((f * own).sum(1) / temperature)[:, None]
    among = (f @ f.T / temperature).masked_fill(_itself(f), -torch.inf)
    alike = among.masked_fill(label[:, None] != label[None], -torch.inf)
    return (torch.cat([with_proxy, among], 1).logsumexp(1) - torch.cat([with_proxy, alike], 1).logsumexp(1)).mean()


def data_to_data_cross_entropy(
    embedding: Tensor, proxies: Tensor, label: Tensor, temperature: float = 0.5, positive_margin: float = 0.98, negative_margin: float = 0.02
) -> Tensor:
    """The D2D-CE loss of ReACGAN (Kang et al. 2021, https://arxiv.org/abs/2111.01118, equation 6).

    A sample is drawn to its class's proxy, as far as the cosine is below ``positive_margin``, and away from the samples of other classes, as far as theirs
    is above ``negative_margin``: what is easy gives no gradient.
    """
    f, own = _normalised(embedding, proxies, label)
    positive = (((f * own).sum(1) - positive_margin).clamp(max=0) / temperature)[:, None]
    negative = ((f @ f.T - negative_margin).clamp(min=0) / temperature).masked_fill(label[:, None] == label[None], -torch.inf)
    return (torch.cat([positive, negative], 1).logsumexp(1) - positive[:, 0]).mean()


def _normalised(embedding: Tensor, proxies: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    return F.normalize(embedding.float(), dim=1), F.normalize(proxies.float(), dim=1)[label]


def _itself(f: Tensor) -> Tensor:
    return torch.eye(len(f), dtype=torch.bool, device=f.device)
