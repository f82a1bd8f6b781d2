"""Conditional Image Synthesis with Auxiliary Classifier GANs (Odena et al., 2017), https://arxiv.org/abs/1610.09585.

The discriminator also names the class, of real and fake samples alike (section 3, L_S and L_C); the generator is told the class and must make samples
that are classified as such.

Differs from the paper: DCGAN's networks; the label is appended to the latent as a one-hot vector; the classification term's weight in the
generator's turn is a field.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F

from agon.config import Preset
from agon.errors import UserError
from agon.losses.adversarial import cross_entropy_discriminator, non_saturating_generator
from agon.two_player import POINTS, SMALL, TINY, Init, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    init: Init = "normal"
    class_weight: float = 1.0
    """Weight of the classification terms in both turns."""


class ACGAN(TwoPlayerGame):
    """Outputs of the discriminator: (N, 1 + num_classes), real-or-fake first."""

    Config = Config
    condition_mode = "auxiliary"
    needs_condition = True
    smooths_labels = True
    presets = {
        "digits": Preset(max_size=16, fields=SMALL),
        "image": Preset(fields={"images": 5_000_000, "batch_size": 100}, note="labelled pictures: agon train acgan --data my_pictures/"),
        "toy": Preset(kind="points", fields=POINTS),
        "tiny": Preset(kind="any", auto=False, fields=TINY),
    }

    def __init__(self, config, spec):
        if not spec.num_classes:
            raise UserError("ACGAN classifies, and the data have no classes. Expected labels: a folder with one sub-folder for each class, say.")
        super().__init__(config, spec)

    def logits(self, outputs):
        return outputs[:, 0]

    def discriminator_terms(self, real, fake, batch):
        classes = F.cross_entropy(real[:, 1:], batch.label) + F.cross_entropy(fake[:, 1:], batch.label)
        return {
            "adversarial": cross_entropy_discriminator(real[:, 0], fake[:, 0], self.config.label_smoothing),
            "classes": self.config.class_weight * classes,
        }

    def generator_terms(self, fake, real, batch):
        classes = F.cross_entropy(fake[:, 1:], batch.label)
        return {"adversarial": non_saturating_generator(fake[:, 0]), "classes": self.config.class_weight * classes}
