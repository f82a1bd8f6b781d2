"""The collapse report: one HTML page that shows whether a generator forgot classes or modes, repeats itself, or copies its training data.

No number replaces looking, and looking alone misses what is not there. The page opens with a verdict, whose limits stand in agon/metrics/collapse/statistics.py
and are printed with it, and then shows the evidence. One file, no network, no scripts; the same inputs give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

import agon
from agon.locale import translate
from agon.media import write_atomically
from agon.metrics.collapse import page, statistics
from agon.metrics.collapse.clouds import clouds, points_block, say_of_modes
from agon.metrics.collapse.results import results_block
from agon.metrics.collapse.statistics import Shares, Twins
from agon.metrics.collapse.view import Looked, View, look
from agon.metrics.features.base import Extractor
from agon.metrics.prdc import expected_coverage
from agon.metrics.samples import Samples
from agon.metrics.sides import choose

GRID = 64
NEIGHBOURS, ROWS = 5, 6
PAIRS = 12
MAX_CLASSES = 40  # rows of the table of classes, those that lack most first
MODE_ROWS, EXAMPLES = 8, 10
NAMED = 12  # classes that a sentence lists
THRESHOLD_ROWS = 2_000  # training samples whose own neighbours set the threshold of a copy


@dataclass
class Verdict:
    """``said``: (tone, sentence): "bad" is collapse or copying, "warn" what may be."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def say(self, tone: str, sentence: str) -> None:
        self.said.append((tone, sentence))


def write_collapse_report(samples: Samples, results: list[dict], path: Path, *, extractor: Extractor | None = None, tsne: bool = True) -> Path:
    """Write the page to ``path`` and return it.

    ``results``: what agon.metrics.evaluate.measure returned, for the table. ``extractor``: whose features are compared (default: that of ``samples``); without
    one, thumbnails of 16x16 pixels stand in. ``tsne``: also embed by t-SNE where scikit-learn is installed (seconds). Pictures are streamed, and only those
    that are shown are kept. For points the page shows the cloud and its modes, for other kinds the numbers alone.
    """
    verdict = Verdict()
    extractor = extractor or samples.extractor
    if samples.kind == "image":
        blocks = picture_blocks(look(samples, extractor), verdict, tsne)
    elif samples.kind == "points":
        blocks = [points_block(samples, verdict.say)]
    else:
        blocks = []
    body = header(samples, extractor) + verdict_block(verdict, bool(blocks)) + "".join(blocks) + results_block(results)
    title = translate("Collapse report") + " · " + Path(samples.fake.name).name
    return write_atomically(Path(path), page.page(title, body, agon.__version__).encode())


def picture_blocks(looked: Looked, verdict: Verdict, tsne: bool) -> list[str]:
    """All blocks on pictures; what they find goes into the verdict."""
    return [
        grids_block(looked),
        classes_block(looked, verdict),
        modes_block(looked, verdict),
        repeats_block(looked, verdict),
        copies_block(looked, verdict),
        neighbours_block(looked),
        spectra_block(looked),
        clouds(looked.real.space, looked.fake.space, tsne),
    ]


def header(samples: Samples, extractor: Extractor | None) -> str:
    facts = [
        (translate("real"), samples.real.name), (translate("fake"), samples.fake.name),
        (translate("counts"), f"{samples.real.count:,} / {samples.fake.count:,}"),
    ]  # fmt: skip
    if samples.kind == "image":
        facts.append((translate("features"), translate("pixels only") if extractor is None else extractor.name))
    shown = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return f"<header><p class=brand>Agon</p><h1>{escape(translate('Collapse report'))}</h1><dl class=facts>{shown}</dl></header>"


def verdict_block(verdict: Verdict, judged: bool) -> str:
    """What was found, worst first, and by which limits."""
    said = sorted(verdict.said, key=lambda each: each[0] != "bad")
    if not judged:
        said = [("quiet", translate("Collapse is judged for pictures and points; for this kind of data there are the numbers alone."))]
    elif not said:
        said = [("good", translate("Looks diverse: nothing that is among the reals is missing, and fakes are no copies, neither of each other nor of reals."))]
    callouts = "".join(f'<div class="callout {tone}"><p>{escape(text)}</p></div>' for tone, text in said)
    limits = translate(
        "Missing is a class or mode with less than {missing} of the reals' share, rare one with less than {rare}, where chance would do so in less than "
        "{level} of such reports. Samples are twins when they are nearer than half of the distance that all but {quantile} of the reals keep from every other "
        "real; twins are an alarm from {repeats} of the fakes on, if they are {twice} times as many as among the reals and {sigmas} standard errors more."
    ).format(
        missing=percent(statistics.MISSING), rare=percent(statistics.RARE), level=percent(statistics.LEVEL), quantile=percent(statistics.QUANTILE),
        repeats=percent(statistics.REPEATS), twice=f"{statistics.TWICE:g}", sigmas=f"{statistics.SIGMAS:g}",
    )  # fmt: skip
    details = f"<details><summary>{escape(translate('How this is judged'))}</summary>{page.note(limits)}</details>" if judged else ""
    return f'<section id="verdict"><h2>{escape(translate("Verdict"))}</h2>{callouts}{details}</section>'


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share in (0, 1) or 0.1 <= share < 0.995 else f"{100 * share:.2g} %"


# ---- grids and neighbours -------------------------------------------------------------------------------------------------------------


def grids_block(looked: Looked) -> str:
    count = min(GRID, len(looked.real.rows), len(looked.fake.rows))
    panes = []
    for title, side in ((translate("real"), looked.real), (translate("fake"), looked.fake)):
        chosen = choose(len(side.rows), count)
        pictures = side.pictures(chosen)
        panes.append(page.pane(title, f"<div class=grid>{''.join(page.picture(pictures[int(each)], side.name(each)) for each in chosen)}</div>"))
    how = translate(
        "As many of each, chosen by a fixed rule and not by hand: look for a kind of picture among the reals that the fakes lack, and for the same fake twice."
    )
    return page.section("grids", translate("Side by side"), how, f"<div class=two>{''.join(panes)}</div>")


@dataclass(frozen=True)
class Space:
    """In what samples are compared. ``unit``: what a distance is divided by where it is shown."""

    name: str
    real: np.ndarray
    fake: np.ndarray
    unit: float = 1.0


def spaces(real: View, fake: View) -> list[Space]:
    """Features where there are any, and thumbnails, whose distances are shown as root mean square differences in grey levels."""
    both = [] if fake.features is None else [Space(translate("features"), real.features, fake.features)]
    return [*both, Space(translate("pixels"), real.pixels, fake.pixels, np.sqrt(real.pixels.shape[1]))]


@dataclass(frozen=True)
class Found:
    """Nearest neighbours in one space: of each fake, its ``distance`` to ``partner``."""

    space: Space
    twins: Twins
    distance: np.ndarray
    partner: np.ndarray

    def pairs(self, chosen: list[tuple[int, int, int]]) -> list[tuple[int, int, str]]:
        """(fake, partner, row) -> with the distance as it is shown."""
        return [(first, second, f"{self.distance[row] / self.space.unit:.3g}") for first, second, row in chosen]


def neighbours_block(looked: Looked) -> str:
    """A fixed choice of fakes, each with its nearest training samples."""
    training, chosen = looked.training, choose(len(looked.fake.rows), ROWS)
    found = []
    for space in spaces(training, looked.fake):
        distance, index = statistics.nearest(space.fake[chosen], space.real, NEIGHBOURS)
        found.append((space.name, distance / space.unit, index))
    fakes = looked.fake.pictures(chosen)
    reals = training.pictures(np.concatenate([index.ravel() for _, _, index in found]))
    head = f"<tr><th>{escape(translate('fake'))}</th>" + "".join(
        f"<th class=gap colspan={index.shape[1]}>{escape(translate('nearest in {space}').format(space=name))}</th>" for name, _, index in found
    )
    rows = ""
    for row, each in enumerate(chosen):
        cells = f"<td>{page.picture(fakes[int(each)], looked.fake.name(each), 'c0')}<small>{escape(looked.fake.name(each))}</small></td>"
        for _, distance, index in found:
            for column in range(index.shape[1]):
                real, gap = int(index[row, column]), distance[row, column]
                gapped = " class=gap" if column == 0 else ""
                cells += f"<td{gapped}>{page.picture(reals[real], training.name(real), 'c1')}<small>{escape(training.name(real))}<br>{gap:.3g}</small></td>"
        rows += f"<tr>{cells}</tr>"
    how = translate(
        "A good fake resembles its neighbours in kind and differs in detail; a fake that is its neighbour is a copy. Below a neighbour stand its name and "
        "distance."
    )
    body = f"<div class='pane scroll'><table class=near>{head}</tr>{rows}</table></div>"
    return page.section("neighbours", translate("Nearest training pictures"), how, body)


# ---- classes and modes ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ByClass:
    """``recognised``: classes of the fakes by the label of the nearest real, ``asked`` by the label that was asked for (None where none was)."""

    recognised: Shares
    asked: Shares | None
    agreement: tuple[float, float]
    coverage: np.ndarray
    precision: np.ndarray
    names: list[str]

    @property
    def missing(self) -> np.ndarray:
        return self.recognised.missing | (False if self.asked is None else self.asked.missing)

    @property
    def rare(self) -> np.ndarray:
        return (self.recognised.rare | (False if self.asked is None else self.asked.rare)) & ~self.missing

    @property
    def ratio(self) -> np.ndarray:
        return self.recognised.ratio if self.asked is None else np.minimum(self.recognised.ratio, self.asked.ratio)


def manifold(looked: Looked) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(covered reals, fakes inside, each real's nearest other real, each fake's nearest real): as in agon/metrics/prdc.py, k = 5."""
    real, fake = looked.real.space, looked.fake.space
    distance, index = statistics.nearest(real, real, statistics.K, same=True)
    covered = statistics.nearest(real, fake)[0][:, 0] < distance[:, -1]
    return covered, statistics.inside(real, distance[:, -1], fake), index[:, 0], statistics.nearest(fake, real)[1][:, 0]


def by_class(looked: Looked, found: tuple[np.ndarray, ...]) -> ByClass:
    """Counts, coverage and precision by class. What reals are recognised as by their own nearest real is the fair comparison: it has the same confusions."""
    covered, good, own, towards = found
    label, asked = looked.real.label, looked.fake.label
    number = max(len(looked.classes), int(label.max()) + 1)
    seen_real, seen_fake = label[own], label[towards]
    recognised = statistics.compare_shares(np.bincount(seen_real, minlength=number), np.bincount(seen_fake, minlength=number))
    by_asking = None
    if asked is not None:
        counts = np.bincount(asked[(asked >= 0) & (asked < number)], minlength=number)
        by_asking = statistics.compare_shares(np.bincount(label, minlength=number), counts, (len(label), len(asked)))
    group = seen_fake if asked is None else asked
    return ByClass(
        recognised, by_asking, (float((seen_real == label).mean()), 1.0 if asked is None else float((seen_fake == asked).mean())),
        np.array([covered[label == each].mean() if (label == each).any() else np.nan for each in range(number)]),
        np.array([good[group == each].mean() if (group == each).any() else np.nan for each in range(number)]),
        list(looked.classes) or [str(each) for each in range(number)],
    )  # fmt: skip


def classes_block(looked: Looked, verdict: Verdict) -> str:
    """Per class where the reals have labels; coverage of the whole either way."""
    found = manifold(looked)
    expected, coverage, precision = expected_coverage(len(found[0]), len(found[1]), statistics.K), float(found[0].mean()), float(found[1].mean())
    if coverage < expected / 2:
        verdict.say("warn", translate("Only {coverage} of the reals have a fake nearby; a perfect sampler would reach {perfect}.").format(
            coverage=percent(coverage), perfect=percent(expected)))  # fmt: skip
    body = page.note(translate("All together: coverage {coverage} (a perfect sampler: {perfect}), precision {precision}.").format(
        coverage=percent(coverage), perfect=percent(expected), precision=percent(precision)))  # fmt: skip
    if looked.real.label is None:
        body += page.note(translate("The reals have no labels, so there are no classes to count: see the modes below."))
    else:
        classes = by_class(looked, found)
        say_of_classes(classes, verdict)
        body = f"<div class=pane>{class_table(classes)}</div>{body}"
    how = translate(
        "The bars compare the share of each class among reals (blue) and fakes (red): a class that lacks red was dropped. Coverage is the share of reals that "
        "have a fake within the distance of their fifth nearest real, precision the share of fakes that lie within that distance of a real."
    )
    return page.section("classes", translate("Classes and coverage"), how, body)


def say_of_classes(classes: ByClass, verdict: Verdict) -> None:
    total = int((classes.recognised.real > 0).sum())
    for mask, tone, sentence in (
        (classes.missing, "bad", translate("{count} of {total} classes are missing among the fakes: {names}.")),
        (classes.rare, "warn", translate("{count} of {total} classes are rare among the fakes: {names}.")),
    ):
        if mask.any():
            named = [classes.names[each] for each in np.flatnonzero(mask)]
            names = ", ".join(named[:NAMED]) + (" …" if len(named) > NAMED else "")
            verdict.say(tone, sentence.format(count=len(named), total=total, names=names))
    real, fake = classes.agreement
    if fake < real / 2:
        verdict.say("bad", translate("Only {fake} of the fakes are recognised as the class that was asked for; of the reals, {real}.").format(
            fake=percent(fake), real=percent(real)))  # fmt: skip


def class_table(classes: ByClass) -> str:
    """Worst first where there are many, else in the labels' order."""
    order = np.arange(len(classes.names))
    if len(order) > MAX_CLASSES:
        order = np.argsort(classes.ratio, kind="stable")[:MAX_CLASSES]
    shares = [classes.recognised] if classes.asked is None else [classes.asked, classes.recognised]
    heads = [translate("fakes")] if classes.asked is None else [translate("fakes asked for"), translate("fakes recognised")]
    head = [(translate("class"), ""), (translate("reals"), "n"), *((text, "n") for text in heads), (translate("share: real, fake"), ""),
            (translate("fake / real"), "n"), (translate("coverage"), "n"), (translate("precision"), "n")]  # fmt: skip
    most = float(max(np.max(each) for part in shares for each in (part.real_share, part.fake_share)))
    rows = []
    for each in order:
        least = min(shares, key=lambda part: part.ratio[each])
        tone = "bad" if classes.missing[each] else "warn" if classes.rare[each] else ""
        fractions = [percent(value) if np.isfinite(value) else "–" for value in (classes.coverage[each], classes.precision[each])]
        cells = [escape(classes.names[each]), f"{shares[0].real[each]:,}", *(f"{part.fake[each]:,}" for part in shares),
                 page.meter(least.real_share[each], least.fake_share[each], most), f"{classes.ratio[each]:.2f}", *fractions]  # fmt: skip
        rows.append((tone, cells))
    more = ""
    if len(classes.names) > len(order):
        more = page.note(translate("The {shown} of {all} classes that lack most.").format(shown=len(order), all=len(classes.names)))
    return page.table(head, rows) + more


def modes_block(looked: Looked, verdict: Verdict) -> str:
    """Clusters of one half of the reals; the other half and the fakes are counted in them."""
    real, fake, _ = statistics.principal(looked.real.space, looked.fake.space)
    number = statistics.num_modes(len(real), len(fake))
    mixed = np.random.default_rng(1).permutation(len(real))
    made, counted = np.sort(mixed[: len(real) // 2]), np.sort(mixed[len(real) // 2 :])
    centres = statistics.kmeans(real[made], number)
    sizes = np.bincount(statistics.assign(real[counted], centres), minlength=number)
    centres = centres[np.argsort(-sizes, kind="stable")]  # mode 1 is the largest, as the bars show it
    home, mode = statistics.assign(real, centres), statistics.assign(fake, centres)
    shares = statistics.compare_shares(np.bincount(home[counted], minlength=number), np.bincount(mode, minlength=number))
    say_of_modes(shares, verdict.say)
    lacking = np.lexsort((-shares.real_share, shares.ratio))
    flagged = [int(each) for each in lacking if shares.missing[each] or shares.rare[each]]
    listed = (flagged or [int(each) for each in lacking[:3]])[:MODE_ROWS]
    gap = np.square(real - centres[home]).sum(1)
    examples = {each: inner[np.argsort(gap[inner], kind="stable")[:EXAMPLES]] for each in listed for inner in [np.flatnonzero(home == each)]}
    pictures = looked.real.pictures(np.concatenate(list(examples.values())))
    rows = []
    for each in listed:
        tone = "bad" if shares.missing[each] else "warn" if shares.rare[each] else ""
        shown = "".join(page.picture(pictures[int(index)], looked.real.name(index), "c1") for index in examples[each])
        cells = [escape(mode_name(each, looked, home)), percent(shares.real_share[each]), percent(shares.fake_share[each]), f"{shares.fake[each]:,}"]
        rows.append((tone, [*cells, f"<div class=row>{shown}</div>"]))
    counts = (translate("real"), "n"), (translate("fake"), "n"), (translate("fakes"), "n")
    head = [(translate("mode"), ""), *counts, (translate("what it looks like (reals)"), "")]
    template = translate("{different} of {total} modes differ at the 5 % level (about {chance} would by chance), {missing} are missing, {rare} are rare.")
    said = template.format(
        different=int(shares.different.sum()), total=number, chance=f"{statistics.NDB_LEVEL * number:.1f}",
        missing=int(shares.missing.sum()), rare=int(shares.rare.sum()),
    )  # fmt: skip
    title = translate("Modes that lack fakes") if flagged else translate("The least visited modes")
    how = translate(
        "Modes are clusters of the reals, found without labels; the bars compare how many reals (blue) and fakes (red) fall into each. A mode without red was "
        "dropped, and the pictures below show what it was."
    )
    body = page.bars(translate("Share of samples in each mode"), shares.real_share, shares.fake_share) + page.note(said)
    return page.section("modes", translate("Modes"), how, body + "<br>" + page.pane(title, page.table(head, rows)))


def mode_name(mode: int, looked: Looked, home: np.ndarray) -> str:
    """Its number, and the class of most of its reals."""
    label = looked.real.label
    if label is None:
        return f"{mode + 1}"
    most = int(np.bincount(label[home == mode]).argmax())
    return translate("{mode} (class {name})").format(mode=mode + 1, name=looked.classes[most] if looked.classes else most)


# ---- twins ----------------------------------------------------------------------------------------------------------------------------


def repeats_block(looked: Looked, verdict: Verdict) -> str:
    """Fakes that are nearer to another fake than reals are to other reals, at equal counts."""
    count = min(len(looked.real.rows), len(looked.fake.rows))
    reals, fakes = choose(len(looked.real.rows), count), choose(len(looked.fake.rows), count)
    found = []
    for space in spaces(looked.real, looked.fake):
        among, _ = statistics.nearest(space.real[reals], space.real[reals], same=True)
        distance, partner = statistics.nearest(space.fake[fakes], space.fake[fakes], same=True)
        scale = statistics.spread(space.fake) / max(statistics.spread(space.real), 1e-12)
        found.append(Found(space, statistics.twins(distance[:, 0], among[:, 0], scale), distance[:, 0], partner[:, 0]))
    worst = most_twins(found)
    if worst.twins.alarming:
        sentence = translate("Of 100 fakes, {fake} repeat another fake all but exactly; of 100 reals, {real} repeat another real.")
        verdict.say("bad", sentence.format(fake=hundred(worst.twins.share), real=hundred(worst.twins.base)))
    pairs = [(int(fakes[a]), int(fakes[b]), a) for a, b in statistics.separate_pairs(worst.partner, worst.distance, PAIRS)]
    how = translate(
        "The pairs of fakes that are nearest to each other, by {space}. Some likeness is natural; the same picture again, in many pairs, is collapse."
    ).format(space=worst.space.name)
    body = twin_table(found) + pair_figures(worst.pairs(pairs), looked.fake, looked.fake, "c0")
    return page.section("repeats", translate("Fakes that repeat each other"), how, f"<div class=pane>{body}</div>")


def copies_block(looked: Looked, verdict: Verdict) -> str:
    """Fakes that are nearer to a training sample than training samples are to each other."""
    found = []
    for space in spaces(looked.training, looked.fake):
        rows = choose(len(space.real), THRESHOLD_ROWS)
        two, number = statistics.nearest(space.real[rows], space.real, 2)  # a sample itself and its nearest other
        among = np.where(number[:, 0] == rows, two[:, 1], two[:, 0])
        distance, partner = statistics.nearest(space.fake, space.real)
        found.append(Found(space, statistics.twins(distance[:, 0], among), distance[:, 0], partner[:, 0]))
    worst = most_twins(found)
    if worst.twins.alarming:
        sentence = translate("Of 100 fakes, {fake} copy a training picture all but exactly; of 100 training pictures, {real} are as near to another.")
        verdict.say("bad", sentence.format(fake=hundred(worst.twins.share), real=hundred(worst.twins.base)))
    nearest = np.argsort(worst.distance, kind="stable")
    _, first = np.unique(worst.partner[nearest], return_index=True)  # each training picture once
    pairs = [(int(each), int(worst.partner[each]), int(each)) for each in nearest[np.sort(first)][:PAIRS]]
    how = translate(
        "The fakes (red line) that are nearest of all to a training picture (blue line), by {space}. The same picture twice is a copy; mere likeness is none."
    ).format(space=worst.space.name)
    body = twin_table(found) + pair_figures(worst.pairs(pairs), looked.fake, looked.training, "c1")
    return page.section("copies", translate("Suspected copies"), how, f"<div class=pane>{body}</div>")


def most_twins(found: list[Found]) -> Found:
    """The space with the most twins, one with an alarm first."""
    return max(found, key=lambda each: (each.twins.alarming, each.twins.share))


def hundred(share: float) -> str:
    """0.126 -> "13", 0.004 -> "0.4"."""
    return f"{100 * share:.0f}" if share >= 0.0095 or share == 0 else f"{100 * share:.1g}"


def twin_table(found: list[Found]) -> str:
    head = [(translate("by"), ""), (translate("fakes with a twin"), "n"), (translate("reals with a twin"), "n"), (translate("nearer than"), "n")]
    rows = []
    for each in found:
        shares = [percent(each.twins.share), percent(each.twins.base)]
        rows.append(("bad" if each.twins.alarming else "", [escape(each.space.name), *shares, f"{each.twins.threshold / each.space.unit:.3g}"]))
    unit = translate("Distances in pixels are root mean square differences of thumbnails, in grey levels of 255.")
    return page.table(head, rows) + page.note(unit) + "<br>"


def pair_figures(pairs: list[tuple[int, int, str]], left: View, right: View, colour: str) -> str:
    """Two pictures, their names and their distance."""
    lefts, rights = left.pictures(each[0] for each in pairs), right.pictures(each[1] for each in pairs)
    figures = ""
    for first, second, distance in pairs:
        names = left.name(first), right.name(second)
        both = page.picture(lefts[first], names[0], "c0") + page.picture(rights[second], names[1], colour)
        figures += f'<figure data-pair="{escape(" ".join(names))}">{both}<figcaption>{escape(" · ".join(names))}<br>{distance}</figcaption></figure>'
    return f"<div class=pairs>{figures}</div>"


# ---- spectra --------------------------------------------------------------------------------------------------------------------------


def spectra_block(looked: Looked) -> str:
    how = translate(
        "Mean power at each spatial frequency, coarse shapes on the left, fine detail on the right: fakes below the reals at the right are blurred, above them "
        "noisy; a peak is a pattern such as a checkerboard."
    )
    real, fake = looked.real.spectrum, looked.fake.spectrum
    if real is None or fake is None:
        body = page.note(translate("Not drawn: the pictures differ in size or are smaller than 4 pixels a side."))
    else:
        body = page.curves(translate("Radial spectrum"), [("c1", *real), ("c0", *fake)], translate("cycles a pixel"), "dB")
    return page.section("spectra", translate("Spectra"), how, body)
