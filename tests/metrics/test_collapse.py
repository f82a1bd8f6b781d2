"""The collapse report on samplers whose fault is known, taken apart with the standard library's HTML parser; its statistics against plain computations."""

import html.parser
import re

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image

from agon.data import open_dataset
from agon.metrics.collapse import statistics
from agon.metrics.collapse.report import write_collapse_report
from agon.metrics.collapse.view import look
from agon.metrics.features.digits import shipped
from agon.metrics.samples import Samples
from agon.metrics.sides import ArraySide, PictureFolder, SourceSide

HOSTILE = "<img src=x onerror=alert(1)>"


class Page(html.parser.HTMLParser):
    """Sections in order with their text, the callouts of the verdict, and every element's attributes; everything has to be properly nested."""

    VOID = {"meta", "img", "br"}

    def __init__(self, path):
        super().__init__()
        self.open, self.elements, self.section, self.text, self.callouts = [], [], "", {}, []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes, self.section))
        if tag == "section":
            self.section = attributes["id"]
        if "callout" in attributes.get("class", ""):
            self.callouts.append([attributes["class"].split()[1], ""])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), self.section))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text[self.section] = self.text.get(self.section, "") + " " + data
        if self.callouts and "section" in self.open and self.section == "verdict" and "details" not in self.open:
            self.callouts[-1][1] += data

    @property
    def verdict(self):
        return [tuple(each) for each in self.callouts]

    def pairs(self, section):
        """(left, right) names of the pairs that a section shows."""
        return [tuple(each["data-pair"].split()) for _, each, where in self.elements if where == section and "data-pair" in each]


@pytest.fixture(scope="module")
def halves():
    """(reals, their labels, other digits, their labels), 898 and 899 of the real digits as uint8."""
    source = open_dataset("digits")
    batch = source.read(np.arange(len(source)))
    pictures, label = ((batch.real + 1) * 127.5).round().to(torch.uint8).numpy(), batch.label.numpy()
    order = np.random.default_rng(5).permutation(len(pictures))
    return pictures[order[:898]], label[order[:898]], pictures[order[898:]], label[order[898:]]


@pytest.fixture
def report(tmp_path):
    """(reals, fakes, ...) -> the page, read."""

    def make(real, fake, *, real_label=None, fake_label=None, extractor=None, results=(), tsne=False):
        samples = Samples.of_arrays(real, fake, real_label=real_label, fake_label=fake_label)
        return Page(write_collapse_report(samples, list(results), tmp_path / "report.html", extractor=extractor, tsne=tsne))

    return make


# ---- samplers ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extractor", [shipped, lambda: None], ids=["features", "pixels"])
@pytest.mark.parametrize("labelled", ["both", "reals", "none"])
def test_a_perfect_sampler_raises_no_alarm(report, halves, extractor, labelled):
    real, real_label, fake, fake_label = halves
    labels = {"both": (real_label, fake_label), "reals": (real_label, None), "none": (None, None)}[labelled]
    page = report(real, fake, real_label=labels[0], fake_label=labels[1], extractor=extractor())
    assert [tone for tone, _ in page.verdict] == ["good"], page.verdict


@pytest.mark.parametrize("extractor", [shipped, lambda: None], ids=["features", "pixels"])
@pytest.mark.parametrize("asked", [True, False])
def test_dropped_classes_are_named(report, halves, extractor, asked):
    real, real_label, fake, fake_label = halves
    kept = ~np.isin(fake_label, [3, 5, 8])
    page = report(real, fake[kept], real_label=real_label, fake_label=fake_label[kept] if asked else None, extractor=extractor())
    assert ("bad", "3 of 10 classes are missing among the fakes: 3, 5, 8.") in page.verdict


@pytest.mark.parametrize("extractor", [shipped, lambda: None], ids=["features", "pixels"])
def test_modes_that_are_dropped_are_found_without_labels_and_shown(report, halves, extractor, tmp_path):
    real, real_label, fake, fake_label = halves
    page = report(real, fake[fake_label != 0], extractor=extractor())
    assert any(re.match(r"\d+ of 29 modes of the reals have no or hardly any fakes", said) and tone == "bad" for tone, said in page.verdict), page.verdict
    assert "see the modes below" in page.text["classes"]
    shown = [int(each["alt"][1:]) for tag, each, where in page.elements if where == "modes" and tag == "img"]
    assert len(shown) >= 8 and np.mean(real_label[shown] == 0) > 0.9  # the reals that nobody drew


def test_a_rare_class_is_a_warning(report, halves):
    real, real_label, fake, fake_label = halves
    rare = np.flatnonzero(fake_label == 4)
    kept = np.setdiff1d(np.arange(len(fake)), rare[: int(0.75 * len(rare))])
    page = report(real, fake[kept], real_label=real_label, extractor=shipped())
    assert ("warn", "1 of 10 classes are rare among the fakes: 4.") in page.verdict and not any("missing" in said for _, said in page.verdict)


def test_labels_that_the_generator_ignores(report, halves):
    real, real_label, fake, fake_label = halves
    page = report(real, fake, real_label=real_label, fake_label=np.random.default_rng(0).permutation(fake_label), extractor=shipped())
    assert [tone for tone, _ in page.verdict] == ["bad"]
    found = re.match(r"Only ([\d.]+) % of the fakes are recognised as the class that was asked for; of the reals, ([\d.]+) %", page.verdict[0][1])
    assert float(found[1]) < 16 and float(found[2]) > 95


@pytest.mark.parametrize("extractor", [shipped, lambda: None], ids=["features", "pixels"])
def test_fakes_that_repeat_each_other(report, halves, extractor):
    """Every fifth fake is replaced by its neighbour in the list: 4 in 10 then have a twin, and the pairs are these."""
    real, real_label, fake, _ = halves
    fake = fake.copy()
    fake[0:895:5] = fake[1:896:5]
    page = report(real, fake, real_label=real_label, extractor=extractor())
    assert page.verdict == [("bad", "Of 100 fakes, 40 repeat another fake all but exactly; of 100 reals, 0 repeat another real.")]
    pairs = [tuple(int(name[1:]) for name in pair) for pair in page.pairs("repeats")]
    assert len(pairs) == 12 and all(second == first + 1 and first % 5 == 0 for first, second in pairs)


@pytest.mark.parametrize("extractor", [shipped, lambda: None], ids=["features", "pixels"])
def test_a_memoriser_is_found_with_the_pictures_it_copied(report, halves, extractor):
    real, real_label, fake, _ = halves
    fake = fake.copy()
    copied = np.random.default_rng(1).permutation(len(real))[:100]
    fake[200:300] = np.clip(real[copied] + np.random.default_rng(2).normal(0, 2, real[copied].shape), 0, 255).round()
    page = report(real, fake, real_label=real_label, extractor=extractor())
    assert page.verdict == [("bad", "Of 100 fakes, 11 copy a training picture all but exactly; of 100 training pictures, 0 are as near to another.")]
    pairs = [(int(left[1:]), int(right[1:])) for left, right in page.pairs("copies")]
    assert len(pairs) == 12 and all(200 <= left < 300 and right == copied[left - 200] for left, right in pairs)


def test_copies_are_sought_in_the_whole_training_set(tmp_path):
    """400 reals are compared, and what was copied is none of them: the page names it by its place in the data set."""
    source = open_dataset("digits")
    chosen = np.random.default_rng(0).permutation(len(source))
    real = SourceSide(source, np.sort(chosen[:400]))
    other = np.sort(chosen[400:700])
    fake = ArraySide(((source.read(other).real + 1) * 127.5).round().to(torch.uint8))
    page = Page(write_collapse_report(Samples(real, fake), [], tmp_path / "r.html", extractor=shipped(), tsne=False))
    assert any("100 copy a training picture" in said for _, said in page.verdict)
    assert page.pairs("copies") and all(int(right[1:]) == other[int(left[1:])] for left, right in page.pairs("copies"))


def test_blur_is_no_repetition(report, halves):
    """Blurred pictures are nearer to each other than sharp ones, and yet each is another."""
    from scipy.ndimage import gaussian_filter

    real, _, fake, _ = halves
    for sigma in (0.5, 1.0):
        page = report(real, gaussian_filter(fake.astype(float), (0, 0, sigma, sigma)).round().astype(np.uint8))
        assert not any("repeat" in said or "copy" in said for _, said in page.verdict), page.verdict


def test_far_from_everything_is_said(report, halves):
    real, _, fake, _ = halves
    page = report(real, np.random.default_rng(0).integers(0, 256, fake.shape).astype(np.uint8), extractor=shipped())
    expected = r"Only 0\.\d+ % of the reals have a fake nearby; a perfect sampler would reach 97 %"
    assert any(re.match(expected, said) for _, said in page.verdict), page.verdict


# ---- the page ---------------------------------------------------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_bytes_and_the_page_is_offline(report, halves):
    real, real_label, fake, _ = halves
    first = report(real[:200], fake[:150], real_label=real_label[:200], extractor=shipped(), tsne=True)
    again = report(real[:200].copy(), fake[:150].copy(), real_label=real_label[:200].copy(), extractor=shipped(), tsne=True)
    assert first.source == again.source
    assert "t-SNE" in first.text["clouds"] and "PCA" in first.text["clouds"]
    assert {"script", "link", "iframe", "object"}.isdisjoint(tag for tag, _, _ in first.elements)
    sources = [each["src"] for tag, each, _ in first.elements if tag == "img"]
    assert len(sources) > 100 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?:", first.source) and "default-src 'none'" in first.source
    wanted = ["verdict", "grids", "classes", "modes", "repeats", "copies", "neighbours", "spectra", "clouds"]
    assert [each["id"] for tag, each, _ in first.elements if tag == "section"] == wanted
    assert sum(each.get("class") == "how" for _, each, _ in first.elements) == len(wanted) - 1  # each block says how it is read


def test_nothing_can_be_injected(tmp_path, halves):
    """A class, files and metrics with hostile names, from folders as a user has them."""
    real, real_label, fake, fake_label = halves
    for side, pictures, label in (("real", real, real_label), ("fake", fake, fake_label)):
        for one, name in ((0, HOSTILE), (1, "one")):
            if side == "fake" and one == 0:
                continue
            folder = tmp_path / side / name
            folder.mkdir(parents=True)
            for index in np.flatnonzero(label == one)[:60]:
                Image.fromarray(pictures[index, 0]).save(folder / f"{HOSTILE}{index}.png")
    (tmp_path / "fake" / "two").mkdir()
    Image.fromarray(fake[fake_label == 2][0, 0]).save(tmp_path / "fake" / "two" / "x.png")
    results = [
        {"metric": HOSTILE, "value": 1.0, "standard_error": None, "num_real": 5, "num_fake": 6, "warnings": [HOSTILE], "protocol": {HOSTILE: HOSTILE}},
        {"metric": "fid", "unavailable": HOSTILE},
    ]
    samples = Samples(PictureFolder(tmp_path / "real"), PictureFolder(tmp_path / "fake"))
    page = Page(write_collapse_report(samples, results, tmp_path / "r.html", extractor=shipped()))
    assert not any("onerror" in each or each.get("src") == "x" for _, each, _ in page.elements)
    assert page.source.count("onerror") > 20 and HOSTILE not in page.source
    missing = f"1 of 2 classes are missing among the fakes: {HOSTILE}."  # by name: the folders number them otherwise
    assert missing in [said for _, said in page.verdict], page.verdict


def test_folders_with_damaged_files_and_several_sizes(tmp_path):
    """Pictures of many sizes, one of them cut off: the rest is shown by its own name."""
    random = np.random.default_rng(0)
    for side in ("real", "fake"):
        (tmp_path / side).mkdir()
        for index in range(40):
            size = (24, 40)[index % 2], 30
            Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / side / f"{index:02}.png")
    samples = Samples(PictureFolder(tmp_path / "real"), PictureFolder(tmp_path / "fake"))
    broken = samples.fake.items[7].name
    content = (tmp_path / "fake" / broken).read_bytes()
    (tmp_path / "fake" / broken).write_bytes(content[:300])
    with pytest.warns(UserWarning, match="left out"):
        looked = look(samples, None)
    assert len(looked.fake.rows) == 39 and broken not in [looked.fake.name(index) for index in range(39)]
    shown = looked.fake.pictures([20])[20]
    assert np.array_equal(shown.permute(1, 2, 0).numpy(), np.asarray(Image.open(tmp_path / "fake" / looked.fake.name(20))))
    page = Page(write_collapse_report(samples, [], tmp_path / "r.html", tsne=False))  # which does not say it again
    assert len(samples.fake.left_out) == 1 and broken in samples.fake.left_out[0]
    assert "differ in size" in page.text["spectra"]


def test_the_table_of_numbers(report, halves):
    real, _, fake, _ = halves
    result = {"metric": "kid", "value": 0.12, "standard_error": 0.03, "num_real": 1200, "num_fake": 900, "protocol": {"subsets": 7},
              "reference": {"perfect_sampler": {"value": 0.001, "standard_deviation": 0.002, "how": "halves"}}, "warnings": ["few"]}  # fmt: skip
    page = report(real[:60], fake[:60], results=[result, {"metric": "fid", "unavailable": "Run agon weights."}])
    words = " ".join(page.text["results"].split())
    for expected in ("Kernel distance (KID) 0.12 ± 0.03 0.001 ± 0.002 1,200 / 900 few", "subsets 7", "fid – – – Run agon weights."):
        assert expected in words


def test_points_by_their_modes(tmp_path):
    source = open_dataset("toy:ring8", length=6000)
    points = source.read(np.arange(6000)).real.numpy()
    kept = points[3000:][~np.isin(source.labels[3000:], [2, 5])]
    real = SourceSide(source, np.arange(3000))
    page = Page(write_collapse_report(Samples(real, ArraySide(kept, "points")), [], tmp_path / "r.html"))
    assert page.verdict == [("bad", "2 of 8 modes of the reals have no or hardly any fakes.")]
    page = Page(write_collapse_report(Samples(real, ArraySide(points[3000:], "points")), [], tmp_path / "r.html"))
    assert [tone for tone, _ in page.verdict] == ["good"]
    noise = np.random.default_rng(0).uniform(-1.2, 1.2, (2000, 2)).astype(np.float32)
    page = Page(write_collapse_report(Samples(real, ArraySide(noise, "points")), [], tmp_path / "r.html"))
    assert any(re.match(r"Of 100 fakes, 100 lie outside every mode; of 100 reals, 1", said) for _, said in page.verdict), page.verdict
    curl = open_dataset("toy:swissroll", length=300).read(np.arange(300)).real.numpy()
    three = np.concatenate([curl, curl[:, :1]], 1)
    assert "points" in Page(write_collapse_report(Samples.of_arrays(three, three, kind="points"), [], tmp_path / "r.html")).text


def test_other_kinds_have_the_numbers_alone(tmp_path):
    sides = torch.zeros(30, 9, 2)
    page = Page(write_collapse_report(Samples.of_arrays(sides, sides, kind="series"), [{"metric": "x", "value": 1.0}], tmp_path / "r.html"))
    assert list(page.text)[1:] == ["verdict", "results"] and page.verdict[0][0] == "quiet"


def test_chinese_pages_say_so(report, halves, monkeypatch):
    monkeypatch.setenv("AGON_LANG", "zh_CN")
    page = report(halves[0][:60], halves[2][:60])
    assert [each["lang"] for tag, each, _ in page.elements if tag == "html"] == ["zh-CN"]


# ---- statistics -------------------------------------------------------------------------------------------------------------------------


def test_neighbours_are_those_of_plain_distances(monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK_X", 7)
    monkeypatch.setattr(statistics, "BLOCK_Y", 11)
    random = np.random.default_rng(0)
    x, y = (1000 + random.standard_normal((count, 5)).astype(np.float32) for count in (30, 40))
    y[[12, 33]] = x[3]
    plain = np.linalg.norm(x[:, None].astype(float) - y[None].astype(float), axis=-1)
    distance, index = statistics.nearest(x, y, 6)
    assert np.array_equal(index, np.argsort(plain, axis=1, kind="stable")[:, :6]) and distance[3, 0] == distance[3, 1] == 0
    assert np.allclose(distance, np.sort(plain, axis=1)[:, :6], rtol=1e-12)
    plain = np.linalg.norm(y[:, None].astype(float) - y[None].astype(float), axis=-1)
    np.fill_diagonal(plain, np.inf)
    _, index = statistics.nearest(y, y, 3, same=True)
    assert np.array_equal(index, np.argsort(plain, axis=1, kind="stable")[:, :3])
    radius = np.sort(plain, axis=1)[:, 4]
    far = np.linalg.norm(x[:, None].astype(float) - y[None].astype(float), axis=-1)
    assert np.array_equal(statistics.inside(y, radius, x), (far < radius).any(1))


def test_shares_are_the_two_proportion_test():
    """z squared is the chi square of the 2x2 table without correction."""
    shares = statistics.compare_shares([60, 30, 10, 0], [90, 0, 9, 1])
    for each in range(4):
        square = np.array([[shares.real[each], 100 - shares.real[each]], [shares.fake[each], 100 - shares.fake[each]]])
        assert shares.p[each] == pytest.approx(scipy.stats.chi2_contingency(square, correction=False).pvalue)
    assert shares.missing.tolist() == [False, True, False, False] and not shares.rare.any()
    assert statistics.compare_shares([60, 30, 10, 0], [89, 10, 0, 1]).rare.tolist() == [False, True, False, False]  # 0 of 10 may be chance


def test_modes_of_well_separated_clusters_and_axes():
    random = np.random.default_rng(0)
    home = random.integers(0, 6, 300)
    samples = 50 * np.eye(6)[home] + random.standard_normal((300, 6))
    mode = statistics.assign(samples, statistics.kmeans(samples, 6))
    assert all(len(set(mode[home == each])) == 1 for each in range(6)) and len(set(mode)) == 6
    first, second, shares = statistics.principal(samples[:200], samples[200:])
    values = np.linalg.svd(samples - samples.mean(0), compute_uv=False) ** 2
    assert np.allclose(shares, values / values.sum()) and np.allclose(np.concatenate([first, second]).var(0) * 300, values)


def test_false_alarms_are_as_rare_as_the_page_says():
    """Two samples of one distribution, 300 times: one in a hundred tables may name a bin, and twins are no alarm."""
    random, named, alarms = np.random.default_rng(0), 0, 0
    for _ in range(300):
        share = random.dirichlet(np.full(30, 3.0))
        shares = statistics.compare_shares(random.multinomial(450, share), random.multinomial(900, share))
        named += bool((shares.missing | shares.rare).any())
        left, right = (random.standard_normal((60, 3)).astype(np.float32) for _ in range(2))
        alarms += statistics.twins(*(statistics.nearest(part, part, same=True)[0][:, 0] for part in (left, right))).alarming
    assert named <= 6 and alarms <= 6


def test_an_image_of_the_report_is_the_picture(halves, tmp_path):
    """Class names come from the data's spec, pictures from the right side."""
    real, real_label, fake, _ = halves
    samples = Samples.of_arrays(real, fake, real_label=real_label)
    samples.real.classes = tuple("abcdefghij")
    looked = look(samples, None)
    assert looked.classes == tuple("abcdefghij") and looked.training is looked.real
    for view, pictures in ((looked.real, real), (looked.fake, fake)):
        shown = view.pictures([5, 700, 3])
        assert all(np.array_equal(shown[index].numpy(), np.repeat(pictures[index], 3, 0)) for index in (5, 700, 3))
        assert np.array_equal(view.pixels[7].reshape(3, 8, 8)[0], pictures[7, 0])
