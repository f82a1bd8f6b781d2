"""Games that make a picture from a picture: what they share, whatever the objective."""

from agon.translation.config import TINY, TranslationConfig
from agon.translation.game import TranslationGame
from agon.translation.objectives import OBJECTIVES, Objective

__all__ = ["OBJECTIVES", "TINY", "Objective", "TranslationConfig", "TranslationGame"]
