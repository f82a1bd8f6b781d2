"""Translators under comparison: a game that hands on what it is given, so that every number is known beforehand; baselines computed again by hand."""

import json
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn

import agon
from agon import cli
from agon.config import Preset
from agon.data import open_dataset
from agon.data.pairs import PairSource
from agon.data.source import ArraySource, Batch, DataSpec
from agon.errors import UserError
from agon.game import Stage, Update
from agon.metrics import catalog, translated
from agon.metrics.evaluate import evaluate, measure, sides
from agon.metrics.features import shapes
from agon.metrics.sides import SourceSide
from agon.metrics.ssim import psnr
from agon.run import draw as drawn
from agon.run import load
from agon.translation import TINY, TranslationConfig, TranslationGame

COUNT, SIDE = 24, 16


@dataclass(frozen=True, kw_only=True)
class Config(TranslationConfig):
    """Nothing of its own."""


class HandedOn(TranslationGame):
    """One 1x1 convolution that starts as the identity; backwards the first channel is turned upside down."""

    Config, takes, pairs, directions = Config, ("picture", "map", "hole"), False, ("forward", "backward")
    presets = {"image": Preset(fields=TINY | {"batch_size": 4, "ema_half_life_images": 0})}

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.generator = nn.Conv2d(self.source_channels, spec.shape[0], 1, bias=False)
        self.discriminator = nn.Conv2d(spec.shape[0], 1, 1)
        weight = torch.eye(self.source_channels)[: spec.shape[0]] if self.source_channels > 1 else torch.ones(spec.shape[0], 1)
        with torch.no_grad():
            self.generator.weight.copy_(weight[:, :, None, None])

    def stages(self):
        return [Stage("train", (Update("generator", self.loss),))]

    def loss(self, batch, ctx):
        return {"nothing": 0.0 * self.generator(self.encode(self.inputs(batch))).sum()}

    def render(self, source, draws, direction="forward"):
        return -source[:, :1] if direction == "backward" else self.generator(source)


def noise(count=COUNT, channels=3, side=SIDE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


class Couples(ArraySource):
    """Pictures and what they are to be made from, both in memory."""

    def __init__(self, real, source, kind="picture", paired=True, classes=()):
        self.starts = torch.from_numpy(source)
        spec = DataSpec("image", real.shape[1:], source_shape=source.shape[1:], source_kind=kind, source_classes=classes, paired=paired)
        super().__init__("couples", spec, real)

    def read(self, indices, *, seed=0, epoch=0):
        return Batch(super().read(indices).real, source=self.starts[torch.as_tensor(np.array(indices))])


def signed(pictures):
    return pictures.astype(np.float32) / 127.5 - 1


def by_name(results):
    return {result["metric"]: result for result in results}


def judged(source, metrics, **how):
    game = HandedOn(Config(), source.spec)
    draw = how.pop("draw", partial(drawn, game))
    return by_name(evaluate(draw, source, metrics, inputs=game.inputs, cached=False, **how))


def test_an_identity_scores_what_its_pairs_score():
    real, given = noise(), noise(seed=1)
    found = judged(Couples(real, signed(given)), ["psnr", "ssim"])
    pairs = list(zip(real, given, strict=True))
    assert found["psnr"]["value"] == pytest.approx(np.mean([peak_signal_noise_ratio(a, b, data_range=255) for a, b in pairs]), abs=1e-9)
    expected = [structural_similarity(a, b, channel_axis=0, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False) for a, b in pairs]
    assert found["ssim"]["value"] == pytest.approx(np.mean(expected), abs=1e-9)
    assert found["psnr"]["num_fake"] == COUNT and found["psnr"]["reference"]["identity"]["value"] == found["psnr"]["value"]


def test_the_mean_colour_is_the_mean_of_the_reals():
    real = noise()
    reference = judged(Couples(real, signed(noise(channels=1))), ["psnr"])["psnr"]["reference"]
    colour = np.floor(real.mean((0, 2, 3), keepdims=True) + 0.5)
    expected = np.mean([peak_signal_noise_ratio(one, np.broadcast_to(colour[0], one.shape).astype(np.uint8), data_range=255) for one in real])
    assert reference["mean_colour"]["value"] == pytest.approx(expected, abs=1e-9)
    assert set(reference) == {"identity", "mean_colour"}  # a grey input is three equal channels


def test_of_a_hole_what_is_known_is_kept():
    real, mask = noise(), np.zeros((COUNT, 1, SIDE, SIDE), np.float32)
    mask[:, :, 4:12, 4:8] = 1
    reference = judged(Couples(real, np.concatenate([signed(real) * (1 - mask), mask], 1), "hole"), ["psnr"])["psnr"]["reference"]
    filled = np.where(mask > 0, np.floor(real.mean((0, 2, 3), keepdims=True) + 0.5), real)
    expected = psnr(torch.from_numpy(real), torch.from_numpy(filled.astype(np.uint8))).mean()
    assert set(reference) == {"mean_colour"} and reference["mean_colour"]["value"] == pytest.approx(float(expected), abs=1e-9)


def test_bicubic_is_pillows():
    real, small = noise(side=32), noise(seed=2)
    enlarge = nn.Upsample(scale_factor=2)
    found = judged(Couples(real, signed(small)), ["psnr"], draw=lambda n, *, source, **_: enlarge(source))["psnr"]
    resized = np.stack([[np.array(Image.fromarray(plane.astype(np.float32), "F").resize((32, 32), Image.BICUBIC)) for plane in one] for one in small])
    expected = psnr(torch.from_numpy(real), torch.from_numpy(np.floor(resized.clip(0, 255) + 0.5).astype(np.uint8))).mean()
    assert found["reference"]["bicubic"]["value"] == pytest.approx(float(expected), abs=1e-3) and "identity" not in found["reference"]
    nearest = psnr(torch.from_numpy(real), torch.from_numpy(small.repeat(2, 2).repeat(2, 3))).mean()
    assert found["value"] == pytest.approx(float(nearest), abs=1e-9)


def test_order_and_pieces_change_nothing(monkeypatch):
    real, given = noise(), noise(seed=1)
    value = judged(Couples(real, signed(given)), ["psnr", "kid_random"])
    monkeypatch.setattr(translated, "PIXELS", 3 * SIDE * SIDE)
    monkeypatch.setattr(translated, "HELD_BYTES", 0)
    monkeypatch.setattr("agon.metrics.sides.PIECE_VALUES", 5 * real[0].size)
    order = np.random.default_rng(4).permutation(COUNT)
    other = judged(Couples(real[order], signed(given[order])), ["psnr", "kid_random"])
    assert other["psnr"]["value"] == pytest.approx(value["psnr"]["value"], abs=1e-9)
    assert other["psnr"]["reference"]["mean_colour"]["value"] == pytest.approx(value["psnr"]["reference"]["mean_colour"]["value"], abs=1e-9)
    assert other["kid_random"]["value"] == pytest.approx(value["kid_random"]["value"], rel=1e-5)


def test_fakes_are_made_once_for_all_metrics():
    made = []

    def draw(n, *, seed, source, **_):
        made.append(seed)
        return source

    judged(Couples(noise(), signed(noise(seed=1))), ["psnr", "niqe", "spectra"], draw=draw)
    assert len(made) == 1


def test_a_part_keeps_its_partners():
    """Fewer fakes than there are pairs, or fewer reals: fake i still belongs to real i."""
    real = noise()
    source = Couples(real, signed((real.astype(np.int64) + 10).clip(0, 255).astype(np.uint8)))
    for how in ({"num_samples": 5}, {"num_real": 7}):
        result = judged(source, ["psnr"], **how)["psnr"]
        assert result["num_fake"] == next(iter(how.values())) and result["value"] > 20 * np.log10(25.5) - 1e-9
    assert judged(source, ["psnr"], num_samples=1)["psnr"]["standard_error"] is None
    with pytest.raises(UserError, match="too few"):
        judged(source, ["psnr", "frechet_random"], num_samples=5)


def test_backward_is_judged_on_the_inputs():
    real, given = noise(), noise(channels=1, seed=1)
    found = judged(Couples(real, signed(given)), ["psnr"], direction="backward")["psnr"]
    expected = psnr(torch.from_numpy(given), torch.from_numpy(255 - real[:, :1])).mean()
    assert found["value"] == pytest.approx(float(expected), abs=1e-9) and found["protocol"]["direction"] == "backward"
    assert found["protocol"]["fingerprint"] != judged(Couples(real, signed(given)), ["psnr"])["psnr"]["protocol"]["fingerprint"]
    with pytest.raises(UserError, match="no way back .*(hole)"):
        judged(Couples(real, signed(noise(channels=4)), "hole"), ["psnr"], direction="backward")


def unpaired(many=30, few=21):
    target, given = (ArraySource(name, DataSpec("image", (3, SIDE, SIDE)), noise(count, seed=count)) for name, count in (("target", few), ("given", many)))
    spec = DataSpec("image", (3, SIDE, SIDE), source_shape=(3, SIDE, SIDE), source_kind="picture")
    source = PairSource(target, lambda real, *_: real, spec, fingerprint="given", length=many)
    source.given = given
    return source


@pytest.mark.parametrize("direction", [None, "backward"])
def test_of_two_sets_every_picture_is_taken_once(direction):
    source = unpaired()
    samples = sides(lambda n, *, source, **_: source, source, ["frechet_random"], inputs=lambda batch: batch.real, direction=direction, cached=False)
    sets = [np.sort(noise(count, seed=count).reshape(count, -1), 0) for count in (21, 30)]
    for side, expected in zip((samples.real, samples.fake), sets[::-1] if direction else sets, strict=True):
        assert np.array_equal(np.sort(torch.cat([part for _, part in side.chunks()]).flatten(1).numpy(), 0), expected)
    assert samples.fake.baselines == {}


def test_two_sets_have_no_pairs_to_compare():
    with pytest.raises(UserError, match="'psnr' compares each translation with its own target"):
        judged(unpaired(), ["psnr"])
    found = judged(unpaired(), ["psnr", "kid_random"])
    assert "unavailable" in found["psnr"] and "value" in found["kid_random"]
    assert not {"psnr", "ssim"} & set(judged(unpaired(), None))


def test_defaults_of_pairs():
    found = judged(Couples(noise(), signed(noise(seed=1))), None)
    assert {"psnr", "ssim", "frechet_random", "spectra"} <= set(found) and not {"near_copies", "miou"} & set(found)
    assert set(judged(Couples(noise(5), signed(noise(5, seed=1))), None)) == {"psnr", "ssim"}  # too few for any distribution


class Levels(nn.Module):
    """The class whose grey (class number times 40) is nearest."""

    def forward(self, pictures):
        return -(pictures[:, :1].float() - 40 * torch.arange(4.0)[None, :, None, None]).abs()


def test_miou_compares_with_the_maps_a_picture_was_made_from():
    maps = np.random.default_rng(0).integers(0, 4, (COUNT, 2, SIDE, SIDE), dtype=np.uint8)
    real = (maps[:, :1] * 40).repeat(3, 1)
    real[:, :, :4] = 0  # the real pictures show class 0 in their upper quarter
    source = Couples(real, maps, "map", classes=("a", "b", "c", "d"))

    def draw(n, *, source, **_):
        shown = source[:, :1].clone()
        shown[:, :, ::2] = (shown[:, :, ::2] + 1) % 4  # every other row shows another class
        return (shown * 40).expand(-1, 3, -1, -1).float() / 127.5 - 1

    game = HandedOn(Config(), source.spec)
    samples = sides(draw, source, ["pixel_accuracy"], inputs=game.inputs, segmenter=Levels(), cached=False)
    (result,) = measure(samples, catalog.asked(["pixel_accuracy"]))
    assert result["value"] == 0.5
    assert result["reference"]["perfect_sampler"]["value"] == pytest.approx(0.75 + (maps[:, 0, :4] == 0).mean() / 4)
    constant = round(real.mean() / 40)
    assert result["reference"]["mean_colour"]["value"] == pytest.approx((maps[:, 0] == constant).mean())


def test_miou_needs_maps():
    with pytest.raises(UserError, match="starts from something else \\(picture\\)"):
        judged(Couples(noise(), signed(noise(seed=1))), ["miou"], segmenter=Levels())


def test_the_shipped_segmenter_numbers_classes_as_the_maps_do():
    names = open_dataset("shapes", size=16, length=1, input="segmentation").spec.source_classes
    assert len(names) == shapes.CLASSES and names[1:] == tuple(shapes.SHAPES)


@pytest.mark.skipif(not shapes.WEIGHTS.is_file(), reason="the judge's weights are not there")
def test_the_shipped_segmenter_reads_real_shapes():
    """Of a run on shapes it is chosen by itself; the real pictures reach what a perfect sampler would."""
    found = judged(open_dataset("shapes", size=64, length=8, input="segmentation"), ["miou"])["miou"]
    assert found["reference"]["perfect_sampler"]["value"] > 0.9 > found["value"] and found["protocol"]["segmenter"] == f"shapes {shapes.SHA256}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that measures itself while it trains."""
    options = {"size": SIDE, "length": 40, "input": "grey", "mirror": True}
    return agon.train(HandedOn, "shapes", out=tmp_path_factory.mktemp("runs") / "run", data_options=options, steps=2, metrics=["psnr"], metrics_samples=5,
                      metrics_every_images=8, device="cpu")  # fmt: skip


def grey_psnr(source, count=None):
    """An identity's, computed by hand."""
    batch = source.read(np.arange(len(source)))
    real, grey = (((part + 1) * 127.5).round() for part in (batch.real, batch.source.expand(-1, 3, -1, -1)))
    return float(psnr(real, grey).mean())


def test_a_run_is_measured_while_it_trains_and_after(run):
    from agon.measuring import HISTORY

    assert (run.folder / HISTORY).read_text().count('"psnr"') >= 1 and not list((run.folder / "best").glob("*.none"))
    result = by_name(run.evaluate(["psnr", "kid_random"]))["psnr"]
    assert result["value"] == pytest.approx(grey_psnr(run.source), abs=1e-4) and result["num_fake"] == 40


def test_held_out_data_take_the_runs_options(run):
    """Other samples, the same form; turns are for training. The run's own numbers stay where they are."""
    own = by_name(run.evaluate(["psnr"]))["psnr"]
    other = by_name(run.evaluate(["psnr"], data_options={"seed": 1}))["psnr"]
    held_out = open_dataset("shapes", size=SIDE, length=40, input="grey", seed=1)
    assert other["value"] == pytest.approx(grey_psnr(held_out), abs=1e-4) and other["value"] != own["value"]
    assert other["protocol"]["data_options"] == {"size": SIDE, "length": 40, "input": "grey", "seed": 1}
    from agon.measuring import RESULTS, read_results

    kept = [result["value"] for result in read_results(run.folder / RESULTS) if result["metric"] == "psnr"]
    assert {own["value"], other["value"]} <= set(kept)
    larger = by_name(run.evaluate(["psnr"], data="shapes", data_options={"size": 20, "length": 21}))["psnr"]
    assert larger["num_fake"] == 21 and larger["protocol"]["fingerprint"] != other["protocol"]["fingerprint"]
    for options, word in (({"channels": 1}, "channels is 1, expected 3"), ({"input": "hole:box"}, "input is hole, expected picture")):
        with pytest.raises(UserError, match=word):
            run.evaluate(["psnr"], data_options=options)


def test_the_verb_measures_a_translator_on_other_data(run, capsys, monkeypatch):
    monkeypatch.setenv("AGON_LANG", "en")
    monkeypatch.setattr("agon.run.load", lambda folder, device, **_: load(folder, device, game=HandedOn))
    words = ["evaluate", str(run.folder), "--data", "shapes", "--data.seed", "1", "--metrics", "psnr", "--device", "cpu"]
    assert cli.main(words) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("psnr ") and "identity" in line and "mean colour" in line
    assert cli.main([*words, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["protocol"]["data_options"]["seed"] == 1 and "mirror" not in result["protocol"]["data_options"]
    assert cli.main(["evaluate", "--real", "digits", "--fake", "digits", "--data.seed=1"]) == 2
    assert "--data has no meaning here" in capsys.readouterr().err
    assert cli.main([*words, "--direction", "backward", "-n", "3"]) == 0
    assert cli.main([*words, "--direction", "sideways"]) == 2


def test_the_mean_of_a_side():
    pictures = noise()
    side = SourceSide(ArraySource("noise", DataSpec("image", pictures.shape[1:]), pictures))
    assert translated.mean_colour(side).numpy() == pytest.approx(pictures.mean((0, 2, 3)) / 127.5 - 1, abs=1e-6)
