"""The common ground of games between one generator and one discriminator, with the techniques that any of them can take.

A concrete game adds its objective (``discriminator_terms``, ``generator_terms``), its networks' defaults and its presets. It is not a
paper of its own: what is here is what the papers share.
"""

from agon.two_player.config import POINTS, SMALL, TINY, Init, Layers, Network, Norm, Penalty, TwoPlayerConfig
from agon.two_player.game import TwoPlayerGame

__all__ = ["POINTS", "SMALL", "TINY", "Init", "Layers", "Network", "Norm", "Penalty", "TwoPlayerConfig", "TwoPlayerGame"]
