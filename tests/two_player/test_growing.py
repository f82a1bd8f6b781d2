"""Oracle: a picture that is enlarged from a coarser one is constant on blocks."""

import numpy as np
import pytest
import torch

from agon import catalog
from agon.config import build
from agon.data.source import ArraySource, DataSpec
from agon.train.trainer import Trainer


@pytest.mark.parametrize("name", ["progan", "stylegan"])
def test_samples_are_as_coarse_as_the_training_from_the_first_moment_and_between_averages(name):
    cls, spec = catalog.load(name), DataSpec("image", (1, 16, 16))
    torch.manual_seed(0)
    config = build(cls.Config, cls.presets["tiny"].fields, {"precision": "fp32", "ema_every": 4, "stable_images": 16, "fade_images": 8})
    pixels = np.random.default_rng(0).integers(0, 256, (32, 1, 16, 16), dtype=np.uint8)
    trainer = Trainer(cls(config, spec), ArraySource("noise", spec, pixels))
    for step in range(8):  # 16 images at 4x4, 8 of fading, then 16 at 8x8, 8 of fading, then 16x16
        with trainer.averaged() as game:
            samples = game.sample(3, seed=0)
        side = {0: 4, 1: 4, 2: 4, 4: 2, 5: 2}.get(step)  # what the step before played at
        if side:
            blocks = samples.unfold(2, side, side).unfold(3, side, side)
            assert (blocks.amax((4, 5)) - blocks.amin((4, 5))).max() == 0, step
        trainer.advance()
    assert float(trainer.ema.modules["generator"].get_buffer("lod" if name == "progan" else "synthesis.lod")) == 0
