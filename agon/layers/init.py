"""Weight initialisation of whole networks."""

from __future__ import annotations

import torch
from torch import nn

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding)


@torch.no_grad()
def initialise(network: nn.Module, scheme: str) -> None:
    """Draw the weights of ``network`` anew. ``scheme``:

    * ``default``: leave what the layers chose;
    * ``normal``: N(0, 0.02), norms N(1, 0.02), biases 0 (Radford et al. 2016);
    * ``orthogonal``: orthogonal matrices, biases 0 (Saxe et al. 2014; Brock et al. 2019);
    * ``xavier``: Glorot uniform, biases 0 (Miyato et al. 2018 with gain sqrt(2) inside residual blocks);
    * ``he``: normal with variance 2 / inputs, biases 0 (He et al. 2015): keeps the size of signals through rectifiers where no norm does.

    A linear layer marked ``part_of_norm`` holds a norm's gains and shifts and stays as it is.
    """
    if scheme == "default":
        return
    draw = {
        "normal": lambda w: nn.init.normal_(w, 0.0, 0.02),
        "orthogonal": nn.init.orthogonal_,
        "xavier": nn.init.xavier_uniform_,
        "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    }[scheme]
    for module in network.modules():
        if isinstance(module, WEIGHTED) and not getattr(module, "part_of_norm", False):
            weight = module.parametrizations.weight.original if hasattr(module, "parametrizations") else module.weight
            draw(weight)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
        elif scheme == "normal" and isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
