"""Files: what other libraries write is read back; wrong files are named."""

import struct
import wave

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from agon.errors import UserError
from agon.metrics import audio, clouds
from agon.metrics.files import kind_of, open_files
from agon.metrics.samples import Samples

RANDOM = np.random.default_rng(0)


def everything(side):
    """All samples in order, and that the stream says where each piece begins."""
    found = []
    for start, chunk in side.chunks():
        assert start == len(found)
        found += list(chunk)
    assert len(found) == side.count
    return found


def one(path, kind=None, **more):
    side = open_files(path, kind, **more)
    (sample,) = everything(side)
    return sample.numpy()


# --- sound ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "channels"), [(8, 1), (16, 2), (24, 1), (24, 2), (32, 1)])
def test_pcm_of_every_width(tmp_path, bits, channels):
    sound = np.clip(0.5 * RANDOM.standard_normal((500, channels)), -1, 0.99)
    subtype = {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}[bits]
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype=subtype, format="WAV")
    expected, _ = soundfile.read(tmp_path / "a.wav", always_2d=True)
    found = one(tmp_path)
    assert found.dtype == np.float32 and np.abs(found - expected.mean(1)).max() < 1e-7
    assert np.abs(expected - sound).max() <= 2.0 ** (1 - bits)


@pytest.mark.parametrize(("name", "options"), [("a.flac", {}), ("a.ogg", {}), ("a.wav", {"subtype": "FLOAT"})])
def test_other_sounds_come_through_soundfile(tmp_path, name, options):
    t = np.arange(8000) / 8000
    soundfile.write(tmp_path / name, 0.5 * np.sin(2 * np.pi * 300 * t), 8_000, **options)
    found = one(tmp_path)
    expected = 0.5 * np.sin(2 * np.pi * 300 * np.arange(16_000) / 16_000)
    assert len(found) == 16_000 and np.abs(found - expected)[500:-500].max() < 0.02


def test_folders_of_sounds_are_compared_pair_by_pair(tmp_path):
    for folder, gain in (("real", 1), ("fake", 2)):
        (tmp_path / folder).mkdir()
        for index in range(3):
            take = 0.1 * np.random.default_rng(index).standard_normal(4000 + 500 * index)
            soundfile.write(tmp_path / folder / f"{index}.{'flac' if gain == 2 else 'wav'}", gain * take, 16_000, subtype="PCM_24")
    sides = [open_files(tmp_path / name) for name in ("real", "fake")]
    assert sides[1].files == ["0.flac", "1.flac", "2.flac"] and sides[0].kind == "audio"
    (entry,) = audio.measure(Samples(*sides), ["log_spectral_distance"])
    assert entry["value"] == pytest.approx(20 * np.log10(2), abs=1e-3) and entry["num_real"] == 3


# --- clouds ---------------------------------------------------------------------------------------------------------------------------


def ply(path, points, form):
    head = f"ply\nformat {form} 1.0\ncomment x\nelement vertex {len(points)}\nproperty uchar red\nproperty float x\nproperty double y\nproperty float z\n"
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    order = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}[form]
    if order:
        body = b"".join(struct.pack(order + "Bfdf", 7, *point) for point in points) + struct.pack(order + "Biii", 3, 0, 1, 2)
    else:
        body = "".join(f"7 {x} {y} {z}\n" for x, y, z in points).encode() + b"3 0 1 2\n"
    path.write_bytes(head.encode() + body)


def test_clouds_of_every_format_are_the_same_points(tmp_path):
    points = RANDOM.random((20, 3)).astype(np.float32)
    text = "\n".join(" ".join(map(repr, map(float, point))) for point in points)
    for form in ("ascii", "binary_little_endian", "binary_big_endian"):
        ply(tmp_path / f"{form}.ply", points, form)
    (tmp_path / "a.xyz").write_text("\n".join(line + " 0 0 1" for line in text.splitlines()))
    (tmp_path / "a.off").write_text(f"OFF\n# a comment\n20 1 0\n{text}\n3 0 1 2\n")
    (tmp_path / "b.off").write_text(f"OFF20 1 0\n{text}\n3 0 1 2\n")
    np.save(tmp_path / "c.npy", points)
    np.savez(tmp_path / "d.npz", points[None].astype(np.float64))
    side = open_files(tmp_path)
    found = everything(side)
    assert side.kind == "cloud" and side.count == len(found) == 8
    for name, cloud in zip(side.files, found, strict=True):
        assert cloud.dtype == torch.float32 and np.allclose(cloud.numpy(), points, rtol=1e-6), name


def test_ragged_clouds_and_arrays_stream(tmp_path):
    for index in range(5):
        np.save(tmp_path / f"{index}.npy", RANDOM.random((10 + index, 3)))
    side = open_files(tmp_path, "cloud")
    assert [len(cloud) for cloud in everything(side)] == [10, 11, 12, 13, 14]
    whole = RANDOM.random((1500, 4, 3)).astype(np.float32)
    np.save(tmp_path / "all.npy", whole)
    single = open_files(tmp_path / "all.npy", "cloud")
    assert single.num_pieces == 2 and single.files is None and (torch.stack(everything(single)).numpy() == whole).all()
    mixed = open_files(tmp_path, "cloud")
    assert mixed.count == 1505 and mixed.files is None
    for position in (0, 4, 5, 1004, 1005, 1504):
        rows, samples = mixed.piece(mixed.piece_of(position))
        expected = everything(mixed)[position]
        assert torch.equal(samples[int(np.flatnonzero(rows == position)[0])], expected)
    (entry,) = clouds.measure(Samples(side, open_files(tmp_path / "all.npy", "cloud")), ["mmd_cd"])
    assert entry["num_real"] == 5 and entry["protocol"]["points"] == 4


# --- series, voxels, text, video ------------------------------------------------------------------------------------------------------


def test_series_voxels_and_text(tmp_path):
    rows = RANDOM.random((6, 2)).astype(np.float32)
    np.savetxt(tmp_path / "a.csv", rows, delimiter=",", fmt="%.9g")
    np.savetxt(tmp_path / "b.csv", rows, delimiter=",", fmt="%.9g", header="time,level", comments="")
    series = everything(open_files(tmp_path))
    assert len(series) == 2 and all(np.array_equal(one.numpy(), rows) for one in series)
    np.savez(tmp_path / "grid.npz", samples=RANDOM.random((3, 4, 4, 4)) > 0.5, other=np.zeros(1))
    grids = everything(open_files(tmp_path / "grid.npz", "voxels"))
    assert len(grids) == 3 and grids[0].dtype == torch.float32 and set(grids[0].unique().tolist()) == {0, 1}
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "1.txt").write_text("one line\n\n  \ntwo 中文\r\n", encoding="utf-8")
    (tmp_path / "t" / "2.txt").write_text("three")
    assert everything(open_files(tmp_path / "t")) == ["one line", "two 中文", "three"]


def test_videos_from_films_animations_frames_and_arrays(tmp_path):
    frames = np.stack([np.full((16, 24, 3), 20 * index, np.uint8) for index in range(12)])
    frames[:, :8] = 255 - frames[:, :8]
    for name in ("film", "gif", "folders", "arrays"):
        (tmp_path / name).mkdir()
    with av.open(str(tmp_path / "film" / "a.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", 25, width=24, height=16)
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        film.mux(stream.encode())
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(tmp_path / "gif" / "a.webp", save_all=True, append_images=pictures[1:], lossless=True)
    (tmp_path / "folders" / "clip").mkdir()
    for index, picture in enumerate(pictures):
        picture.save(tmp_path / "folders" / "clip" / f"frame{index}.png")  # frame10 comes after frame9
    np.save(tmp_path / "arrays" / "a.npy", np.stack([frames, frames]))
    expected = frames[:11].transpose(3, 0, 1, 2)
    for name, kind, tolerance in (("film", None, 12), ("gif", None, 0), ("folders", None, 0), ("arrays", "video", 0)):
        side = open_files(tmp_path / name, kind, frames=11)
        for clip in everything(side):
            assert side.kind == "video" and clip.dtype == torch.uint8 and clip.shape == (3, 11, 16, 24)
            assert np.abs(clip.numpy().astype(int) - expected).max() <= tolerance, name
        with pytest.raises(UserError, match="has 12 frames. Expected 13"):
            everything(open_files(tmp_path / name, kind, frames=13))


# --- identity, errors -----------------------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_the_content(tmp_path):
    def folder(name, names, values):
        (tmp_path / name).mkdir()
        for file, value in zip(names, values, strict=True):
            np.save(tmp_path / name / file, np.full((3, 3), value))
        return open_files(tmp_path / name, "cloud").fingerprint

    first = folder("a", ["1.npy", "2.npy"], [1, 2])
    assert folder("b", ["x.npy", "y.npy"], [1, 2]) == first
    assert folder("c", ["1.npy", "2.npy"], [1, 3]) != first and folder("d", ["1.npy", "2.npy"], [2, 1]) != first
    assert open_files(tmp_path / "a", "series").fingerprint != first


def test_the_kind_is_told_by_the_endings(tmp_path):
    (tmp_path / "README.txt").write_text("about")
    assert kind_of(tmp_path) == "text"
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 16_000)
    (tmp_path / ".hidden.ply").write_text("")
    assert kind_of(tmp_path) == "audio"
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(UserError, match="--kind"):
        open_files(tmp_path)
    assert open_files(tmp_path, "series").count == 1
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    with pytest.raises(UserError, match=r"\.npy"):
        open_files(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.npy", b"", "cloud"), ("a.npy", b"\x93NUMPY\x01\x00nonsense", "cloud"), ("a.npz", b"PK\x03\x04nonsense", "cloud"), ("a.wav", b"RIFFxxxx", "audio"),
        ("a.flac", b"nothing", "audio"), ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nend_header\n1\n2\n", "cloud"),
        ("a.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nproperty float y\nproperty float z\nend_header\nshort", "cloud"),
        ("a.off", b"OFF\n3 0 0\n1 2\n", "cloud"), ("a.xyz", b"a b c\n", "cloud"), ("a.csv", b"", "series"), ("a.csv", b"1,2\n3\n", "series"),
        ("a.csv", b"1,nan\n", "series"), ("a.txt", b"\xff\xfe\xfa", "text"), ("a.mp4", b"nothing", "video"), ("a.gif", b"GIF89anothing", "video"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} .*Expected"):
        everything(open_files(tmp_path, kind))


def test_wrong_arrays_are_named(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.save(tmp_path / "flat.npy", np.zeros((2, 2)))
    np.savez(tmp_path / "several.npz", a=np.zeros(1), b=np.zeros(1))
    np.save(tmp_path / "words.npy", np.array(["a"]))
    for name, kind, why in (
        ("objects.npy", "series", "cannot be read"), ("flat.npy", "cloud", r"\(P, 3\)"), ("flat.npy", "video", r"\(T, H, W, C\).*uint8"),
        ("several.npz", "points", "holds 2 arrays"), ("words.npy", "points", "values are <U1"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=f"{name}.*{why}"):
            open_files(tmp_path / name, kind)
    np.save(tmp_path / "other.npy", np.zeros((3, 2)))
    folder = tmp_path / "mixed"
    folder.mkdir()
    for index, steps in enumerate((4, 4, 5)):
        np.save(folder / f"{index}.npy", np.zeros((steps, 2)))
    with pytest.raises(UserError, match=r"2\.npy .*\(5, 2\), those before it \(4, 2\)"):
        everything(open_files(folder, "series"))


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(UserError, match="There is no"):
        open_files(tmp_path / "none")
    with pytest.raises(UserError, match="holds no file of kind audio"):
        open_files(tmp_path, "audio")
    with pytest.raises(UserError, match="no kind of data 'sound'"):
        open_files(tmp_path, "sound")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(UserError, match="holds no sample"):
        open_files(tmp_path)


def test_a_short_wav_without_a_whole_frame_is_no_crash(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"")
    with pytest.raises(UserError, match="a.wav .*it is empty"):
        everything(open_files(tmp_path))
