"""The patchwise contrastive loss of CUT (Park et al., 2020), https://arxiv.org/abs/2007.15651, equations 2 and 3, as a pure function."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def patch_nce(query: Tensor, key: Tensor, temperature: float = 0.07) -> Tensor:
    """Mean over patches of -log exp(q_s . k_s / t) / sum_r exp(q_s . k_r / t), float32.

    ``query``: (N, P, E) unit vectors of the translation's patches, ``key``: of the same places in the source, which get no gradient. The negatives of a patch
    are the other patches of its own picture ("internal", section 3.3). The authors' code adds exp(-10 / t) to every denominator, which float32 cannot tell.
    """
    similarity = query.float() @ key.detach().float().transpose(1, 2) / temperature
    own = torch.arange(query.shape[1], device=query.device).expand(len(query), -1)
    return F.cross_entropy(similarity.transpose(1, 2), own)
