"""Streams: every sample once, whatever the pieces; the same numbers from memory, from a folder, from several sizes; pairs by name."""

import numpy as np
import pytest
import torch
from picture_files import pictures, save

from agon.data import open_dataset
from agon.data.source import DataSpec
from agon.errors import UserError
from agon.metrics import sides
from agon.metrics.evaluate import between
from agon.metrics.pairs import matched
from agon.metrics.sides import ArraySide, Chosen, DrawSide, PictureFolder, SourceSide, as_stored, choose, piece_size


def joined(side):
    return torch.cat([samples for _, samples in side.chunks()]).numpy()


def test_eight_bits_are_exact():
    """uint8 -> [-1, 1] -> uint8 is the identity; what lies outside is clamped."""
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(as_stored(every.float() / 127.5 - 1, "image"), every)
    assert as_stored(torch.tensor([[-3.0, 3.0]]), "image").tolist() == [[0, 255]]
    assert as_stored(torch.tensor([[-3.0, 3.0]]), "points").tolist() == [[-3.0, 3.0]]


def test_a_folder_gives_what_was_saved_to_it(tmp_path):
    """Lossless files: the same pictures as in memory, in the order of their content, whatever their names."""
    samples = pictures(70)
    one = PictureFolder(save(tmp_path / "a", samples))
    other = PictureFolder(save(tmp_path / "b", samples[::-1], [f"{index}x.png" for index in range(70)]))
    assert one.count == 70 and one.spec == DataSpec("image", (3, 12, 10))
    assert sorted(map(bytes, joined(one))) == sorted(map(bytes, samples))
    np.testing.assert_array_equal(joined(one), joined(other))


def test_a_folders_fingerprint_is_of_content_and_not_of_names(tmp_path):
    samples = pictures(9)
    first = PictureFolder(save(tmp_path / "a", samples))
    renamed = PictureFolder(save(tmp_path / "b", samples, [f"other{9 - index}.png" for index in range(9)]))
    assert first.fingerprint == renamed.fingerprint
    samples[3, 0, 0, 0] ^= 1
    assert PictureFolder(save(tmp_path / "c", samples)).fingerprint != first.fingerprint


def test_several_sizes_stay_as_they_are(tmp_path):
    """Each at its own size, pieces of one size only, all of them once; a broken file is left out with a warning."""
    folder = save(tmp_path, pictures(5, 8, 8), [f"small/{i}.png" for i in range(5)])
    save(folder, pictures(4, 9, 14, seed=1), [f"wide/{i}.png" for i in range(4)])
    side = PictureFolder(folder)
    shapes = [tuple(samples.shape) for _, samples in side.chunks()]
    assert sorted(shapes) == [(4, 3, 9, 14), (5, 3, 8, 8)] and side.spec is None
    assert sorted(np.bincount(side.label)) == [4, 5]
    assert [side.piece_of(position) for position in range(9)] == [0] * 5 + [1] * 4
    whole = (folder / "wide" / "2.png").read_bytes()
    (folder / "wide" / "2.png").write_bytes(whole[: len(whole) // 2])
    damaged = PictureFolder(folder)
    with pytest.warns(UserWarning, match="2.png .* is left out"):
        rows = np.concatenate([rows for rows, _ in damaged.pieces()])
    assert len(rows) == 8 and damaged.count == 9


def test_at_most_so_many_files_always_the_same(tmp_path):
    folder = save(tmp_path, pictures(30))
    assert PictureFolder(folder, most=7).files == PictureFolder(folder, most=7).files
    assert len(set(PictureFolder(folder, most=7).files)) == 7


def test_pieces_of_a_draw_stand_alone():
    """Any piece can be drawn again by itself: several processes share the work and nothing changes."""

    def draw(n, *, seed, label=None):
        return torch.rand(n, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1

    spec = DataSpec("image", (3, 64, 64))
    side = DrawSide(draw, spec, 1500, seed=4)
    assert side.num_pieces == 3 and piece_size(spec.shape) == 682
    whole = joined(side)
    rows, last = side.piece(2)
    np.testing.assert_array_equal(whole[rows], last.numpy())
    assert not np.array_equal(whole, joined(DrawSide(draw, spec, 1500, seed=5)))
    assert len(np.unique(whole.reshape(1500, -1), axis=0)) == 1500, "no two pieces share a seed"


def test_labels_of_a_source_follow_its_indices():
    digits = open_dataset("digits")
    indices = choose(len(digits), 100)
    side = SourceSide(digits, indices)
    np.testing.assert_array_equal(side.label, digits.read(indices).label.numpy())
    assert side.fingerprint != SourceSide(digits).fingerprint


def test_pairs_are_matched_by_name(tmp_path):
    """Two folders in whatever order: each picture meets the one of its name, with another ending too."""
    samples = pictures(40)
    names = [f"{index:02d}.png" for index in range(40)]
    real = PictureFolder(save(tmp_path / "real", samples, names))
    fake = PictureFolder(save(tmp_path / "fake", 255 - samples, [name.replace(".png", ".bmp") for name in names]))
    count = 0
    for _, ours, theirs in matched(real, fake):
        assert torch.equal(ours, 255 - theirs)
        count += len(ours)
    assert count == 40
    (tmp_path / "fake" / "07.bmp").rename(tmp_path / "fake" / "77.bmp")
    with pytest.raises(UserError, match="07.png has no partner"):
        next(matched(real, PictureFolder(tmp_path / "fake")))
    with pytest.raises(UserError, match="3 real samples cannot be paired with 4"):
        next(matched(ArraySide(samples[:3]), ArraySide(samples[:4])))
    with pytest.raises(UserError, match="differs in shape"):
        next(matched(ArraySide(samples[:3]), ArraySide(pictures(3, 8, 8))))


def test_a_choice_of_another_sides_samples(monkeypatch):
    """The same samples as by index, in order; pieces without one are not read."""
    monkeypatch.setattr(sides, "READ", 7)
    samples, label = pictures(100, 4, 4), np.arange(100) % 3
    whole = ArraySide(samples, label=label)
    some = Chosen(whole, 9)
    np.testing.assert_array_equal(joined(some), samples[choose(100, 9)])
    np.testing.assert_array_equal(some.label, label[choose(100, 9)])
    assert some.num_pieces < 10
    for position in range(9):
        rows, piece = some.piece(some.piece_of(position))
        np.testing.assert_array_equal(piece[list(rows).index(position)].numpy(), samples[choose(100, 9)[position]])


def test_reading_ahead_keeps_the_order(monkeypatch):
    monkeypatch.setattr(sides, "READ", 7)
    samples = pictures(100, 4, 4)
    side = ArraySide(samples)
    assert side.num_pieces == 15
    np.testing.assert_array_equal(joined(side), samples)
    assert [start for start, _ in side.chunks()] == list(range(0, 100, 7))


def test_any_choice_of_a_source_has_a_fingerprint_of_its_own():
    """Other samples of the same number, another order, pictures turned: none may meet the features of another."""
    digits, turned = open_dataset("digits"), open_dataset("digits", mirror=True)
    every = np.arange(len(digits))
    found = [SourceSide(digits), SourceSide(digits, every[:50]), SourceSide(digits, every[50:100]), SourceSide(digits, every[::-1]), SourceSide(turned)]
    assert len({side.fingerprint for side in found}) == 5
    assert SourceSide(digits, every).fingerprint == SourceSide(digits).fingerprint


def test_a_partner_is_decoded_alone(tmp_path, monkeypatch):
    """The order of one folder is not the other's: a whole piece for each pair would take 64 times as long."""
    samples = pictures(200)
    real = PictureFolder(save(tmp_path / "real", samples))
    fake = PictureFolder(save(tmp_path / "fake", 255 - samples))
    decoded, decode = [], sides.decode
    monkeypatch.setattr(sides, "decode", lambda *given: decoded.append(1) or decode(*given))
    assert all(torch.equal(ours, 255 - theirs) for _, ours, theirs in matched(real, fake))
    assert len(decoded) == 400


def test_pairs_that_cannot_be_known_are_refused(tmp_path):
    """Names on one side only; two files whose names differ in their ending alone. Where a part of the reals was chosen, the other fakes are left over."""
    samples = pictures(6)
    real = PictureFolder(save(tmp_path / "real", samples))
    with pytest.raises(UserError, match="it is not known which belong together"):
        next(matched(real, ArraySide(samples)))
    fake = save(tmp_path / "fake", 255 - samples)
    both = [f"{index}.{ending}" for index in range(3) for ending in ("png", "bmp")]
    twice = PictureFolder(save(tmp_path / "twice", samples, both))
    assert torch.equal(next(matched(twice, PictureFolder(save(tmp_path / "again", samples, both))))[1], torch.from_numpy(joined(twice)))
    with pytest.raises(UserError, match="have one name but for their endings"):
        next(matched(twice, PictureFolder(fake)))
    some = PictureFolder(tmp_path / "real", most=4)
    pairs = [(ours, theirs) for _, ours, theirs in matched(some, PictureFolder(fake))]
    assert sum(len(ours) for ours, _ in pairs) == 4 and all(torch.equal(ours, 255 - theirs) for ours, theirs in pairs)
    with pytest.raises(UserError, match="has no partner"):
        next(matched(PictureFolder(save(tmp_path / "few", samples[:4])), PictureFolder(fake)))


def test_classes_meet_by_name(tmp_path):
    """Folders that have not all classes: "b" is class 1 on one side and 0 on the other. Classes of other names altogether are none."""
    samples = pictures(60)
    real = PictureFolder(save(tmp_path / "real", samples, [f"{'abc'[index % 3]}/{index}.png" for index in range(60)]))
    names = [f"{'bcd'[index % 3]}/{index}.png" for index in range(60)]
    fake = PictureFolder(save(tmp_path / "fake", samples, names))
    once = between(real, fake).fake
    assert once.classes == ("a", "b", "c", "d") and fake.classes == ("b", "c", "d")
    assert [once.classes[label] for label in once.label] == [name[0] for name in once.files]
    np.testing.assert_array_equal(between(real, once).fake.label, once.label)
    with pytest.warns(UserWarning, match="no class of"):
        other = between(real, PictureFolder(save(tmp_path / "other", samples, [f"x{name}" for name in names]))).fake
    assert other.label is None
