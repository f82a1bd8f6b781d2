"""The loop of a game between one generator and one discriminator: what is drawn, judged, penalised and sampled, whatever the objective."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.source import Batch, DataSpec
from agon.errors import UserError
from agon.game import Context, Draws, Game, Player, RecordedDraws, SeededDraws, Stage, Terms, Update
from agon.layers import running_mean, spectral
from agon.layers.init import initialise
from agon.layers.mixture_latent import MixtureLatent
from agon.losses import penalties
from agon.losses.adversarial import pair_accuracy
from agon.networks import build_discriminator, build_generator
from agon.two_player.config import TwoPlayerConfig
from agon.two_player.option import Turn
from agon.two_player.options import build_options


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
        self.generator = build_generator(config, spec, self.condition_dim)
        if config.latent_components:
            self.generator = MixtureLatent(self.generator, config.latent_dim, config.latent_components, config.latent_width)
        # points of any scale are played in units of their own standard deviation
        self.register_buffer("shift", torch.tensor(spec.mean or 0.0, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(spec.std or 1.0, dtype=torch.float32))
        self.discriminator = build_discriminator(config, spec, *self.head())
        self.options = build_options(config, spec, self.discriminator)
        self.coupled = {name.partition(".")[0] for name in self.batch_coupled()}
        for network in (self.generator, self.discriminator):
            initialise(network, config.init)
        if config.spectral_norm != "none":
            spectral.spectral_normalise(self.discriminator)
        if config.spectral_norm == "both":
            spectral.spectral_normalise(self.generator)

    @cached_property
    def remembers(self) -> bool:
        """Whether anything in the game has a running mean. Asked only once all of the game is there."""
        return any(isinstance(m, running_mean.RunningMean) for m in self.modules())

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

    def head(self) -> tuple[str, int]:
        """How the discriminator's head takes the condition, and how long that is."""
        return (self.condition_mode if self.condition_dim and self.config.class_loss == "none" else "none"), self.condition_dim

    def players(self) -> dict[str, Player]:
        config = self.config
        theirs = dataclasses.replace(config.optimizer, lr=config.discriminator_lr or config.optimizer.lr)
        return {"discriminator": Player((self.discriminator, self.options), theirs), "generator": Player((self.generator,), config.optimizer)}

    def stages(self) -> list[Stage]:
        config = self.config
        updates = [Update("discriminator", self.discriminator_loss, times=config.num_critic, fresh=config.num_critic > 1, after=self.after_discriminator)]
        if config.penalty != "none" and config.penalty_every > 1:
            updates.append(Update("discriminator", self.penalty_loss, every=config.penalty_every, after=self.after_penalty))
        updates.append(Update("generator", self.generator_loss, after=self.after_generator))
        return [Stage("train", tuple(updates))]

    def discriminator_loss(self, batch: Batch, ctx: Context) -> Terms:
        self.prepare(ctx)
        condition = self.condition(batch)
        latent, made = self._to_judge(batch, condition, ctx)
        real = shown = self.real(batch)
        for option in self.options.values():
            shown = option.reals(shown, made, ctx)
        real_seen, fake_seen = self.seen(shown, ctx), self.seen(made, ctx)
        penalised = self.config.penalty != "none" and self.config.penalty_every == 1
        if penalised and self.config.penalty in ("r1", "r2", "r1_r2"):
            real_out, fake_out, penalty = self._judge_with_penalty(real_seen, fake_seen, condition)
        else:
            real_out, fake_out = self._judge(real_seen, fake_seen, condition)
            penalty = self._penalty(real_seen, fake_seen, condition, ctx) if penalised else None
        terms = self.discriminator_terms(real_out, fake_out, batch)
        if penalty is not None:
            terms["penalty"] = self.penalty_weight(ctx) * penalty
        turn = Turn(self, batch, condition, ctx, latent, real, made, real_seen, fake_seen, real_out, fake_out)
        for option in self.options.values():
            terms |= option.discriminator_terms(turn)
        if ctx.logging:
            self._log(real, made, self.logits(real_out), self.logits(fake_out), ctx)
        return terms

    def penalty_loss(self, batch: Batch, ctx: Context) -> Terms:
        """The penalty as an update of its own (lazy regularisation)."""
        self.prepare(ctx)
        condition = self.condition(batch)
        real, made = self.real(batch), None
        if self.config.penalty != "r1":  # which looks at real samples alone
            with torch.no_grad():
                made = self.make(self.latent(len(batch), ctx), condition, ctx)
        penalty = self._penalty_seen(real, made, condition, ctx)
        return {"penalty": self.penalty_weight(ctx) * penalty}

    def generator_loss(self, batch: Batch, ctx: Context) -> Terms:
        self.prepare(ctx)
        condition = self.condition(batch)
        latent, made, draws = ctx.take("latent"), ctx.take("made"), ctx.take("draws") or ctx
        if made is None:
            latent = self.moved_latent(self.latent(len(batch), ctx), condition, ctx) if latent is None else latent
            made = self.make(latent, condition, draws)
        fake = self.seen(made, ctx)
        fake_out = self.discriminator(fake, condition)
        real = real_seen = real_out = None
        if self.paired:
            real = self.real(batch)
            with torch.no_grad():
                real_seen = self.seen(real, ctx)
                real_out = self.discriminator(real_seen, condition)
        turn = Turn(self, batch, condition, ctx, latent, real, made, real_seen, fake, real_out, fake_out)
        keep = self._top_k(fake_out, ctx)
        if keep is not None:
            fake_out, batch = fake_out[keep], Batch(*(None if t is None else t[keep] for t in (batch.real, batch.label, batch.condition)))
            real_out = None if real_out is None else real_out[keep]
        terms = self.generator_terms(fake_out, real_out, batch)
        for option in self.options.values():
            terms |= option.generator_terms(turn)
        return terms

    def after_discriminator(self, ctx: Context) -> None:
        """After each of its steps: bound its weights, move the running means that the passes of the step have fed."""
        self.after_penalty(ctx)
        if self.remembers:
            running_mean.settle(self, ctx.mean_over_ranks)
        for option in self.options.values():
            option.settle(ctx, self.config.batch_size)

    @torch.no_grad()
    def after_penalty(self, ctx: Context) -> None:
        """Clip the discriminator's weights, follow their largest singular values."""
        if self.config.weight_clip:
            for parameter in self.discriminator.parameters():
                parameter.clamp_(-self.config.weight_clip, self.config.weight_clip)
        if self.config.spectral_norm != "none":
            spectral.iterate(self.discriminator)

    def after_generator(self, ctx: Context) -> None:
        if self.config.spectral_norm == "both":
            spectral.iterate(self.generator)
        if self.remembers:  # the means follow the discriminator's turns alone, so that a step leaves nothing half counted
            running_mean.forget(self)

    # --- pieces -----------------------------------------------------------------------------------------------------------------------

    def prepare(self, ctx: Context) -> None:
        """Called at the start of every loss: what is a function of the clock (fade-in) is set here."""

    def make(self, latent: Tensor, condition: Tensor | None, draws: Draws) -> Tensor:
        """Samples for training; ``draws``: for networks that are random inside."""
        return self.generator(latent, condition)

    def render(self, latent: Tensor, condition: Tensor | None, draws: Draws, **controls: Any) -> Tensor:
        """Samples for whoever asks for them, in evaluation mode; ``controls``: those of :attr:`controls` that were given."""
        return self.generator(latent, condition)

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
        for option in self.options.values():
            samples = option.see(samples, ctx)
        sigma = self.config.instance_noise * max(0.0, 1 - ctx.progress / self.config.instance_noise_until)
        if sigma:
            samples = samples + sigma * ctx.normal(*samples.shape).to(samples.dtype)
        return samples

    def penalty_weight(self, ctx: Context) -> float:
        first, last = self.config.penalty_weight, self.config.penalty_weight_final
        return first if last is None or not first else first * (last / first) ** ctx.progress

    @torch.no_grad()
    def sample(self, n: int, *, seed: int, label: Tensor | None = None, condition: Tensor | None = None, **controls: Any) -> Tensor:
        """(n, *spec.shape) samples. ``label``: (n,) classes, ``condition``: (n, condition_dim); by default labels are drawn uniformly. ``controls``: see
        :attr:`controls`."""
        unknown = [name for name in controls if name not in self.controls]
        if unknown:
            raise UserError(
                "{game} cannot be asked for {name}. Expected some of: {known}.",
                game=type(self).__name__, name=unknown[0], known=", ".join(("label", "condition", *self.controls)),
            )  # fmt: skip
        generator = torch.Generator().manual_seed(seed)
        latent = self.draw_latent(n, generator)
        samples = self._from(latent, self._sampling_condition(n, label, condition, generator), generator, **controls)
        return samples.clamp_(-1, 1) if self.spec.kind == "image" else samples

    def start(self, seed: int, label: int | None = None) -> tuple[Tensor, Tensor | None]:
        """(1, latent_dim) and (1, condition_dim) that ``sample(1, seed=seed)`` starts from; the latter None without a condition."""
        generator = torch.Generator().manual_seed(seed)
        latent = self.draw_latent(1, generator)
        return latent, self._sampling_condition(1, None if label is None else torch.tensor([label]), None, generator)

    @torch.no_grad()
    def from_start(self, latent: Tensor, condition: Tensor | None, **controls: Any) -> Tensor:
        """(n, *spec.shape) samples of what :meth:`start` gives for several seeds, together or in between: those of ``sample``, to rounding."""
        samples = self._from(latent, condition, torch.Generator().manual_seed(0), **controls)
        return samples.clamp_(-1, 1) if self.spec.kind == "image" else samples

    def draw_latent(self, n: int, draws: torch.Generator) -> Tensor:
        """(n, latent_dim) latents as ``sample`` draws them, on the CPU; with components also their choice, uniform in [0, 1), as the last column."""
        latent = torch.randn(n, self.config.latent_dim, generator=draws)
        return torch.cat([latent, torch.rand(n, 1, generator=draws)], 1) if self.config.latent_components else latent

    @torch.no_grad()
    def from_latent(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """(n, *spec.shape) samples of given latents, pictures not clamped; by default labels are drawn uniformly, always the same for one n."""
        generator = torch.Generator().manual_seed(0)
        return self._from(latent, self._sampling_condition(len(latent), label, None, generator), generator)

    def _from(self, latent: Tensor, condition: Tensor | None, generator: torch.Generator, **controls: Any) -> Tensor:
        device = next(self.generator.parameters()).device
        was_training = self.generator.training
        self.generator.train(self.config.sampling_statistics == "batch")
        condition = None if condition is None else condition.to(device)
        samples = self.render(latent.to(device), condition, SeededDraws(generator, device), **controls).float()
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
            self.make(latent.to(device), None if condition is None else condition.to(device), SeededDraws(draws, device))
        self.generator.train(was_training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    # --- internals --------------------------------------------------------------------------------------------------------------------

    def _to_judge(self, batch: Batch, condition: Tensor | None, ctx: Context) -> tuple[Tensor | None, Tensor]:
        """(latents, samples) for a discriminator's step, made in as few passes through the generator as there can be.

        With one step a turn the generator's turn uses the same samples (with their graph, unless the batch is split to save memory: then
        the same latents and random numbers). With several, those of all steps are made at once, where neither labels nor batch norm tell the steps
        apart; latents are then None.
        """
        turns = self.config.num_critic
        if turns == 1:
            latent = self.moved_latent(self.latent(len(batch), ctx), condition, ctx)
            draws = RecordedDraws(ctx) if ctx.split else ctx
            with torch.set_grad_enabled(not ctx.split):
                made = self.make(latent, condition, draws)
            ctx.keep("latent", latent)
            ctx.keep(*("draws", draws.again()) if ctx.split else ("made", made))
            return latent, made.detach()
        made = ctx.take("fake")
        if made is None:
            turns = turns if condition is None and "generator" not in self.coupled and not self.options else 1
            latents = [self.moved_latent(self.latent(len(batch), ctx), condition, ctx) for _ in range(turns)]
            with torch.no_grad():
                made, *later = self.make(torch.cat(latents), condition, ctx).chunk(turns)
            for samples in later:
                ctx.keep("fake", samples)
            return latents[0] if turns == 1 else None, made
        return None, made

    def moved_latent(self, latent: Tensor, condition: Tensor | None, ctx: Context) -> Tensor:
        """The latent as the options want it (latent optimisation)."""
        for option in self.options.values():
            latent = option.latent(latent, lambda z: self.make(z, condition, ctx), self, condition)
        return latent

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

    def _penalty_seen(self, real: Tensor, made: Tensor | None, condition: Tensor | None, ctx: Context) -> Tensor:
        """The penalty in an update of its own. R1 is taken of the samples before augmentation, whose path is differentiated too (Karras et al. 2020)."""
        if self.config.penalty != "r1":
            return self._penalty(self.seen(real, ctx), self.seen(made, ctx), condition, ctx)
        return penalties.zero_centred(lambda x: self.discriminator.forward(self.seen(x, ctx), condition), real, self.logits)[1]

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
