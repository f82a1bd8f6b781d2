"""What a learner can choose, as one typed configuration, and the field of a game that each choice sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agon.game import Game

DataKind = Literal["ring", "grid", "line", "swissroll", "moons", "drawn", "csv"]
ObjectiveName = Literal["minimax", "non_saturating", "least_squares", "wasserstein_clip", "wgan_gp", "hinge", "r3gan"]
Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
MOST_STAGES = 4
STEADY = {"penalty_weight_final": None, "optimizer.schedule": "constant", "optimizer.beta2_final": None, "optimizer.beta2": 0.99}
"""A live game has no end, so that nothing may depend on how much of it is left."""


@dataclass(frozen=True)
class Objective:
    """A game file and the fields that make it this objective. ``scale``: what the discriminator's output means: a ``logit`` of a probability, ``target`` 1 for
    real and 0 for fake, or a ``score`` without a unit. ``defaults``: of a stage's fields, where they differ."""

    id: str
    label: str
    game: str
    note: str
    scale: Literal["logit", "target", "score"] = "score"
    smoothing: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)


OBJECTIVES = (
    Objective("minimax", "Minimax", "gan", "The game as it was first written: the generator minimises log(1 - D). Its gradient vanishes while D is sure.",
              "logit", True, {"objective": "minimax"}),
    Objective("non_saturating", "Non-saturating", "gan", "The generator minimises -log D instead: the same fixed point, a strong gradient from the start.",
              "logit", True, {"objective": "non_saturating"}),
    Objective("least_squares", "Least squares", "lsgan", "Targets 1 and 0, squared error: fakes far on the right side are still pulled in.", "target", True),
    Objective("wasserstein_clip", "Wasserstein, clipped", "wgan", "A critic instead of a classifier, kept smooth by clipping its weights.",
              defaults={"critic_steps": 5, "weight_clip": 0.1}),
    Objective("wgan_gp", "Wasserstein, gradient penalty", "wgan_gp", "The critic's slope is held near 1 by a penalty between real and fake points.",
              fields={"penalty": "wgan_gp"}, defaults={"critic_steps": 5, "penalty_weight": 0.3}),
    Objective("hinge", "Hinge", "sngan", "Only points that the discriminator is not yet sure of count in its turn.", fields={"spectral_norm": "none"}),
    Objective("r3gan", "R3GAN", "r3gan", "Real and fake points are judged in pairs, and the slope is penalised at both (R1 and R2): this game converges.",
              fields={"penalty": "r1_r2"}, defaults={"penalty_weight": 0.1}),
)  # fmt: skip
BY_NAME = {objective.id: objective for objective in OBJECTIVES}


class Shared(BaseModel):
    """What all stages have in common: they differ in nothing but their own fields."""

    model_config = ConfigDict(extra="forbid")

    data: DataKind = Field("ring", title="Data")
    points: Annotated[list[tuple[Number, Number]], Field(max_length=5_000)] = Field([], title="Points")
    seed: int = Field(0, ge=0, le=999_999, title="Seed")
    batch: int = Field(128, ge=16, le=512, title="Batch size")
    latent_dim: int = Field(2, ge=1, le=16, title="Latent numbers")
    generator_width: int = Field(32, ge=4, le=128, title="Generator: width")
    generator_depth: int = Field(2, ge=1, le=4, title="Generator: layers")
    discriminator_width: int = Field(32, ge=4, le=128, title="Discriminator: width")
    discriminator_depth: int = Field(2, ge=1, le=4, title="Discriminator: layers")


class StageChoice(BaseModel):
    """One stage. A field that is left out (None) is as its objective likes it."""

    model_config = ConfigDict(extra="forbid")

    objective: ObjectiveName = Field("non_saturating", title="Objective")
    label_smoothing: float = Field(0.0, ge=0, le=0.4, title="Label smoothing")
    generator_lr: float = Field(2e-3, ge=1e-5, le=0.1, title="Generator: learning rate")
    discriminator_lr: float = Field(2e-3, ge=1e-5, le=0.1, title="Discriminator: learning rate")
    critic_steps: int | None = Field(None, ge=1, le=10, title="Discriminator steps a turn")
    instance_noise: float = Field(0.0, ge=0, le=1, title="Noise on what the discriminator sees")
    penalty: Literal["none", "wgan_gp", "dragan", "r1", "r2", "r1_r2"] | None = Field(None, title="Gradient penalty")
    penalty_weight: float | None = Field(None, ge=0, le=10, title="Weight of the penalty")
    weight_clip: float | None = Field(None, ge=0, le=1, title="Weights clipped at (0: off)")
    optimizer: Literal["adam", "sgd", "rmsprop"] = Field("adam", title="Optimizer")
    beta1: float = Field(0.5, ge=0, le=0.9, title="Momentum (beta1)")

    def settled(self) -> dict[str, Any]:
        """Every field with a value, those of the objective where nothing was said."""
        objective = BY_NAME[self.objective]
        usual = {"critic_steps": 1, "penalty": objective.fields.get("penalty", "none"), "penalty_weight": 0.1, "weight_clip": 0.0} | objective.defaults
        return {name: usual[name] if value is None else value for name, value in self.model_dump().items()}


def fields_of(shared: Shared, stage: StageChoice) -> dict[str, Any]:
    """The fields of the stage's game. Networks are the same whatever the game, so that stages can begin alike."""
    objective, chosen = BY_NAME[stage.objective], stage.settled()
    return {
        "images": 1 << 60, "batch_size": shared.batch, "seed": shared.seed, "precision": "fp32", "ema_half_life_images": 0, "log_every": 1 << 40,
        "latent_dim": shared.latent_dim, "generator_hidden": (shared.generator_width,) * shared.generator_depth,
        "discriminator_hidden": (shared.discriminator_width,) * shared.discriminator_depth, "rectifier": "relu", "init": "default",
        "optimizer.name": chosen["optimizer"], "optimizer.lr": chosen["generator_lr"], "discriminator_lr": chosen["discriminator_lr"],
        "optimizer.beta1": chosen["beta1"], "num_critic": chosen["critic_steps"], "instance_noise": chosen["instance_noise"],
        "label_smoothing": chosen["label_smoothing"] if objective.smoothing else 0.0, "weight_clip": chosen["weight_clip"],
        **STEADY, **objective.fields, "penalty": chosen["penalty"], "penalty_weight": chosen["penalty_weight"],
    }  # fmt: skip


def build_game(shared: Shared, stage: StageChoice, spec: Any) -> Game:
    """The very game of the catalog, configured. Raises UserError for choices that do not go together."""
    from agon import catalog
    from agon.config import build

    cls = catalog.load(BY_NAME[stage.objective].game)
    return cls(build(cls.Config, fields_of(shared, stage)), spec)
