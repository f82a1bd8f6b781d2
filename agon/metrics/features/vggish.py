"""VGGish: a VGG of log-mel patches trained on a preliminary YouTube-8M; 128 numbers for each 0.96 s of sound.

Hershey et al., 2017, "CNN Architectures for Large-Scale Audio Classification", https://arxiv.org/abs/1609.09430; weights as converted to PyTorch in
harritaylor/torchvggish (that file's state-dict names, 72,141,184 parameters). The front end is VGGish's: 16 kHz, periodic Hann windows of 25 ms every 10 ms,
512-point magnitudes, 64 mel bands of 125 to 7,500 Hz, ln(mel + 0.01), patches of 96 frames that do not overlap. "features" are taken before the last ReLU, as
the packages frechet_audio_distance and fadtk do by default; "activated" after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from agon.data.cache import sha256_of
from agon.errors import Unavailable, UserError
from agon.metrics.features.base import Extractor
from agon.metrics.features.weights import Weights, find, read_state
from agon.metrics.waves import RATE, mel_bank, mono, spectrum

NAMES = {"vggish": "VGGish (torchvggish's weights): 128 numbers for a sound, the mean over its patches of 0.96 s"}

# The size is as two public programs that fetch the file record it. Its SHA-256 stands nowhere; by torch.hub's custom it would begin with 10086976.
WEIGHTS = Weights("vggish-10086976.pth", ("https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",), 288_567_937, "",
                  "Apache-2.0 (Google's VGGish)", "harritaylor/torchvggish v0.1, converted from Google's vggish_model.ckpt")

WINDOW, HOP, FFT = 400, 160, 512  # samples at 16 kHz
BANDS, LOWEST, HIGHEST, OFFSET = 64, 125.0, 7_500.0, 0.01
FRAMES = 96
SHORTEST = WINDOW + (FRAMES - 1) * HOP  # samples in one patch
PATCHES = 64  # in one pass
WIDTHS = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0)  # 0: halve both sides


def patches(wave: np.ndarray) -> np.ndarray:
    """(T,) at 16 kHz -> float32 (n, 96, 64) log-mel patches; what is left over at the end is dropped, a sound shorter than 0.975 s is filled up with zeros."""
    wave = np.pad(np.asarray(wave, np.float64), (0, max(0, SHORTEST - len(wave))))
    magnitudes = spectrum(wave, WINDOW, HOP, FFT)
    mel = np.log(magnitudes @ mel_bank(FFT // 2 + 1, BANDS, LOWEST, HIGHEST, RATE) + OFFSET)
    count = len(mel) // FRAMES
    return mel[: count * FRAMES].reshape(count, FRAMES, BANDS).astype(np.float32)


class Vggish(nn.Module):
    """(N, 1, 96, 64) log-mel patches -> (N, 128), before the last ReLU."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for width in WIDTHS:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
            inputs = width or inputs
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(nn.Linear(512 * 6 * 4, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 128))

    def forward(self, x: Tensor) -> Tensor:
        return self.embeddings(self.features(x).permute(0, 2, 3, 1).flatten(1))  # channels last, as TensorFlow had them

    def load(self, path: Path) -> Vggish:
        """The published file's tensors. Raises UserError for another network's file."""
        try:
            self.load_state_dict(read_state(path), strict=True)
        except RuntimeError as error:
            raise UserError("{path} does not hold VGGish's weights ({why}). Expected torchvggish's vggish-10086976.pth: give that one.", path=path,
                            why=" ".join(str(error).split())[:200]) from None
        return self.eval().requires_grad_(False)


class SoundFeatures(Extractor):
    """``network``: (n, 1, 96, 64) -> (n, 128)."""

    kind = "audio"

    def __init__(self, network: nn.Module, sha256: str = "", *, device: str = "cpu", precision: str = "fp32") -> None:
        self.name, self.sha256, self.layers = "vggish", sha256, {"features": 128, "activated": 128}
        self.protocol = {"rate": RATE, "patch_seconds": 0.96, "patch_overlap": 0, "features": "before the last ReLU, mean over a sound's patches",
                         "shorter sounds": "zeros at the end", "precision": precision}
        self.network, self.device, self.half = network.to(device), torch.device(device), precision == "bf16"

    @torch.no_grad()
    def embed(self, wave: Tensor | np.ndarray) -> Tensor:
        """One sound (T,) or (C, T) at 16 kHz -> float32 (patches, 128), before the last ReLU."""
        inputs = torch.from_numpy(patches(mono(np.asarray(wave))))[:, None]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return torch.cat([self.network(part.to(self.device)).float().cpu() for part in inputs.split(PATCHES)])

    def run(self, samples: Tensor | list[Tensor], layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """Sounds at 16 kHz, a list of (T,) or a tensor (N, T) or (N, C, T) -> (N, 128): the mean over each one's patches."""
        embedded = [self.embed(wave) for wave in samples]
        rows = {"features": embedded, "activated": [rows.relu() for rows in embedded]}
        return {layer: torch.stack([one.mean(0) for one in rows[layer]]) if embedded else torch.zeros(0, 128) for layer in layers}


def open_extractor(name: str, *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> Extractor:
    """The extractor "vggish". ``precision``: fp32 or bf16. Raises Unavailable where the weights cannot be had."""
    if weights is None:
        raise Unavailable("The weights {file} must be given by path, because no public source names their SHA-256. Expected: --weights {name}=PATH, after "
                          "curl -L -O {url}", file=WEIGHTS.file, name=name, url=WEIGHTS.urls[0])
    path = find(WEIGHTS, weights)
    return SoundFeatures(Vggish().load(path), sha256_of(path), device=device, precision=precision)
