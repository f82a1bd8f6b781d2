"""Oracles: generators that are linear maps, whose path length under the squared distance is known in closed form."""

import numpy as np
import pytest
import torch

from agon.errors import Unavailable, UserError
from agon.metrics.ppl import PLACES, latents_of, path_result, perceptual_path_length, prepare, slerp, trimmed_mean
from agon.metrics.samples import Samples

MATRIX = torch.randn(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NORM = float(MATRIX.square().sum())


def linear(latent):
    """(n, 3) -> pictures (n, 3, 2, 2)."""
    return (latent @ MATRIX).view(-1, 3, 2, 2)


def normal(n, generator):
    return torch.randn(n, 3, generator=generator, dtype=torch.float64)


def sphere(n, generator):
    latent = normal(n, generator)
    return latent / latent.norm(dim=1, keepdim=True)


def squared(x, y):
    return (x - y).square().flatten(1).sum(1)


@pytest.mark.parametrize("sampling", ["full", "end"])
def test_straight_paths(sampling):
    """G(z) = z A, ends standard normal: the mean of |(z1 - z0) A|^2 is 2 |A|^2."""
    _, distances = perceptual_path_length(linear, normal, squared, space="w", sampling=sampling, count=4000, seed=1)
    assert distances.shape == (4000,)
    assert distances.mean() == pytest.approx(2 * NORM, abs=4 * distances.std() / np.sqrt(4000))


@pytest.mark.parametrize("sampling", ["full", "end"])
def test_spherical_paths(sampling):
    """Ends uniform on the sphere: speed is the angle w between them, direction uniform, so E[w^2] |A|^2 / 3; E[w^2] = (pi^2 - 4) / 2 in 3 dimensions."""
    _, distances = perceptual_path_length(linear, sphere, squared, space="z", sampling=sampling, count=4000, seed=2)
    expected = (np.pi**2 - 4) / 2 * NORM / 3
    assert distances.mean() == pytest.approx(expected, abs=4 * distances.std() / np.sqrt(4000))


def test_full_is_along_the_path_and_end_at_its_beginning():
    """The pixel is the square of the first coordinate u = x + t (y - x), its squared speed 4 u^2 (y - x)^2, of mean 16 - 48 t + 48 t^2 for standard normal
    x and y: 16 at the beginning, 8 over the whole path."""

    def square(latent):
        return latent[:, :1].square().view(-1, 1, 1, 1)

    for sampling, expected in (("end", 16), ("full", 8)):
        distances = perceptual_path_length(square, normal, squared, space="w", sampling=sampling, count=20_000, seed=3)[1] / 3  # grey is repeated
        assert distances.mean() == pytest.approx(expected, abs=5 * distances.std() / np.sqrt(20_000))


def test_slerp():
    """The middle of a right angle; the ends; lengths in between; the published form at unit length."""
    one, two = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 3, 0]])
    torch.testing.assert_close(slerp(one, two, torch.tensor([[0.5]])), 2 * torch.tensor([[0.5**0.5, 0.5**0.5, 0]]))
    for place, end in ((0.0, one), (1.0, two)):
        torch.testing.assert_close(slerp(one, two, torch.tensor([[place]])), end, atol=1e-6, rtol=0)
    a, b = sphere(2, torch.Generator().manual_seed(1)).split(1)
    angle = torch.acos((a * b).sum())
    expected = (torch.sin(0.7 * angle) * a + torch.sin(0.3 * angle) * b) / torch.sin(angle)  # Shoemake's formula
    torch.testing.assert_close(slerp(a, b, torch.tensor([[0.3]], dtype=torch.float64)), expected)


def test_trimmed_mean():
    """0..1000: percentiles 1 and 99 are 10 and 990; the published rule keeps both."""
    values = np.random.default_rng(0).permutation(np.arange(1001.0))
    values[values == 1000] = 1e9
    assert trimmed_mean(values) == pytest.approx(np.arange(10, 991).mean())
    assert trimmed_mean(np.array([5.0])) == 5
    assert trimmed_mean(np.arange(100.0) ** 2) == (np.arange(100.0) ** 2).mean(), "between two samples the outer one counts"


def test_crop_and_resize():
    """512 pixels: rows 192 to 448, columns 128 to 384, averaged in blocks of 2."""
    picture = torch.zeros(1, 3, 512, 512)
    picture[:, :, 192:448, 128:384] = 1
    assert prepare(picture, True).shape == (1, 3, 128, 128) and (prepare(picture, True) == 1).all()
    assert prepare(picture, False).shape == (1, 3, 256, 256) and prepare(picture, False).mean() == 0.25
    assert prepare(torch.rand(2, 1, 100, 100), False).shape == (2, 3, 100, 100)
    with pytest.raises(UserError, match="square faces"):
        prepare(torch.zeros(1, 3, 64, 32), True)


def test_same_seed_same_number_and_labels_go_with_their_paths():
    first = perceptual_path_length(linear, normal, squared, count=21, seed=4)
    again, other = (perceptual_path_length(linear, normal, squared, count=21, seed=seed) for seed in (4, 5))
    assert first[0] == again[0] != other[0]
    label = torch.arange(21)

    def scaled(latent, label):
        return linear(latent) * label.view(-1, 1, 1, 1)

    _, distances = perceptual_path_length(scaled, normal, squared, count=21, seed=4, label=label)
    np.testing.assert_allclose(distances, first[1] * label.numpy() ** 2, rtol=1e-6)
    with pytest.raises(UserError, match="knows no space"):
        perceptual_path_length(linear, normal, squared, space="x", count=1)


class Mapped:
    """A generator with both spaces: w = 2 z."""

    draw_latent = staticmethod(normal)
    from_latent = staticmethod(lambda latent, label=None: linear(2 * latent))
    mapping = staticmethod(lambda latent, label=None: 2 * latent)
    from_w = staticmethod(lambda w, label=None: linear(w))


def test_a_generators_path_length():
    samples = Samples.of_arrays(np.zeros((600, 3, 2, 2), np.uint8), np.zeros((600, 3, 2, 2), np.uint8), generator=Mapped(), seed=7)
    found = {name: path_result(samples, name, *latents_of(samples.generator, PLACES[name][0]), squared, {}) for name in PLACES}
    straight = found["ppl_wfull"]
    assert straight["details"]["untrimmed_mean"] == pytest.approx(8 * NORM, rel=0.2)
    assert straight["value"] == pytest.approx(found["ppl_wend"]["value"]), "a straight path through a linear map has one speed"
    assert straight["value"] != pytest.approx(found["ppl"]["value"], rel=1e-3)
    assert straight["protocol"]["space"] == "w" and found["ppl"]["protocol"]["epsilon"] == 1e-4
    assert 0.5 < straight["standard_error"] / (straight["value"] / np.sqrt(600)) < 2


def test_generators_without_latents():
    with pytest.raises(Unavailable, match="draw_latent, from_latent"):
        latents_of(None, "z")

    class Plain:
        draw_latent, from_latent = Mapped.draw_latent, Mapped.from_latent

    latents_of(Plain(), "z")
    with pytest.raises(Unavailable, match="mapping network"):
        latents_of(Plain(), "w")
