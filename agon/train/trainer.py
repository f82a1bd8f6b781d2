"""The only training loop of Agon. ``backward()`` stands here and nowhere else.

One step: draw a batch, then each update of the stage in its order. Everything random is a function of (seed, images seen), so a resumed
run continues bit for bit, and one rank with 8 samples equals two with 4 or four micro-batches of 2.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from agon.data.source import Batch, Source, read_run
from agon.game import Context, Game, Stage, Terms, Update
from agon.train import checkpoint
from agon.train.devices import keep_freed_memory, peak_memory_mb, pick_device, resolve_precision, seed_everything
from agon.train.distributed import Ranks
from agon.train.ema import Ema, buffers_kept
from agon.train.optimizers import build_optimizers
from agon.train.randomness import mix
from agon.train.signals import caught_signals

LEAST_SCALE = 2.0**-24
"""A loss scale (fp16) below this has met 40 overflows in a row: that is no search for a scale any more."""


class NonFiniteError(ArithmeticError):
    """A loss term or gradient became NaN or infinite; raised before the optimizer would have used it."""


class Trainer:
    """Train ``game`` on ``source``. ``observer`` is called at the moments that a run folder cares about (agon/run.py)."""

    def __init__(self, game: Game, source: Source, *, device: str | None = None, ranks: Ranks = Ranks(), observer: Observer | None = None):  # noqa: B008
        self.config, self.ranks, self.observer = game.config, ranks, observer or Observer()
        self.device = pick_device(device)
        self.precision = resolve_precision(self.config.precision, self.device)
        self.share = ranks.share(self.config.batch_size)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.layout = torch.channels_last if self.config.channels_last and game.spec.kind == "image" else torch.contiguous_format
        self.game = game.to(self.device, memory_format=self.layout)
        ranks.broadcast(self.game)
        self.players, self.stages = game.players(), game.stages()
        half = self.precision == "fp16"
        self.optimizers = build_optimizers(self.players, self.stages, fused=not half and self.device.type in ("cpu", "cuda"))
        self.scalers = {name: torch.amp.GradScaler(self.device.type) if half else None for name in self.players}
        self.ema = Ema(game, game.ema, self.config.ema_half_life_images, self.config.ema_rampup) if self.config.ema_half_life_images else None
        self.source = source
        self.step = self.num_images = self.images_before = self.rollbacks = 0
        self.seconds, self.cpu_seconds, self._cpu_mark = 0.0, 0.0, time.process_time()
        self._drawn, self._generator, self._bad = 0, torch.Generator(self.device), torch.zeros((), dtype=torch.bool, device=self.device)
        if self.config.compile:
            for module in {id(m): m for player in self.players.values() for m in player.modules}.values():
                module.compile()
        self.game.train()

    # --- the clock --------------------------------------------------------------------------------------------------------------------

    def stage(self, num_images: int | None = None) -> tuple[Stage, float]:
        """The stage at a moment (now), and the fraction of it that has passed."""
        num_images, begin = self.num_images if num_images is None else num_images, 0
        for stage in self.stages:
            length = self.config.images - begin if stage.length is None else stage.length
            if num_images < begin + length or stage is self.stages[-1]:
                return stage, min(1.0, (num_images - begin) / max(1, length))
            begin += length
        raise AssertionError("a game without stages")

    @property
    def progress(self) -> float:
        """0 to 1 over the whole run: the clock of the optimizers' schedules."""
        return min(1.0, self.num_images / self.config.images)

    # --- the loop ---------------------------------------------------------------------------------------------------------------------

    def fit(self, until: int | None = None, deadline: float | None = None) -> int:
        """Train until so many images (default: the configured length) or ``time.monotonic()`` passes ``deadline``; returns the
        signal that ended it, or 0. SIGINT and SIGTERM end it after the step at hand. The caller saves."""
        until = self.config.images if until is None else until
        with caught_signals() as caught:
            while self.num_images < until:
                try:
                    self.observer.after_step(self, self.advance())
                except NonFiniteError as error:
                    self._roll_back(error)
                    continue
                if (self.ranks.world == 1 or self.step % self.config.log_every == 0) and self._leave(caught, deadline):
                    break
        return max(caught, default=0)

    def advance(self, only: str | None = None) -> dict | None:
        """One step; returns a log record in the steps that are logged. ``only``: this player alone moves, the others rest (to watch it)."""
        started = time.perf_counter()
        stage, progress = self.stage()
        if stage.fresh_optimizers and self.stage(self.num_images - images_per_step([stage], self.config.batch_size))[0] is not stage:
            for optimizer in self.optimizers.values():
                optimizer.forget()
        self.images_before, self._drawn = self.num_images, self.num_images
        logging = (self.step + 1) % self.config.log_every == 0
        ctx = Context(step=self.step, num_images=self.num_images, progress=progress, logging=logging, mean_over_ranks=self.ranks.mean)
        batch = self._draw()
        terms: dict[str, Tensor] = {}
        ordinal = 0
        for update in stage.updates:
            if self.step % update.every or only not in (None, update.player):
                continue
            for repeat in range(update.times):
                batch = self._draw() if update.fresh and repeat else batch
                found = self._gradients(update, batch, ctx, ordinal)
                ordinal += 1
                if found is not None:
                    self._move(update, found, ctx)
                    terms |= {f"{update.player}/{name}": value for name, value in found.items()}
        self.step, self.num_images = self.step + 1, self._drawn
        if self.ema and self.step % self.config.ema_every == 0:
            self.ema.update(self.num_images, (self._drawn - self.images_before) * self.config.ema_every)
        record = self._record(stage, ctx, terms) if logging else None
        self.seconds += time.perf_counter() - started
        return record

    def _draw(self) -> Batch:
        batch = read_run(self.source, self._drawn + self.ranks.rank * self.share, self.share, self.config.seed)
        self._drawn += self.config.batch_size
        return batch.to(self.device, self.layout)

    def _gradients(self, update: Update, batch: Batch, ctx: Context, ordinal: int) -> Terms | None:
        """Leave the mean gradient over the batch in the player's parameters; returns the loss terms, or None if the game passes."""
        optimizer, scaler = self.optimizers[update.player], self.scalers[update.player]
        optimizer.clear()
        n = len(batch)
        micro = min(self.config.micro_batch_size or n, n)
        seed = mix(self.config.seed, self.num_images, ordinal, self.rollbacks)
        found: Terms = {}
        for start in range(0, n, micro):
            piece = batch if micro == n else batch.slice(start, start + micro)
            self._generator.manual_seed(seed)
            seed_everything(mix(seed, self.ranks.rank, start), self.device)
            ctx.begin(self._generator, self.ranks.rank * n + start, len(piece), n * self.ranks.world, split=micro < n)
            with self._autocast():
                terms = update.loss(piece, ctx)
            if terms is None:
                return None
            share = len(piece) / n
            loss = sum(terms.values()) * (update.every * share)
            # only the mover's parameters: nothing is frozen and thawed, and nobody else's gradient is computed
            (scaler.scale(loss) if scaler else loss).backward(inputs=optimizer.parameters)
            found = {name: value.detach() if micro == n else found.get(name, 0) + value.detach() * share for name, value in terms.items()}
        return found

    def _move(self, update: Update, terms: Terms, ctx: Context) -> None:
        optimizer, scaler = self.optimizers[update.player], self.scalers[update.player]
        gradients = [p.grad for p in optimizer.parameters if p.grad is not None]
        self.ranks.average(gradients)
        if scaler:
            scaler.unscale_(optimizer.torch)
        self._guard(update, terms, gradients, scaled=scaler is not None)
        optimizer.schedule(self.progress, self.num_images)
        optimizer.step(scaler)
        if update.after:
            update.after(ctx)

    def _guard(self, update: Update, terms: Terms, gradients: list[Tensor], *, scaled: bool) -> None:
        """Stop non-finite numbers before the optimizer step, and clip. On an accelerator a bad gradient is zeroed at once and reported
        at the next log line: nothing here waits for the device."""
        clip = self.config.clip_grad_norm
        # a sum shows what is not finite as well as a norm does, in two thirds of the time
        norm = torch.nn.utils.get_total_norm(gradients) if clip or self.device.type != "cpu" else torch.stack([g.sum() for g in gradients]).sum()
        # a loss scaler skips steps whose gradients overflow, to find its scale; a loss that is not finite has nothing to do with that
        watched = self.ranks.mean(sum(terms.values())) if scaled else norm
        if self.device.type == "cpu":
            if not torch.isfinite(watched):
                raise NonFiniteError(self._diagnosis(update, terms))
        else:
            bad = ~torch.isfinite(watched)
            self._bad = self._bad | bad
            for gradient in gradients:
                gradient.masked_fill_(bad, 0)
            norm = norm.masked_fill(bad, 0)  # clipping by a norm of NaN would bring it back
        if clip:
            torch.nn.utils.clip_grads_with_norm_([p for p in self.optimizers[update.player].parameters if p.grad is not None], clip, norm)

    def _diagnosis(self, update: Update, terms: Terms) -> str:
        term = next((name for name, value in terms.items() if not torch.isfinite(self.ranks.mean(value))), "none (the gradient overflowed)")
        wanted = {id(p) for p in self.optimizers[update.player].parameters if p.grad is not None and not torch.isfinite(p.grad).all()}
        parameter = next((name for name, p in self.game.named_parameters() if id(p) in wanted), "?")
        return f"step {self.step}: player {update.player}, term {term}, first parameter with a non-finite gradient {parameter}"

    def _roll_back(self, error: NonFiniteError) -> None:
        self.observer.event("nonfinite", self.num_images, message=str(error))
        if self.rollbacks >= self.config.rollbacks or not self.observer.restore(self):
            raise error
        self.rollbacks += 1

    def _record(self, stage: Stage, ctx: Context, terms: dict[str, Tensor]) -> dict:
        self._check()
        self._clock()
        return {
            "step": self.step, "num_images": self.num_images, "stage": stage.name, "terms": self._means(terms), "stats": self._means(ctx.stats),
            "seconds": round(self.seconds, 3), "cpu_seconds": round(self.cpu_seconds, 3),
            "images_per_second": round(self.num_images / max(self.seconds, 1e-9), 1), "memory_mb": round(peak_memory_mb(self.device), 1),
        }  # fmt: skip

    def _clock(self) -> None:
        """Bring ``cpu_seconds`` up to date; not at every step, since asking the kernel costs up to 2 ms on a virtual machine."""
        now = time.process_time()
        self.cpu_seconds, self._cpu_mark = self.cpu_seconds + now - self._cpu_mark, now

    def _means(self, values: dict[str, Tensor]) -> dict[str, float]:
        return {name: float(self.ranks.mean(value.to(self.device, torch.float32))) for name, value in values.items()}

    def _check(self) -> None:
        """Report what was noted without waiting for the device, and a loss scale that has no bottom."""
        if self._bad:
            raise NonFiniteError(f"within the {self.config.log_every} steps before step {self.step}: a gradient was not finite and was left out")
        lost = [name for name, scaler in self.scalers.items() if scaler and scaler.get_scale() < LEAST_SCALE]
        if lost:
            raise NonFiniteError(f"step {self.step}: player {lost[0]}, its gradient is not finite however small the loss scale")

    def _leave(self, caught: list[int], deadline: float | None) -> bool:
        flag = bool(caught) or (deadline is not None and time.monotonic() > deadline)
        return self.ranks.any(flag, self.device)

    def _autocast(self):
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}[self.precision]
        return torch.autocast(self.device.type, dtype=kind, enabled=kind is not None)

    # --- state ------------------------------------------------------------------------------------------------------------------------

    @contextmanager
    def averaged(self) -> Iterator[Game]:
        """The game as one samples from it: averaged weights, in evaluation mode."""
        with self.ema.applied() if self.ema else buffers_kept(self.game) as game:
            game.prepare_to_sample()
            yield game

    def save(self, folder: Path, extra: dict | None = None) -> Path:
        """Write a checkpoint (first rank; the others wait). Raises NonFiniteError rather than keep what a bad step may have spoilt."""
        self._check()
        tensors = {"game": self.game.state_dict()}
        if self.ema:
            self.ema.copy_buffers()
            tensors["ema"] = self.ema.modules.state_dict()
        plain = {}
        for name, optimizer in self.optimizers.items():
            tensors[f"optimizer-{name}"], plain[name] = checkpoint.optimizer_tensors(optimizer.torch)
        state = {
            "step": self.step, "num_images": self.num_images, "rollbacks": self.rollbacks, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds,
            "optimizers": plain, "scalers": {k: v.state_dict() for k, v in self.scalers.items() if v}, "extra": extra or {},
        }  # fmt: skip
        path = folder / f"{self.num_images:012d}"
        if self.ranks.first:
            path = checkpoint.save(folder, self.num_images, tensors, state, keep=self.config.keep_checkpoints)
        self.ranks.barrier()
        return path

    def load(self, path: Path) -> dict:
        """Go on from a checkpoint, bit for bit; returns what was saved as ``extra``."""
        tensors, state = checkpoint.load(path)
        self.game.load_state_dict(tensors["game"])
        if self.ema:
            self.ema.modules.load_state_dict(tensors["ema"])
        for name, optimizer in self.optimizers.items():
            checkpoint.restore_optimizer(optimizer.torch, tensors.get(f"optimizer-{name}", {}), state["optimizers"][name])
        for name, scaler in self.scalers.items():
            if scaler and name in state["scalers"]:
                scaler.load_state_dict(state["scalers"][name])
        self.step, self.num_images = state["step"], state["num_images"]
        self.rollbacks = max(self.rollbacks, state["rollbacks"])
        self.seconds, self.cpu_seconds, self._cpu_mark = state["seconds"], state["cpu_seconds"], time.process_time()
        self._bad = torch.zeros_like(self._bad)
        return state["extra"]


class Observer:
    """What a trainer tells the outside. This one keeps silent; agon/run.py writes a run folder."""

    def after_step(self, trainer: Trainer, record: dict | None) -> None:
        """Called after every step; ``record`` in logged ones."""

    def event(self, kind: str, num_images: int, **fields) -> None:
        """Something happened."""

    def restore(self, trainer: Trainer) -> bool:
        """Load the last checkpoint into the trainer; False if there is none."""
        return False


def images_per_step(stages: list[Stage], batch_size: int) -> int:
    """Real images that one step of the last stage draws."""
    return batch_size * (1 + sum(update.times - 1 for update in stages[-1].updates if update.fresh))
