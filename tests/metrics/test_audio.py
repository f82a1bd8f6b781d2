"""Sound: closed forms (gains, cosines, alignments), a front end and a network derived again from the publications, scipy's resampling, the libraries."""

import math

import numpy as np
import pystoi
import pytest
import torch
from scipy.fft import dct, idct
from scipy.signal import resample_poly
from torch.nn import functional as F

from agon.errors import Unavailable, UserError
from agon.metrics import audio, waves
from agon.metrics.features import vggish
from agon.metrics.frechet import frechet
from agon.metrics.samples import Samples

RANDOM = np.random.default_rng(0)


def tone(frequency, seconds=1.0, rate=waves.RATE):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def speech(seconds=2.0, seed=0):
    """Something with syllables: a buzz of changing pitch, in bursts."""
    random = np.random.default_rng(seed)
    t = np.arange(int(seconds * waves.RATE)) / waves.RATE
    pitch = np.cumsum(120 + 30 * np.sin(2 * np.pi * 1.3 * t)) / waves.RATE
    buzz = sum(np.sin(2 * np.pi * k * pitch) / k for k in range(1, 30))
    return 0.1 * buzz * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * t)) + 1e-3 * random.standard_normal(len(t))


# --- signals --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "wanted"), [(44_100, 16_000), (8_000, 16_000), (22_050, 16_000), (16_000, 16_000), (48_000, 16_000)])
def test_resampling_keeps_tones_in_place(rate, wanted):
    made = waves.resample(tone(440, 0.5, rate), rate, wanted)
    assert len(made) == math.ceil(0.5 * rate) * wanted // rate
    inside = slice(400, -400)
    assert np.abs(made - tone(440, 0.5, wanted)[: len(made)])[inside].max() < 2e-4


def test_resampling_takes_away_what_would_fold_and_agrees_with_scipy():
    assert np.abs(waves.resample(tone(11_000, 0.5, 44_100), 44_100)[300:-300]).max() < 2e-4
    smooth = np.convolve(RANDOM.standard_normal(4410), np.hanning(41) / 20, "same")  # nothing near the cut-off, where two filters may differ
    assert np.abs(waves.resample(smooth, 44_100)[50:-50] - resample_poly(smooth, 160, 441)[50:-50]).max() < 5e-3


def test_the_best_alignment_is_that_of_all_paths():
    def best(cost, i=0, j=0):
        if (i, j) == (cost.shape[0] - 1, cost.shape[1] - 1):
            return cost[i, j]
        steps = [(i + 1, j), (i, j + 1), (i + 1, j + 1)]
        return cost[i, j] + min(best(cost, *step) for step in steps if step[0] < cost.shape[0] and step[1] < cost.shape[1])

    for shape in [(4, 5), (6, 3), (1, 4), (1, 1)]:
        cost = RANDOM.random(shape)
        rows, columns = waves.align(cost)
        assert cost[rows, columns].sum() == pytest.approx(best(cost))
        assert (rows[0], columns[0], rows[-1], columns[-1]) == (0, 0, shape[0] - 1, shape[1] - 1)
        assert set(zip(np.diff(rows), np.diff(columns), strict=True)) <= {(0, 1), (1, 0), (1, 1)}


# --- paired takes ---------------------------------------------------------------------------------------------------------------------


def test_a_gain_moves_spectra_by_its_logarithm_and_no_cepstrum():
    take = speech(0.5) + 0.01 * RANDOM.standard_normal(8000)
    assert audio.mel_distance(take, 3 * take) == pytest.approx(math.log(3), rel=1e-6)
    assert audio.log_spectral_distance(take, 3 * take) == pytest.approx(20 * math.log10(3), rel=1e-6)
    assert audio.mcd(take, 3 * take) == pytest.approx(0, abs=1e-6)
    assert audio.mcd(take, take) == audio.mel_distance(take, take) == audio.log_spectral_distance(take, take) == 0


def test_mcd_is_the_decibels_between_smoothed_spectra():
    """Parseval: with all 79 coefficients it is the root mean square difference in dB of the bands' power, the mean level taken off."""
    take = speech(0.5)
    other = np.convolve(take, [1, -0.3, 0.1], "same")
    for order in (13, 79):
        spectra = [2 * waves.log_mel(wave) for wave in (take, other)]
        smooth = []
        for spectrum in spectra:
            coefficients = dct(spectrum, norm="ortho")
            coefficients[:, 0] = coefficients[:, order + 1 :] = 0
            smooth.append(10 / math.log(10) * idct(coefficients, norm="ortho"))
        cost = np.sqrt(((smooth[0][:, None] - smooth[1]) ** 2).mean(2))
        assert audio.mcd(take, other, order) == pytest.approx(cost[waves.align(cost)].mean(), rel=1e-9)


def test_mcd_forgives_a_pause_and_the_others_do_not():
    take = speech(1.0)
    late = np.concatenate([take[:8192], np.tile(take[8192 - 256 : 8192], 8), take[8192:]])
    assert audio.mcd(take, late) < 0.5 * audio.mcd(take, speech(1.0)[::-1])
    assert audio.mel_distance(take[8192:], late[8192 : len(take)]) > 0.05


def test_log_mel_is_the_sum_over_triangles():
    take = speech(0.3)
    frame = take[256 : 256 + 1024] * np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / 1024) for n in range(1024)])
    magnitude = np.abs(np.exp(-2j * np.pi * np.outer(np.arange(513), np.arange(1024)) / 1024) @ frame)
    mel = [1127 * math.log(1 + 16_000 * k / 1024 / 700) for k in range(513)]
    edges = np.linspace(0, 1127 * math.log(1 + 8000 / 700), 82)
    for band in (0, 10, 79):
        low, centre, high = edges[band : band + 3]
        total = sum(magnitude[k] * max(0, min((mel[k] - low) / (centre - low), (high - mel[k]) / (high - centre))) for k in range(1, 513))
        assert waves.log_mel(take)[1, band] == pytest.approx(math.log(max(1e-5, total)), abs=1e-9)


NEEDS_A_COMPILER = "the package pesq builds from source, so it is not among the test dependencies: pip install pesq"


def noisy(clean):
    noise = np.random.default_rng(1).standard_normal(len(clean))
    return [clean + level * noise for level in (0.003, 0.03, 0.3)]


def test_pesq_is_the_librarys_and_orders_noise():
    itu = pytest.importorskip("pesq", reason=NEEDS_A_COMPILER).pesq
    clean = speech(2.0)
    takes = noisy(clean)
    (entry,) = audio.measure(Samples.of_arrays([torch.from_numpy(clean)], [torch.from_numpy(takes[1])], kind="audio"), ["pesq"])
    assert entry["value"] == pytest.approx(itu(16_000, clean, takes[1], "wb"))
    assert audio.pesq(clean, takes[0]) > audio.pesq(clean, takes[1]) > audio.pesq(clean, takes[2])


def test_stoi_is_the_librarys_and_distances_order_noise():
    clean = speech(2.0)
    takes = noisy(clean)
    (entry,) = audio.measure(Samples.of_arrays([torch.from_numpy(clean)], [torch.from_numpy(takes[1])], kind="audio"), ["stoi"])
    assert entry["value"] == pytest.approx(pystoi.stoi(clean, takes[1], 16_000))
    assert audio.stoi(clean, takes[0]) > audio.stoi(clean, takes[1]) > audio.stoi(clean, takes[2])
    for metric in (audio.mel_distance, audio.mcd, audio.log_spectral_distance):
        assert metric(clean, takes[0]) < metric(clean, takes[1]) < metric(clean, takes[2])


def test_pairs_are_averaged_cut_and_told():
    real = [torch.from_numpy(speech(0.5, seed)).float() for seed in range(3)]
    fake = [2 * real[0], 4 * real[1], real[2][:6000]]
    (entry,) = audio.measure(Samples.of_arrays(real, fake, kind="audio"), ["mel_distance"])
    assert entry["value"] == pytest.approx((math.log(2) + math.log(4)) / 3, rel=0.03)
    assert entry["standard_error"] == pytest.approx(np.std([math.log(2), math.log(4), 0], ddof=1) / math.sqrt(3), rel=0.03)
    assert "1 pairs differ in length" in entry["warnings"][0]


def test_silence_has_no_pesq():
    pytest.importorskip("pesq", reason=NEEDS_A_COMPILER)
    silent = [torch.zeros(16_000)]
    with pytest.raises(Unavailable, match="heard no speech"):
        audio.measure(Samples.of_arrays(silent, silent, kind="audio"), ["pesq"])


# --- VGGish ---------------------------------------------------------------------------------------------------------------------------

# torchvggish's vggish-10086976.pth
SHAPES = {
    "features.0": (64, 1, 3, 3), "features.3": (128, 64, 3, 3), "features.6": (256, 128, 3, 3), "features.8": (256, 256, 3, 3),
    "features.11": (512, 256, 3, 3), "features.13": (512, 512, 3, 3), "embeddings.0": (4096, 12288), "embeddings.2": (4096, 4096), "embeddings.4": (128, 4096),
}  # fmt: skip


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    with torch.no_grad():
        made = vggish.Vggish().eval()
        for parameter in made.parameters():
            parameter.mul_(2)  # so that the last numbers are not all biases
    return made


def derived(state, patches):
    """VGGish (Hershey et al., 2017) from the published file's tensors; TensorFlow flattens height, width, channels."""
    x = torch.from_numpy(patches)[:, None]
    for name, halve in (("0", 1), ("3", 1), ("6", 0), ("8", 1), ("11", 0), ("13", 1)):
        x = F.unfold(x, 3, padding=1).transpose(1, 2) @ state[f"features.{name}.weight"].flatten(1).T + state[f"features.{name}.bias"]
        side = (96, 64) if name == "0" else side  # noqa: F821
        x = x.clamp(min=0).transpose(1, 2).unflatten(2, side)
        if halve:
            x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
            side = x.shape[2:]
    rows = torch.stack([torch.cat([x[n, :, i, j] for i in range(6) for j in range(4)]) for n in range(len(x))])
    for name in "024":
        rows = rows @ state[f"embeddings.{name}.weight"].T + state[f"embeddings.{name}.bias"]
        rows = rows if name == "4" else rows.clamp(min=0)
    return rows


def front_end(wave):
    """VGGish's input, word by word: frames of 400, hop 160, a transform of 512, 64 bands, logarithm with an offset of 0.01."""
    mel = lambda f: 1127 * math.log(1 + f / 700)  # noqa: E731
    edges = [mel(125) + (mel(7500) - mel(125)) * n / 65 for n in range(66)]
    bank = np.zeros((257, 64))
    for k in range(1, 257):
        place = mel(8000 * k / 256)
        for band in range(64):
            low, centre, high = edges[band : band + 3]
            bank[k, band] = max(0.0, min((place - low) / (centre - low), (high - place) / (high - centre)))
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
    frames = [np.abs(np.fft.rfft(wave[start : start + 400] * window, 512)) @ bank for start in range(0, len(wave) - 399, 160)]
    mel_frames = np.log(np.array(frames) + 0.01)
    return np.stack([mel_frames[start : start + 96] for start in range(0, len(mel_frames) - 95, 96)]).astype(np.float32)


def test_vggish_is_the_published_network(network):
    state = network.state_dict()
    assert {name: tuple(value.shape) for name, value in state.items() if name.endswith("weight")} == {f"{name}.weight": shape for name, shape in SHAPES.items()}
    assert sum(value.numel() for value in state.values()) == 72_141_184
    wave = speech(2.3)
    expected = derived(state, front_end(wave))
    assert expected.shape == (2, 128) and expected.std() > 1e-3
    found = vggish.SoundFeatures(network).embed(torch.from_numpy(wave))
    assert torch.allclose(found, expected, atol=1e-5, rtol=1e-4)


def test_features_of_a_sound_are_its_patches_mean(network):
    extractor = vggish.SoundFeatures(network)
    sounds = [torch.from_numpy(speech(seconds, seed)).float() for seed, seconds in enumerate((0.4, 2.1))]
    out = extractor.run(sounds, ["features", "activated"])
    patches = extractor.embed(sounds[1])
    assert len(patches) == 2 and out["features"].shape == (2, 128)
    assert torch.allclose(out["features"][1], patches.mean(0)) and torch.allclose(out["activated"][1], patches.clamp(min=0).mean(0))
    filled = F.pad(sounds[0], (0, 15_600 - len(sounds[0])))
    assert torch.allclose(out["features"][0], extractor.embed(filled)[0])


class Bands:
    """A tiny extractor with patches: mean log-mel of each."""

    name, sha256, kind, layers, protocol = "bands", "", "audio", {"features": 64}, {}

    def embed(self, wave):
        return torch.from_numpy(vggish.patches(np.asarray(wave)).mean(1)[:, ::16])


def test_frechet_audio_is_over_the_patches_of_all_sounds():
    sounds = [[torch.from_numpy(speech(2, seed) * gain).float() for seed in range(8)] for gain in (1, 1.5)]
    samples = Samples.of_arrays(*sounds, kind="audio", extractor=Bands())
    (entry,) = audio.measure(samples, ["frechet_audio"])
    real, fake = (np.concatenate([Bands().embed(sound).numpy() for sound in part]) for part in sounds)
    assert real.shape == (16, 4)
    assert entry["value"] == pytest.approx(frechet(real, fake)) and entry["details"]["rows_real"] == 16
    assert entry["details"]["halves"] > entry["reference"]["perfect_sampler"]["value"]


def test_vggish_needs_weights_that_are_given(tmp_path):
    with pytest.raises(Unavailable, match="vggish-10086976.pth must be given by path.*--weights vggish=PATH"):
        vggish.open_extractor("vggish")
    wrong = tmp_path / "wrong.safetensors"
    from safetensors.torch import save_file

    save_file({"features.0.weight": torch.zeros(1)}, wrong)
    with pytest.raises(UserError, match="does not hold VGGish's weights"):
        vggish.open_extractor("vggish", weights=wrong)
