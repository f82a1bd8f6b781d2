"""The common ground of games between one generator and one discriminator, with the techniques that any of them can take.

A concrete game adds its objective (``discriminator_terms``, ``generator_terms``), its networks' defaults and its presets. It is not a
paper of its own: what is here is what the papers share.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.augment.diffaug import augment, check_policy
from agon.config import OptimizerConfig, TrainConfig, require
from agon.data.source import Batch, DataSpec
from agon.errors import UserError
from agon.game import Context, Game, Player, Stage, Terms, Update
from agon.layers import spectral
from agon.layers.init import initialise
from agon.layers.mixture_latent import MixtureLatent
from agon.losses import penalties
from agon.losses.adversarial import pair_accuracy
from agon.networks import build_backbone, build_generator
from agon.networks.discriminator import Discriminator

Network = Literal["mlp", "dcgan", "resnet", "r3gan"]
Norm = Literal["batch", "instance", "none"]
Init = Literal["default", "normal", "orthogonal", "xavier"]
Penalty = Literal["none", "wgan_gp", "dragan", "r1", "r2", "r1_r2"]
Layers = Literal["none", "discriminator", "both"]

TINY = {
    "images": 480, "batch_size": 8, "latent_dim": 8, "width": 8, "discriminator_width": 8, "blocks": 1, "base_size": 2, "embedding_dim": 8, "log_every": 10,
    "generator_hidden": (16, 16), "discriminator_hidden": (16, 16), "sample_every_images": 240, "checkpoint_every_images": 160,
}  # fmt: skip
"""Fields of every two-player game's preset ``tiny``: any data, about a second, to see that everything works."""

POINTS = {
    "images": 768_000, "batch_size": 256, "latent_dim": 16, "generator_hidden": (128, 128, 128), "discriminator_hidden": (128, 128, 128),
    "rectifier": "relu", "precision": "fp32", "optimizer.lr": 1e-3, "optimizer.schedule": "linear", "optimizer.decay_start": 0.5,
}  # fmt: skip
"""Fields that the presets for points share (MLPs of 3 x 128, as in the mixture experiments of VEEGAN and PacGAN)."""

SMALL = {
    "images": 400_000, "base_size": 2, "width": 48, "optimizer.lr": 1e-3, "optimizer.schedule": "linear", "ema_half_life_images": 20_000,
}  # fmt: skip
"""Fields that the presets for tiny pictures share (docs/log.md says what they gave): a minute or less of a CPU on digits."""


WIDEST_EMBEDDING = 768
"""Length of a bilinear head's embedding where the features are longer; R3GAN's are as long as its features, 768."""


@dataclass(frozen=True, kw_only=True)
class TwoPlayerConfig(TrainConfig):
    latent_dim: int = 100
    """Length of the latent vector, drawn from N(0, 1)."""
    latent_components: int = 0
    """Draw the latent from a mixture of so many Gaussians with learnt centres (helps to reach separate modes; DeLiGAN). 0: one N(0, 1)."""
    latent_width: float = 0.1
    """Standard deviation of those components."""
    conditional: bool = True
    """Use the data's labels or condition vectors where the game can."""
    network: Network = "dcgan"
    """Architecture of both players for pictures (agon/networks). Points always get an MLP."""
    width: int = 64
    """Channels of the generator's widest (resnet, r3gan) or narrowest (dcgan) layer."""
    discriminator_width: int = 0
    """The same for the discriminator. 0: as the generator."""
    base_size: int = 4
    """Smallest side, in pixels, of the resolution that convolutional networks start from."""
    blocks: int = 2
    """Residual blocks at each resolution (r3gan)."""
    group_width: int = 8
    """Channels of r3gan's widths per convolution group."""
    expansion: int = 2
    """How much wider a residual block is inside (r3gan)."""
    embedding_dim: int = 64
    """Length of a condition's embedding in r3gan's generator (a bilinear head's is as long as the features, up to 768, as published)."""
    generator_hidden: tuple[int, ...] = (256, 512, 1024)
    """Hidden layers of an MLP generator."""
    discriminator_hidden: tuple[int, ...] = (512, 256)
    """Hidden layers of an MLP discriminator."""
    rectifier: Literal["relu", "leaky"] = "leaky"
    """Activation inside MLPs; leaky has slope 0.2."""
    fourier_features: int = 0
    """Random Fourier frequencies appended to points before an MLP discriminator. 0: none."""
    fourier_scale: float = 1.0
    """Standard deviation of those frequencies, in cycles per unit of the data."""
    generator_norm: Norm = "batch"
    """Normalisation in dcgan and mlp generators."""
    discriminator_norm: Norm = "batch"
    """Normalisation in dcgan discriminators."""
    sampling_statistics: Literal["running", "standing", "batch"] = "standing"
    """Batch norm when sampling: running averages of training, re-estimated for the averaged weights, or of each batch."""
    init: Init = "default"
    """Weights at the start: as the layers choose, N(0, 0.02), orthogonal, or Glorot uniform."""
    spectral_norm: Layers = "none"
    """Divide weights by their largest singular value (Miyato et al. 2018)."""
    optimizer: OptimizerConfig = OptimizerConfig()
    discriminator_lr: float | None = None
    """Learning rate of the discriminator where it differs (two time-scale update rule, Heusel et al. 2017)."""
    num_critic: int = 1
    """Discriminator steps for each generator step, each on a new batch."""
    label_smoothing: float = 0.0
    """One-sided: real samples are to score 1 - this (Salimans et al. 2016: 0.1). For cross-entropy and least-squares games."""
    instance_noise: float = 0.0
    """Standard deviation of noise on the discriminator's inputs, falling to 0 along a line (Sonderby et al. 2017)."""
    instance_noise_until: float = 1.0
    """Fraction of the run at which instance noise has gone."""
    diffaugment: str = ""
    """Differentiable augmentation of the discriminator's inputs: some of color,translation,cutout (Zhao et al. 2020)."""
    penalty: Penalty = "none"
    """Gradient penalty on the discriminator (agon/losses/penalties.py)."""
    penalty_weight: float = 10.0
    """Weight of the penalty (lambda of WGAN-GP and DRAGAN, gamma of R1 and R2)."""
    penalty_weight_final: float | None = None
    """Weight at the end, reached by equal factors. None: constant."""
    penalty_every: int = 1
    """Compute the penalty in every so-many-th step only, with its gradient multiplied by as much (lazy regularisation, Karras et al. 2020)."""
    weight_clip: float = 0.0
    """Clip the discriminator's weights to [-this, this] after each of its steps (Arjovsky et al. 2017: 0.01). 0: off."""
    minibatch_discrimination: int = 0
    """Kernels of minibatch discrimination in the discriminator (Salimans et al. 2016: 100). 0: none."""
    top_k: float = 1.0
    """The generator learns from this fraction of its samples, those the discriminator rates best, reached by the run's middle (Sinha et al. 2020: 0.5)."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("latent_dim", "width", "blocks", "group_width", "expansion", "embedding_dim"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a number above 0")
        for name in ("latent_components", "discriminator_width", "fourier_features", "minibatch_discrimination"):
            require((getattr(self, name) or 0) >= 0, name, getattr(self, name), "0 or more")
        for name in ("generator_hidden", "discriminator_hidden"):
            require(all(width >= 1 for width in getattr(self, name)), name, getattr(self, name), "widths above 0, such as 128,128")
        require(self.base_size >= 2, "base_size", self.base_size, "a number of pixels, 2 or more")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "a number in [0, 1)")
        require(self.instance_noise >= 0, "instance_noise", self.instance_noise, "a standard deviation, 0 or more")
        require(0 < self.instance_noise_until <= 1, "instance_noise_until", self.instance_noise_until, "a fraction in (0, 1]")
        require(self.latent_width > 0, "latent_width", self.latent_width, "a standard deviation above 0")
        require(self.penalty_weight_final is None or self.penalty_weight_final > 0, "penalty_weight_final", self.penalty_weight_final, "a number above 0")
        require(0 < self.top_k <= 1, "top_k", self.top_k, "a fraction in (0, 1]")
        require(self.num_critic >= 1, "num_critic", self.num_critic, "a number of steps, 1 or more")
        require(self.penalty_every >= 1, "penalty_every", self.penalty_every, "a number of steps, 1 or more")
        require(self.penalty_weight >= 0, "penalty_weight", self.penalty_weight, "0 or more")
        require(self.weight_clip >= 0, "weight_clip", self.weight_clip, "0 (off) or a bound above 0")
        require(self.discriminator_lr is None or self.discriminator_lr > 0, "discriminator_lr", self.discriminator_lr, "a number above 0")
        check_policy(self.diffaugment)


class TwoPlayerGame(Game):
    """One generator, one discriminator. Subclasses state the objective."""

    ema = ("generator",)
    condition_mode: ClassVar[str] = "none"
    """How the discriminator takes a condition (agon/networks/discriminator.py)."""
    needs_condition: ClassVar[bool] = False
    """Whether data without labels or condition vectors are refused."""
    smooths_labels: ClassVar[bool] = False
    """Whether the objective has a target for real samples that smoothing can lower."""
    paired: ClassVar[bool] = False
    """Whether the generator's objective looks at real samples too."""

    def __init__(self, config: TwoPlayerConfig, spec: DataSpec):
        super().__init__(config, spec)
        self._check(config, spec)
        self.condition_dim = self._condition_dim(config, spec)
        self.takes_labels = bool(self.condition_dim) and not self._by_vector()
        mode = self.condition_mode if self.condition_dim else "none"
        self.augmentation = check_policy(config.diffaugment) if spec.kind == "image" else ()
        self.generator = build_generator(config, spec, self.condition_dim)
        if config.latent_components:
            self.generator = MixtureLatent(self.generator, config.latent_dim, config.latent_components, config.latent_width)
        # points of any scale are played in units of their own standard deviation
        self.register_buffer("shift", torch.tensor(spec.mean or 0.0, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(spec.std or 1.0, dtype=torch.float32))
        backbone = build_backbone(config, spec, self.condition_dim if mode == "concat" else 0)
        self.discriminator = Discriminator(
            backbone, mode, self.condition_dim, bias=getattr(backbone, "head_bias", True),
            minibatch_kernels=config.minibatch_discrimination, embedding_dim=min(backbone.out_features, WIDEST_EMBEDDING),
        )  # fmt: skip
        self.coupled = {name.partition(".")[0] for name in self.batch_coupled()}
        for network in (self.generator, self.discriminator):
            initialise(network, config.init)
        if config.spectral_norm != "none":
            spectral.spectral_normalise(self.discriminator)
        if config.spectral_norm == "both":
            spectral.spectral_normalise(self.generator)

    # --- the objective, stated by each game -------------------------------------------------------------------------------------------

    @abstractmethod
    def discriminator_terms(self, real: Tensor, fake: Tensor, batch: Batch) -> Terms:
        """Named terms from the discriminator's outputs on real and fake samples."""

    @abstractmethod
    def generator_terms(self, fake: Tensor, real: Tensor | None, batch: Batch) -> Terms:
        """Named terms from its outputs on fake samples (and real ones, if ``paired``)."""

    def logits(self, outputs: Tensor) -> Tensor:
        """The part of the outputs that says real or fake, (N,)."""
        return outputs

    # --- who plays, and in what order -------------------------------------------------------------------------------------------------

    def players(self) -> dict[str, Player]:
        config = self.config
        theirs = dataclasses.replace(config.optimizer, lr=config.discriminator_lr or config.optimizer.lr)
        return {"discriminator": Player((self.discriminator,), theirs), "generator": Player((self.generator,), config.optimizer)}

    def stages(self) -> list[Stage]:
        config = self.config
        bound = self.bound_discriminator if config.weight_clip or config.spectral_norm != "none" else None
        updates = [Update("discriminator", self.discriminator_loss, times=config.num_critic, fresh=config.num_critic > 1, after=bound)]
        if config.penalty != "none" and config.penalty_every > 1:
            updates.append(Update("discriminator", self.penalty_loss, every=config.penalty_every, after=bound))
        bound = self.bound_generator if config.spectral_norm == "both" else None
        updates.append(Update("generator", self.generator_loss, after=bound))
        return [Stage("train", tuple(updates))]

    def discriminator_loss(self, batch: Batch, ctx: Context) -> Terms:
        condition = self.condition(batch)
        made = self._to_judge(batch, condition, ctx)
        real, fake = self.seen(self.real(batch), ctx), self.seen(made, ctx)
        penalised = self.config.penalty != "none" and self.config.penalty_every == 1
        if penalised and self.config.penalty in ("r1", "r2", "r1_r2"):
            real_out, fake_out, penalty = self._judge_with_penalty(real, fake, condition)
        else:
            real_out, fake_out = self._judge(real, fake, condition)
            penalty = self._penalty(real, fake, condition, ctx) if penalised else None
        terms = self.discriminator_terms(real_out, fake_out, batch)
        if penalty is not None:
            terms["penalty"] = self.penalty_weight(ctx) * penalty
        if ctx.logging:
            self._log(self.real(batch), made, self.logits(real_out), self.logits(fake_out), ctx)
        return terms

    def penalty_loss(self, batch: Batch, ctx: Context) -> Terms:
        """The penalty as an update of its own (lazy regularisation)."""
        condition = self.condition(batch)
        with torch.no_grad():
            made = self.generator(self.latent(len(batch), ctx), condition)
        real, fake = self.seen(self.real(batch), ctx), self.seen(made, ctx)
        return {"penalty": self.penalty_weight(ctx) * self._penalty(real, fake, condition, ctx)}

    def generator_loss(self, batch: Batch, ctx: Context) -> Terms:
        condition = self.condition(batch)
        latent, made = ctx.take("latent"), ctx.take("made")
        if made is None:
            made = self.generator(self.latent(len(batch), ctx) if latent is None else latent, condition)
        fake = self.seen(made, ctx)
        fake_out = self.discriminator(fake, condition)
        real_out = None
        if self.paired:
            with torch.no_grad():
                real_out = self.discriminator(self.seen(self.real(batch), ctx), condition)
        keep = self._top_k(fake_out, ctx)
        if keep is not None:
            fake_out, batch = fake_out[keep], Batch(*(None if t is None else t[keep] for t in (batch.real, batch.label, batch.condition)))
            real_out = None if real_out is None else real_out[keep]
        return self.generator_terms(fake_out, real_out, batch)

    @torch.no_grad()
    def bound_discriminator(self) -> None:
        """After each of its steps: clip its weights, follow their largest singular values."""
        if self.config.weight_clip:
            for parameter in self.discriminator.parameters():
                parameter.clamp_(-self.config.weight_clip, self.config.weight_clip)
        spectral.iterate(self.discriminator)

    def bound_generator(self) -> None:
        spectral.iterate(self.generator)

    # --- pieces -----------------------------------------------------------------------------------------------------------------------

    def latent(self, n: int, ctx: Context) -> Tensor:
        """(n, latent_dim) standard normal; with components also their choice, uniform in [0, 1), as the last column."""
        latent = ctx.normal(n, self.config.latent_dim)
        return torch.cat([latent, ctx.uniform(n, 1)], 1) if self.config.latent_components else latent

    def real(self, batch: Batch) -> Tensor:
        """The real samples in the game's units: pictures as they are, points standardised."""
        return (batch.real - self.shift) / self.scale if self.spec.kind == "points" else batch.real

    def condition(self, batch: Batch) -> Tensor | None:
        """(N, condition_dim): the condition vectors, or the labels as one-hot vectors."""
        if not self.condition_dim:
            return None
        return batch.condition if self._by_vector() else F.one_hot(batch.label, self.condition_dim).float()

    def seen(self, samples: Tensor, ctx: Context) -> Tensor:
        """The samples as the discriminator gets to see them: augmented and noisy, where that is asked for."""
        if self.augmentation:
            samples = augment(samples, self.augmentation, ctx.uniform)
        sigma = self.config.instance_noise * max(0.0, 1 - ctx.progress / self.config.instance_noise_until)
        if sigma:
            samples = samples + sigma * ctx.normal(*samples.shape).to(samples.dtype)
        return samples

    def penalty_weight(self, ctx: Context) -> float:
        first, last = self.config.penalty_weight, self.config.penalty_weight_final
        return first if last is None or not first else first * (last / first) ** ctx.progress

    @torch.no_grad()
    def sample(self, n: int, *, seed: int, label: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        """(n, *spec.shape) samples. ``label``: (n,) classes, ``condition``: (n, condition_dim); by default labels are drawn uniformly."""
        draws = torch.Generator().manual_seed(seed)
        latent = self.draw_latent(n, draws)
        samples = self._from(latent, self._sampling_condition(n, label, condition, draws))
        return samples.clamp_(-1, 1) if self.spec.kind == "image" else samples

    def draw_latent(self, n: int, draws: torch.Generator) -> Tensor:
        """(n, latent_dim) latents as ``sample`` draws them, on the CPU; with components also their choice, uniform in [0, 1), as the last column."""
        latent = torch.randn(n, self.config.latent_dim, generator=draws)
        return torch.cat([latent, torch.rand(n, 1, generator=draws)], 1) if self.config.latent_components else latent

    @torch.no_grad()
    def from_latent(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """(n, *spec.shape) samples of given latents, pictures not clamped; by default labels are drawn uniformly, always the same for one n."""
        return self._from(latent, self._sampling_condition(len(latent), label, None, torch.Generator().manual_seed(0)))

    def _from(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        device = next(self.generator.parameters()).device
        was_training = self.generator.training
        self.generator.train(self.config.sampling_statistics == "batch")
        samples = self.generator(latent.to(device), None if condition is None else condition.to(device)).float()
        self.generator.train(was_training)
        return samples if self.spec.kind == "image" else samples * self.scale + self.shift

    @torch.no_grad()
    def prepare_to_sample(self) -> None:
        """Re-estimate batch norm's statistics for the weights in place (Brock et al. 2019, "standing statistics"; 16 batches)."""
        norms = [m for m in self.generator.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if self.config.sampling_statistics != "standing" or not norms:
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average
        draws = torch.Generator().manual_seed(0)
        device = next(self.generator.parameters()).device
        was_training = self.generator.training
        self.generator.train()
        for _ in range(16):
            n = max(2, self.config.batch_size)
            latent = self.draw_latent(n, draws)
            condition = self._sampling_condition(n, None, None, draws)
            self.generator(latent.to(device), None if condition is None else condition.to(device))
        self.generator.train(was_training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    # --- internals --------------------------------------------------------------------------------------------------------------------

    def _to_judge(self, batch: Batch, condition: Tensor | None, ctx: Context) -> Tensor:
        """Samples for a discriminator's step, made in as few passes through the generator as there can be.

        With one step a turn the generator's turn uses the same samples (with their graph, unless the batch is split to save memory: then
        the same latents). With several, those of all steps are made at once, where neither labels nor batch norm tell the steps apart.
        """
        turns = self.config.num_critic
        if turns == 1:
            latent = self.latent(len(batch), ctx)
            with torch.set_grad_enabled(not ctx.split):
                made = self.generator(latent, condition)
            ctx.keep(*("latent", latent) if ctx.split else ("made", made))
            return made.detach()
        made = ctx.take("fake")
        if made is None:
            turns = turns if condition is None and "generator" not in self.coupled else 1
            with torch.no_grad():
                latents = [self.latent(len(batch), ctx) for _ in range(turns)]
                made, *later = self.generator(torch.cat(latents), condition).chunk(turns)
            for samples in later:
                ctx.keep("fake", samples)
        return made

    def _judge(self, real: Tensor, fake: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        if "discriminator" in self.coupled:  # statistics of real and fake batches must not mix
            return self.discriminator(real, condition), self.discriminator(fake, condition)
        both = None if condition is None else torch.cat([condition, condition])
        real_out, fake_out = self.discriminator(torch.cat([real, fake.to(real.dtype)]), both).chunk(2)
        return real_out, fake_out

    def _judge_with_penalty(self, real: Tensor, fake: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs on both, and R1, R2 or their sum, from the penalty's own forward pass: the objective needs no other."""
        fake = fake.to(real.dtype)
        if self.config.penalty == "r1_r2" and "discriminator" not in self.coupled:
            both = None if condition is None else torch.cat([condition, condition])
            outputs, mean = self._zero_centred(torch.cat([real, fake]), both)
            return *outputs.chunk(2), 2 * mean  # the mean over twice the samples is half of R1 + R2
        real_out, r1 = self._zero_centred(real, condition) if "r1" in self.config.penalty else (self.discriminator(real, condition), 0)
        fake_out, r2 = self._zero_centred(fake, condition) if "r2" in self.config.penalty else (self.discriminator(fake, condition), 0)
        return real_out, fake_out, r1 + r2

    def _zero_centred(self, samples: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        return penalties.zero_centred(lambda x: self.discriminator.forward(x, condition), samples, self.logits)

    def _penalty(self, real: Tensor, fake: Tensor, condition: Tensor | None, ctx: Context) -> Tensor:
        def critic(x: Tensor) -> Tensor:
            return self.logits(self.discriminator.forward(x, condition))

        if self.config.penalty == "wgan_gp":
            return penalties.gradient_penalty(critic, real, fake, ctx.uniform(len(real)))
        if self.config.penalty == "dragan":
            return penalties.dragan_penalty(critic, real, ctx.uniform(*real.shape))
        chosen = [samples for name, samples in (("r1", real), ("r2", fake)) if name in self.config.penalty]
        return sum(self._zero_centred(samples, condition)[1] for samples in chosen)

    def _top_k(self, outputs: Tensor, ctx: Context) -> Tensor | None:
        fraction = 1 - (1 - self.config.top_k) * min(1.0, 2 * ctx.progress)
        keep = max(1, round(fraction * len(outputs)))
        return None if keep == len(outputs) else self.logits(outputs).detach().topk(keep).indices

    def _sampling_condition(self, n: int, label: Tensor | None, condition: Tensor | None, draws: torch.Generator) -> Tensor | None:
        if not self.condition_dim:
            if label is not None or condition is not None:
                raise UserError("This run has no classes: it was trained without conditions. Leave out the label.")
            return None
        if (condition if not self._by_vector() else label) is not None:
            raise UserError("This run is conditioned on {kind}. Give that, and leave out the other.", kind="vectors" if self._by_vector() else "classes")
        if self._by_vector():
            return torch.randn(n, self.condition_dim, generator=draws) if condition is None else condition
        if label is None:
            label = torch.randint(self.condition_dim, (n,), generator=draws)
        wrong = label[(label < 0) | (label >= self.condition_dim)]
        if len(wrong):
            raise UserError("There is no class {label}. Expected a number from 0 to {last}.", label=int(wrong[0]), last=self.condition_dim - 1)
        return F.one_hot(label.long().cpu(), self.condition_dim).float()

    def _log(self, real: Tensor, fake: Tensor, real_logits: Tensor, fake_logits: Tensor, ctx: Context) -> None:
        ctx.log("discriminator/real_logit", real_logits.mean())
        ctx.log("discriminator/fake_logit", fake_logits.mean())
        ctx.log("discriminator/accuracy", pair_accuracy(real_logits, fake_logits))
        if len(real) < 2:
            return
        spread = [torch.pdist(x.detach().float().flatten(1)[:64]).mean() for x in (fake, real)]
        ctx.log("diversity", spread[0] / spread[1].clamp_min(1e-12))

    def _by_vector(self) -> bool:
        return bool(self.spec.condition_dim) and self.condition_mode != "auxiliary"

    def _check(self, config: TwoPlayerConfig, spec: DataSpec) -> None:
        if config.label_smoothing and not self.smooths_labels:
            raise UserError(
                "Label smoothing does not fit {game}: its objective has no target for "
                "real samples. Set label_smoothing to 0.",
                game=type(self).__name__,
            )  # fmt: skip
        if self.needs_condition and not (config.conditional and (spec.num_classes or spec.condition_dim)):
            raise UserError(
                "{game} needs labels, and there are none (or conditional is false). Expected a folder with one sub-folder for "
                "each class, or use an unconditional game such as dcgan.",
                game=type(self).__name__,
            )  # fmt: skip
        if config.penalty != "none" and config.discriminator_norm == "batch" and config.network == "dcgan" and spec.kind == "image":
            raise UserError(
                "A gradient penalty needs each sample's own gradient, and batch norm couples the "
                "batch. Set discriminator_norm to none or instance."
            )  # fmt: skip
        if config.penalty != "none" and config.minibatch_discrimination:
            raise UserError("A gradient penalty needs each sample's own gradient, and minibatch discrimination couples the batch. Use one of the two.")

    def _condition_dim(self, config: TwoPlayerConfig, spec: DataSpec) -> int:
        if not config.conditional or self.condition_mode == "none":
            return 0
        return spec.num_classes if self.condition_mode == "auxiliary" else spec.condition_dim or spec.num_classes
