"""What the games that grow share: a run in phases, one number that says how far it has come (agon/layers/progressive.py), and real pictures faded likewise."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from agon.config import require
from agon.data.source import Batch, DataSpec
from agon.game import Context, Stage
from agon.layers.progressive import Growth, Progressive, faded, set_lod
from agon.networks.sizes import doublings
from agon.two_player.config import TwoPlayerConfig
from agon.two_player.game import TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class GrowingConfig(TwoPlayerConfig):
    channel_base: int = 16384
    """A resolution of s pixels has this / s channels (the authors' fmap_base is half of it)."""
    channel_max: int = 512
    """The most channels of any layer."""
    minibatch_std: int = 4
    """Samples in a group of the minibatch standard deviation; 0: off."""
    start_size: int = 4
    """Smallest side, in pixels, of the pictures that the run begins with."""
    stable_images: int = 600_000
    """Real images at a resolution before the next one is faded in."""
    fade_images: int = 600_000
    """Real images while the next resolution is faded in."""
    enlarge: bool = True
    """While growing, pictures are enlarged to the full size before the discriminator sees them (the authors' TensorFlow code; the smaller the pictures, the
    weaker a gradient penalty). false: it sees them as they are, as in most ports."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("channel_base", "channel_max", "start_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a number above 0")
        for name in ("minibatch_std", "stable_images", "fade_images"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(not self.latent_components, "latent_components", self.latent_components, "0 in a game that grows")


class GrowingGame(TwoPlayerGame):
    """A game whose generator has a part that grows, and whose discriminator takes pictures of any resolution from the present one upwards."""

    def __init__(self, config: GrowingConfig, spec: DataSpec):
        super().__init__(config, spec)
        times, base = doublings(spec, config.base_size)
        self.growth = Growth(times, min(base), config.start_size, config.stable_images, config.fade_images)
        if not self.growing.lod.is_meta:
            set_lod(self, self.growth.lod(0))  # what is sampled before the first step, too, comes from layers that the first step trains

    @property
    def growing(self) -> Progressive:
        """The part of the generator that knows the level of detail."""
        return next(part for part in self.generator.modules() if isinstance(part, Progressive))

    def stages(self) -> list[Stage]:
        (stage,) = super().stages()
        return [Stage(name, stage.updates, length, fresh_optimizers=True) for name, length in self.growth.phases()]

    def prepare(self, ctx: Context) -> None:
        set_lod(self, self.growth.lod(ctx.num_images))
        ctx.log("lod", self.growing.lod)

    def real(self, batch: Batch) -> Tensor:
        return faded(batch.real, self.growing.level_of_detail(), enlarge=self.config.enlarge)
