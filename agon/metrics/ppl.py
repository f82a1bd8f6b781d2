"""Perceptual path length: how much a picture changes when its latent takes a small step, per squared step.

Karras et al., 2019 (StyleGAN), https://arxiv.org/abs/1812.04948, section 4.1: mean of d(G(path(t)), G(path(t + e))) / e^2 with e = 1e-4, d = LPIPS with
VGG16, the path between two random latents, spherical in z and straight in w, t uniform in [0, 1] ("full") or 0 ("end"). As the authors' code has it, in
StyleGAN, StyleGAN2 and StyleGAN2-ADA alike: distances below the 1st and above the 99th percentile are left out of the mean, and pictures above 256 pixels
are first averaged down. ``crop`` is the published crop of FFHQ (rows 3/8 to 7/8, columns 2/8 to 6/8: the face); their "ppl_wend" has it and "ppl2_wend" has
not.

What differs: latents keep their lengths along the spherical path (interpolated between the ends'), for not every generator normalises them as StyleGAN
does, which makes the published unit-length path the same; and 8-bit rounding, which would swallow so small a step, is left out, as published. Low values
mean a smooth generator, not a good one: a constant scores 0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agon.errors import Unavailable, UserError
from agon.metrics.bootstrap import bootstrap
from agon.metrics.samples import Samples

METRICS = {
    "ppl": "Perceptual path length in z along the whole path (lower is smoother)",
    "ppl_zend": "Perceptual path length in z at the path's beginning (lower is smoother)",
    "ppl_wfull": "Perceptual path length in w along the whole path (lower is smoother)",
    "ppl_wend": "Perceptual path length in w at the path's beginning, that of StyleGAN2 (lower is smoother)",
}
KINDS = ("image",)
EXTRACTOR = ""
LAYERS = ()
PLACES = {"ppl": ("z", "full"), "ppl_zend": ("z", "end"), "ppl_wfull": ("w", "full"), "ppl_wend": ("w", "end")}
EPSILON = 1e-4
SIDE = 256
BATCH = 8  # paths at a time
PERCENTILES = (1, 99)

Distance = Callable[[Tensor, Tensor], Tensor]


def perceptual_path_length(
    generate: Callable[..., Tensor], draw_latent: Callable[[int, torch.Generator], Tensor], distance: Distance, *, space: str = "z", sampling: str = "full",
    epsilon: float = EPSILON, crop: bool = False, count: int = 50_000, seed: int = 0, label: Tensor | None = None, mapping: Callable[..., Tensor] | None = None,
) -> tuple[float, np.ndarray]:  # fmt: skip
    """The mean of the kept distances and all ``count`` of them, (count,) float64, in units of the distance per squared step.

    ``draw_latent(n, generator)`` gives (n, ...) latents, which ``mapping(latent)`` takes to w where it is given. ``generate(latent)`` gives float pictures
    (n, C, H, W) in [-1, 1] and must do the same for both ends of a step: no noise of its own. Where ``label`` (count,) is given, both get it as a second
    argument. ``distance(x, y)``: (n, 3, h, w) in [-1, 1] twice -> (n,). Latents are drawn for BATCH paths at a time.
    """
    if space not in ("z", "w") or sampling not in ("full", "end"):
        raise UserError("Path length knows no space '{space}' with sampling '{sampling}'. Expected z or w, and full or end.", space=space, sampling=sampling)
    between = slerp if space == "z" else torch.lerp
    random = torch.Generator().manual_seed(seed)
    found = []
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        part = () if label is None else (label[start : start + size].repeat(2),)
        ends = draw_latent(2 * size, random)
        with torch.no_grad():
            ends = ends if mapping is None else mapping(ends, *part)
        first, second = ends.double().chunk(2)
        place = torch.rand(size, generator=random, dtype=torch.float64) * (sampling == "full")
        place = place.to(first.device).view(-1, *[1] * (first.ndim - 1))
        steps = torch.cat([between(first, second, place), between(first, second, place + epsilon)]).to(ends.dtype)
        with torch.no_grad():
            pictures = prepare(generate(steps, *part), crop)
            found.append(distance(*pictures.chunk(2)).double().cpu() / epsilon**2)
    distances = torch.cat(found).numpy()
    return trimmed_mean(distances), distances


def slerp(first: Tensor, second: Tensor, place: Tensor) -> Tensor:
    """On the great circle between two directions over the last axis, the length changing evenly. Opposite directions have no shortest way: not a number."""
    lengths = [end.norm(dim=-1, keepdim=True) for end in (first, second)]
    one, two = first / lengths[0], second / lengths[1]
    cosine = (one * two).sum(-1, keepdim=True).clamp(-1, 1)
    across = two - cosine * one
    across = across / across.norm(dim=-1, keepdim=True)
    angle = place * torch.acos(cosine)
    return torch.lerp(*lengths, place) * (one * torch.cos(angle) + across * torch.sin(angle))


def prepare(pictures: Tensor, crop: bool) -> Tensor:
    """(N, C, H, W) -> (N, 3, h, w): cropped to the face if asked, averaged down by a whole number to no less than 256 pixels, grey repeated."""
    factor = pictures.shape[-1] // SIDE  # of the whole picture, as published: the crop is then 128 pixels wide
    if crop:
        if pictures.shape[2] != pictures.shape[3]:
            raise UserError("Path length's crop is for square faces, these pictures have {size} pixels. Leave the crop out.", size=tuple(pictures.shape[2:]))
        eighth = pictures.shape[2] // 8
        pictures = pictures[:, :, 3 * eighth : 7 * eighth, 2 * eighth : 6 * eighth]
    if factor > 1:
        pictures = torch.nn.functional.avg_pool2d(pictures, factor)
    return pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures


def trimmed_mean(distances: np.ndarray) -> float:
    """Mean of what lies between the 1st and the 99th percentile, both taken as samples outwards."""
    low, high = (np.percentile(distances, at, method=how) for at, how in zip(PERCENTILES, ("lower", "higher"), strict=True))
    return float(distances[(distances >= low) & (distances <= high)].mean())


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """As many paths as there are fakes, with their classes; error by bootstrap over the paths."""
    from agon.metrics.lpips import open_lpips
    from agon.metrics.lpips import protocol as protocol_of

    spaces = {name: latents_of(samples.generator, PLACES[name][0]) for name in names}
    net = open_lpips("vgg", trunk=samples.weights.get("vgg"), heads=samples.weights.get("lpips"), device=samples.device)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return net(x.float().to(net.shift.device), y.float().to(net.shift.device))  # the generator may live elsewhere

    return [path_result(samples, name, *spaces[name], distance, {**protocol_of(net), "distance": "LPIPS"}) for name in names]


def path_result(samples: Samples, name: str, draw_latent: Callable, mapping: Callable | None, generate: Callable, distance: Distance, protocol: dict) -> dict:
    """One number over the generator's paths."""
    space, sampling = PLACES[name]
    label = None if samples.fake.label is None else torch.from_numpy(samples.fake.label)
    value, distances = perceptual_path_length(
        generate, draw_latent, distance, space=space, sampling=sampling, count=samples.fake.count, seed=samples.seed, label=label, mapping=mapping,
    )  # fmt: skip
    return samples.result(
        name, value, bootstrap(trimmed_mean, distances), num_real=0, num_fake=len(distances),
        protocol={
            **protocol, "space": space, "sampling": sampling, "epsilon": EPSILON, "path": "spherical, lengths interpolated" if space == "z" else "straight",
            "crop": "none", "resize": f"area average by a whole factor, not below {SIDE} pixels", "percentiles": list(PERCENTILES),
            "error": "bootstrap over the paths, 200 resamples",
        },
        details={"untrimmed_mean": float(distances.mean()), "median": float(np.median(distances))},
    )  # fmt: skip


def latents_of(generator: Any, space: str) -> tuple[Callable, Callable | None, Callable]:
    """(draw_latent, mapping, generate) of a generator.

    For z it has ``draw_latent(n, generator)`` and ``from_latent(latent, label)``, for w ``mapping(latent, label)`` and ``from_w(w, label)`` instead of the
    second; ``label`` is left out where there are none. Raises Unavailable where it has not.
    """
    needed = ("draw_latent", "from_latent") if space == "z" else ("draw_latent", "mapping", "from_w")
    missing = [name for name in needed if not hasattr(generator, name)]
    if missing:
        raise Unavailable(
            "Path length in {space} moves a generator's latents, and there is none to move (no {missing}). Evaluate a run of a game with latents{more}: "
            "agon evaluate RUN --metrics ppl.",
            space=space, missing=", ".join(missing), more=" and a mapping network" if space == "w" else "",
        )  # fmt: skip
    draw, *rest = (getattr(generator, name) for name in needed)
    return (draw, *rest) if space == "w" else (draw, None, *rest)
