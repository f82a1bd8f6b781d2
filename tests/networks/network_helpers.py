"""What the tests of the networks share: a configuration by keywords and both networks of a family."""

import torch

from agon.config import build
from agon.data.source import DataSpec
from agon.networks import build_generator, family
from agon.two_player import TwoPlayerConfig


def pictures(channels, height, width):
    return DataSpec("image", (channels, height, width))


def config_of(**fields):
    return build(TwoPlayerConfig, {"width": 4, "discriminator_width": 4, "latent_dim": 5, "blocks": 1, "group_width": 2, "embedding_dim": 3}, fields)


def networks(spec, condition_dim=0, **fields):
    """(generator, backbone that is given the condition as an input) with weights drawn from seed 0."""
    torch.manual_seed(0)
    config = config_of(**fields)
    return build_generator(config, spec, condition_dim), family(config, spec).backbone(config, spec, condition_dim)


def randomise(module, scale=0.3):
    """No parameter at 0 or 1: what starts as the identity would hide mistakes."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return module
