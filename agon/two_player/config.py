"""The configuration that all games between one generator and one discriminator share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agon.config import OptimizerConfig, TrainConfig, require
from agon.errors import UserError

Network = Literal["mlp", "dcgan", "resnet", "r3gan"]
Norm = Literal["batch", "instance", "none"]
Init = Literal["default", "normal", "orthogonal", "xavier", "he"]
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
    """Weights at the start: as the layers choose, N(0, 0.02), orthogonal, Glorot uniform, or He normal."""
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
    ada: str = ""
    """Adaptive discriminator augmentation (Karras et al. 2020): a set of transforms such as bgc, or some of blit,geom,color,filter,noise,cutout. Empty: off."""
    ada_target: float = 0.6
    """What ada and its probability aim at: the mean sign of D(real). 0: the probability stays at ada_p."""
    ada_images: int = 500_000
    """Images in which ada's probability can go from 0 to 1 (100k to continue from other weights)."""
    ada_p: float = 0.0
    """ada's probability at the start."""
    ada_every: int = 4
    """Steps between two adjustments of ada's probability."""
    apa_target: float = 0.0
    """Adaptive pseudo augmentation (Jiang et al. 2021): some fakes are shown as real, so many that the mean sign of D(real) stays here (0.6). 0: off."""
    apa_images: int = 500_000
    """Images in which the fraction of such fakes can go from 0 to 1."""
    lecam_weight: float = 0.0
    """Weight of LeCam regularisation (Tseng et al. 2021: 0.3): outputs stay near the running means of the other side. 0: off."""
    lecam_decay: float = 0.99
    """Decay of those running means."""
    lecam_start_images: int = 0
    """Images before LeCam regularisation begins."""
    cr_weight: float = 0.0
    """Consistency of D under augmentation of real samples (Zhang et al. 2020: 10). 0: off."""
    bcr_real_weight: float = 0.0
    """Balanced consistency (Zhao et al. 2020: 10), on real samples. 0: off."""
    bcr_fake_weight: float = 0.0
    """Balanced consistency, on fakes (10). 0: off."""
    zcr_discriminator_weight: float = 0.0
    """Latent consistency: D's outputs on the fakes of neighbouring latents are to agree (Zhao et al. 2020: 5 to 20). 0: off."""
    zcr_generator_weight: float = 0.0
    """Latent consistency: the generator's samples of neighbouring latents are to differ (0.5). 0: off."""
    zcr_sigma: float = 0.05
    """Standard deviation of the step to a neighbouring latent."""
    feature_matching: float = 0.0
    """Weight of the distance between the mean features of real and fake samples in the generator's turn (Salimans et al. 2016). 0: off."""
    class_loss: Literal["none", "contrastive", "d2d_ce"] = "none"
    """How a conditional discriminator uses classes, in place of its own way: ContraGAN's contrastive loss or ReACGAN's data-to-data cross-entropy."""
    class_weight: float = 1.0
    """Weight of the class loss, or of ACGAN's classification terms, in both turns."""
    class_temperature: float = 0.0
    """Temperature of the class loss. 0: the published one (1 and 0.5)."""
    class_embedding_dim: int = 512
    """Length of the embedding that the class loss compares."""
    latent_step: float = 0.0
    """Latent optimisation (LOGAN, Wu et al. 2019): latents move by so much of their natural gradient before both turns (0.9). 0: off."""
    latent_damping: float = 5.0
    """Damping of that natural gradient."""
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
        self._check_options()

    def _check_options(self):
        for name in ("ada_target", "ada_p", "apa_target", "lecam_weight", "lecam_start_images", "cr_weight", "bcr_real_weight", "bcr_fake_weight",
                     "zcr_discriminator_weight", "zcr_generator_weight", "zcr_sigma", "feature_matching", "latent_step", "class_weight", "class_temperature"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("ada_images", "ada_every", "apa_images", "latent_damping"):
            require(getattr(self, name) > 0, name, getattr(self, name), "a number above 0")
        for name in ("ada_target", "apa_target"):
            require(getattr(self, name) < 1, name, getattr(self, name), "a mean sign in [0, 1)")
        require(self.ada_p <= 1, "ada_p", self.ada_p, "a probability in [0, 1]")
        require(0 <= self.lecam_decay < 1, "lecam_decay", self.lecam_decay, "a number in [0, 1)")
        from agon.augment.diffaug import check_policy

        check_policy(self.diffaugment)
        if self.ada and self.diffaugment:
            raise UserError("ada and diffaugment both augment what the discriminator sees. Expected one of them: leave the other empty.")
