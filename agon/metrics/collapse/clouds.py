"""Clouds of the collapse report: PCA and t-SNE of real and fake, and points as they are with their modes."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import numpy as np

from agon.locale import translate
from agon.metrics.collapse import page, statistics
from agon.metrics.modes import histogram, mixture_of
from agon.metrics.samples import Samples
from agon.metrics.sides import Side, choose

SHOWN = 1_000  # samples a side in a cloud
PERPLEXITY = 30


def clouds(real: np.ndarray, fake: np.ndarray, tsne: bool) -> str:
    """The block for pictures."""
    count = min(SHOWN, len(real), len(fake))  # as many of each: else the more numerous hides the other
    real, fake, shares = statistics.principal(real[choose(len(real), count)], fake[choose(len(fake), count)])
    flat = [pair if pair.shape[1] > 1 else np.pad(pair, ((0, 0), (0, 1))) for pair in (real, fake)]
    explained = translate("PCA, {share} of the variance").format(share=f"{100 * float(shares[:2].sum()):.0f} %")
    panes = page.cloud(explained, *(part[:, :2] for part in flat))
    below = ""
    if tsne:
        embedded = embed(np.concatenate([real, fake]))
        if embedded is None:
            below = page.note(translate("t-SNE needs scikit-learn: pip install scikit-learn."))
        else:
            panes += page.cloud("t-SNE", embedded[: len(real)], embedded[len(real) :])
    how = translate(
        "Each dot is a sample, neighbours are alike. Blue without red is what the generator misses, red without blue what it invents. PCA keeps large "
        "distances; t-SNE keeps who is near whom, and its distances between groups mean nothing."
    )
    return page.section("clouds", translate("Clouds of real and fake"), how, f"<div class=two>{panes}</div>{below}")


def embed(samples: np.ndarray) -> np.ndarray | None:
    """(N, D) -> (N, 2) by t-SNE (van der Maaten and Hinton, 2008), None without scikit-learn. On one thread: the sums of several come in any order."""
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits
    except ImportError:
        return None
    with threadpool_limits(1):
        return TSNE(perplexity=min(PERPLEXITY, (len(samples) - 1) / 3), init="pca", random_state=0).fit_transform(samples.astype(np.float32))


def points_block(samples: Samples, say: Callable[[str, str], None]) -> str:
    """The cloud, and counts by the modes of the mixture, where the data have one."""
    real, fake = (all_points(side) for side in (samples.real, samples.fake))
    mixture = mixture_of(samples.source)
    if real.shape[1] == 2:
        flat = real, fake
    elif real.shape[1] == 1:
        flat = tuple(np.stack([part[:, 0], np.linspace(0, np.ptp(real) or 1, len(part))], 1) for part in (real, fake))
    else:
        flat = tuple(part[:, :2] for part in statistics.principal(real, fake)[:2])
    count = min(2 * SHOWN, len(real), len(fake))
    body = page.cloud(translate("samples"), *(part[choose(len(part), count)] for part in flat))
    if mixture is not None:
        body += page.pane(translate("Modes"), mode_table(histogram(real, mixture), histogram(fake, mixture), say))
    how = translate(
        "Each dot is a sample. Blue without red is a mode that the generator misses; red between the modes are points that the data never has. A point belongs "
        "to a mode within three standard deviations of its centre."
    )
    return page.section("points", translate("Points"), how, f"<div class=two>{body}</div>")


def mode_table(real: np.ndarray, fake: np.ndarray, say: Callable[[str, str], None]) -> str:
    """(K + 1,) counts of both sides, the last of those outside every mode."""
    shares = statistics.compare_shares(real[:-1], fake[:-1], (int(real.sum()), int(fake.sum())))
    say_of_modes(shares, say)
    outside = [part[-1] / part.sum() for part in (real, fake)]
    if statistics.exceeds(outside[1], outside[0], int(fake.sum())) and outside[1] > 0.1:
        sentence = translate("Of 100 fakes, {fake} lie outside every mode; of 100 reals, {real}.")
        say("warn", sentence.format(fake=f"{100 * outside[1]:.0f}", real=f"{100 * outside[0]:.1g}"))
    counts = (translate("reals"), "n"), (translate("fakes"), "n")
    columns = (translate("mode"), ""), *counts, (translate("share: real, fake"), ""), (translate("fake / real"), "n")
    most = float(max(shares.real_share.max(), shares.fake_share.max()))
    rows = []
    for each in range(len(shares.real)):
        tone = "bad" if shares.missing[each] else "warn" if shares.rare[each] else ""
        bars = page.meter(shares.real_share[each], shares.fake_share[each], most)
        rows.append((tone, [f"{each + 1}", f"{shares.real[each]:,}", f"{shares.fake[each]:,}", bars, f"{shares.ratio[each]:.2f}"]))
    rows.append(("", [escape(translate("outside")), f"{real[-1]:,}", f"{fake[-1]:,}", "", ""]))
    return page.table(columns, rows)


def say_of_modes(shares: statistics.Shares, say: Callable[[str, str], None]) -> None:
    """What is found in modes, of points and pictures alike."""
    total = len(shares.real)
    missing, rare, different = (int(mask.sum()) for mask in (shares.missing, shares.rare, shares.different))
    if missing:
        say("bad", translate("{count} of {total} modes of the reals have no or hardly any fakes.").format(count=missing, total=total))
    if rare:
        say("warn", translate("{count} of {total} modes of the reals have fewer than half of the fakes they should.").format(count=rare, total=total))
    if different > total / 2 and not missing and not rare:
        sentence = translate("The fakes are spread unevenly: {count} of {total} modes have a share that chance does not explain.")
        say("warn", sentence.format(count=different, total=total))


def all_points(side: Side) -> np.ndarray:
    """(N, D) float64."""
    return np.concatenate([samples.flatten(1).double().numpy() for _, samples in side.chunks()])
