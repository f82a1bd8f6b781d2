"""Pictures with what they are made of: partners by name, halves, recipes, unpaired sets; both sides varied alike. The pictures carry their number in their
colours, so that who belongs to whom can be read off the pixels."""

import numpy as np
import pytest
import torch
from PIL import Image

import agon
from agon.data.inputs import Recipe
from agon.data.pairs import PairSource, from_recipe
from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError

COUNT = 12


def number(pictures):
    """The number that a picture carries: 20 times it is its mean level."""
    return ((pictures.mean((1, 2, 3)) + 1) * 127.5 / 20).round().long().tolist()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A and B: picture i of both is flat grey 20 * i, with a ramp of +-8 levels along x; ``side``: B | A in one picture."""
    monkeypatch.setenv("AGON_CACHE", str(tmp_path / "cache"))
    ramp = np.linspace(-8, 8, 16)
    for folder in ("A", "B", "side"):
        (tmp_path / folder).mkdir()
    for i in range(COUNT):
        level = np.clip(np.rint(20 * i + np.tile(ramp, (16, 1))), 0, 255).astype(np.uint8)
        Image.fromarray(np.stack([level] * 3, 2)).save(tmp_path / "A" / f"{i}.png")
        Image.fromarray(np.stack([level] * 3, 2)).save(tmp_path / "B" / f"{i}.bmp")
        Image.fromarray(np.stack([np.concatenate([level, 255 - level], 1)] * 3, 2)).save(tmp_path / "side" / f"{i}.png")
    return tmp_path


def test_partners_have_the_same_name_whatever_the_order_and_ending(folders):
    for data, given in ((folders, "auto"), (folders / "B", str(folders / "A"))):
        source = agon.open_dataset(str(data), input=given)
        batch = source.read(np.array([7, 0, 11, 2]))
        assert source.spec.paired and len(source) == COUNT and source.spec.source_shape == (3, 16, 16)
        assert number(batch.source) == number(batch.real) and sorted(set(number(batch.real))) == sorted(number(batch.real))


def test_an_input_folder_inside_the_data_folder_is_no_target(folders):
    (folders / "B" / "inputs").mkdir()
    for path in (folders / "A").iterdir():
        path.rename(folders / "B" / "inputs" / path.name)
    source = agon.open_dataset(str(folders / "B"), input="inputs")
    assert len(source) == COUNT and all("/" not in name for name in source.files)


@pytest.mark.parametrize("side", ["left", "right"])
def test_halves_of_side_by_side_pictures(folders, side):
    batch = agon.open_dataset(str(folders / "side"), input=side, size=16).read(np.arange(5))
    assert torch.allclose(batch.source, -batch.real, atol=1e-6)
    assert number(batch.source if side == "left" else batch.real) == [0, 1, 10, 11, 2]  # files in the order of their names


def test_both_sides_are_cut_and_turned_alike(folders):
    plain = agon.open_dataset(str(folders), input="auto", size=12)
    source = agon.open_dataset(str(folders), input="auto", size=12, mirror=True, jitter=4)
    assert source.spec.shape == plain.spec.shape == (3, 12, 12)
    batches = [source.read(np.arange(COUNT), seed=3, epoch=epoch) for epoch in range(4)]
    for batch in batches:
        assert torch.equal(batch.source, batch.real)
    slopes = torch.cat([(b.real[1:, 0, 0, -1] - b.real[1:, 0, 0, 0]).sign() for b in batches])
    assert {-1.0, 1.0} <= set(slopes.tolist())  # some are turned, some not
    assert len({tuple(b.real[5].flatten().tolist()) for b in batches}) > 1  # and cut differently from epoch to epoch
    again = source.read(np.arange(COUNT), seed=3, epoch=2)
    assert torch.equal(again.real, batches[2].real) and torch.equal(again.source, batches[2].source)


def test_a_smaller_input_is_cut_at_the_same_place():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), dtype=np.uint8)
    base = ArraySource("noise", DataSpec("image", (3, 16, 16)), pixels)
    small = Recipe("picture", (3, 4, 4), lambda real, indices, rng: real[:, :, ::4, ::4])
    spec = DataSpec("image", (3, 8, 8), source_shape=(3, 2, 2), source_kind="picture", paired=True)
    source = PairSource(base, lambda real, indices, seed, epoch: small.make(real, indices, None), spec, fingerprint="every fourth", mirror=False, jitter=8)
    batch = source.read(np.arange(8), seed=1)
    assert torch.equal(batch.source, batch.real[:, :, ::4, ::4])


def test_recipes_draw_from_a_generator_of_their_own(monkeypatch):
    import agon.data.pairs as pairs

    base = ArraySource("noise", DataSpec("image", (1, 4, 4)), np.zeros((9, 1, 4, 4), np.uint8))
    monkeypatch.setattr(pairs, "open_recipe", lambda text, base: Recipe("picture", (1, 4, 4), lambda real, indices, rng: torch.stack(
        [torch.rand(1, 4, 4, generator=rng(i)) for i in range(len(real))])))  # fmt: skip
    source = from_recipe(base, "noise", {"size": None}, {}, pairs.Wishes())
    whole = source.read(np.arange(9), seed=5, epoch=1).source
    assert torch.equal(whole[[4, 2]], source.read(np.array([4, 2]), seed=5, epoch=1).source)  # whatever the batch
    assert len({tuple(row.flatten().tolist()) for row in whole}) == 9
    assert not torch.equal(whole, source.read(np.arange(9), seed=5, epoch=2).source)


def test_unpaired_sets_mix_evenly_and_know_it(folders):
    for i in range(4):
        (folders / "A" / f"{i}.png").unlink()
    source = agon.open_dataset(str(folders), input="auto", paired=False)
    assert not source.spec.paired and len(source) == COUNT
    drawn = [n for epoch in range(30) for n in number(source.read(np.arange(COUNT), epoch=epoch).source)]
    assert set(drawn) == set(range(4, COUNT))
    counts = np.bincount(drawn)[4:]
    assert counts.min() > 20 and counts.max() < 80  # 45 each, on average
    targets = number(source.read(np.arange(COUNT)).real)
    assert sorted(targets) == list(range(COUNT))


def test_partnerless_pictures_are_named_and_left_out_or_refused(folders):
    (folders / "A" / "3.png").unlink()
    source = agon.open_dataset(str(folders), input="auto")
    batch = source.read(np.arange(COUNT - 1))
    assert len(source) == COUNT - 1 and 3 not in number(batch.real) and number(batch.source) == number(batch.real)
    assert any(event.get("file") == "3.bmp" and "no partner" in event["why"] for event in source.events)
    (folders / "A" / "4.png").rename(folders / "A" / "00.png")
    with pytest.raises(UserError, match=r"3 pictures .* make no pair, beside 10 that do: 3.bmp has no partner.*00.png"):
        agon.open_dataset(str(folders), input="auto")
    batch = agon.open_dataset(str(folders), input="auto", max_bad=0.3).read(np.arange(10))
    assert number(batch.source) == number(batch.real)


def test_partners_of_other_shapes_and_twins_are_refused_by_name(folders):
    Image.new("RGB", (32, 16)).save(folders / "A" / "5.png")
    source = agon.open_dataset(str(folders), input="auto")
    assert len(source) == COUNT - 1
    assert [event["why"] for event in source.events if event.get("file") == "5.bmp"] == ["is 16x16 pixels, its partner 32x16: another shape"]
    Image.new("RGB", (16, 16)).save(folders / "B" / "5.png")
    with pytest.raises(UserError, match=r"5.bmp and 5.png have one name"):
        agon.open_dataset(str(folders), input="auto")


@pytest.mark.parametrize("options, word", [
    ({"input": "edgs"}, "Did you mean 'edges'"), ({"input": "auto"}, "Expected folders A and B"), ({"input": "edges", "jiter": 3}, "Did you mean 'jitter'"),
    ({"input": "edges", "jitter": -1}, "jitter 0 or more"), ({"input": "edges", "paired": False}, "makes pairs"),
])  # fmt: skip
def test_what_cannot_be_is_refused(folders, options, word):
    with pytest.raises(UserError, match=word):
        agon.open_dataset(str(folders / "B"), **options)


def test_a_set_without_the_same_names_says_what_to_do(folders):
    for path in (folders / "A").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(UserError, match="paired false"):
        agon.open_dataset(str(folders), input="auto")
