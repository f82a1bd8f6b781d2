"""agon.report: the page is taken apart with the standard library's HTML parser, its numbers compared with what went
in.
"""

import base64
import html.parser
import io
import json
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

from agon import media, report
from agon.train.logger import Logger


class Page(html.parser.HTMLParser):
    """Elements in order, checked to be properly nested; text by element name."""

    VOID = {"meta", "img", "input", "link", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    def text(self):
        return " ".join(data for tag, data in self.texts if tag not in ("style", "script"))


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("AGON_LANG", "en")


CONFIG = {
    "game": "r3gan",
    "preset": "tiny",
    "seed": 3,
    "data": {"name": "digits", "fingerprint": "ab" * 32, "options": {}},
    "fields": {"images": 1000, "optimizer": {"lr": 0.001}},
    "versions": {"agon": "0.1.0", "torch": "2.13.0"},
    "command": "agon train r3gan --data digits --seed 3",
}


def make_run(folder, *, records=40, config=CONFIG, nasty="", frames=3):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    with Logger(folder, console=False) as logger:
        logger.event("started", device="cpu")
        for index in range(records):
            stats = {"discriminator/accuracy": 0.7, "diversity": 0.9, "discriminator/real_logit": 1.0 + index}
            terms = {
                f"discriminator/adversarial{nasty}": 1.0 / (index + 1),
                "generator/adversarial": math.nan if index == 5 else 2.0,
            }
            logger.log(
                {
                    "step": index + 1,
                    "num_images": 64 * (index + 1),
                    "stage": "train",
                    "terms": terms,
                    "stats": stats,
                    "images_per_second": 500.0,
                    "seconds": 0.1 * (index + 1),
                    "memory_mb": 300.0,
                }
            )
        logger.event(f"note{nasty}", num_images=64 * records, note=nasty)
        logger.event("finished", num_images=64 * records)
    for index in range(frames):
        media.save_image(torch.full((1, 8, 8), -1 + index / frames), folder / "samples" / f"{64 * index:012d}.png")
    return folder


def charts(page):
    return {
        json.loads(each["data-chart"])["series"][0]["name"]: json.loads(each["data-chart"])
        for each in page.all("figure")
        if "data-chart" in each
    }


def test_the_page_is_well_formed_and_says_what_the_run_was(tmp_path):
    path = report.write_report(make_run(tmp_path / "run"))
    page = Page(path.read_text(encoding="utf-8"))
    text = page.text()
    assert path == tmp_path / "run" / "report.html"
    for wanted in (
        "r3gan",
        "digits · preset tiny",
        "2,560",
        "0:04",
        "500",
        "300 MB",
        "finished",
        "agon train r3gan --data digits --seed 3",
        "optimizer.lr",
        "0.001",
        "2.13.0",
        "Balanced: the discriminator ranks 70 % of pairs rightly.",
    ):
        assert wanted in text, wanted


def test_nothing_is_asked_of_the_outside(tmp_path):
    text = report.write_report(make_run(tmp_path)).read_text(encoding="utf-8")
    page = Page(text)
    addresses = [
        value
        for _, attrs in page.elements
        for name, value in attrs.items()
        if name in ("src", "href", "srcset", "action", "data")
    ]
    assert addresses and all(value.startswith("data:image/png;base64,") for value in addresses)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|https?://(?!www\.w3\.org/2000/svg)", text)
    (policy,) = [attrs["content"] for attrs in page.all("meta") if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:")


def test_pictures_are_the_grids_in_order_the_last_one_shown(tmp_path):
    page = Page(report.write_report(make_run(tmp_path)).read_text(encoding="utf-8"))
    grids = [base64.b64decode(each["src"].split(",")[1]) for each in page.all("img")]
    files = [path.read_bytes() for path in sorted((tmp_path / "samples").glob("*.png"))]
    assert grids == [files[-1], *files]
    assert (
        np.asarray(Image.open(io.BytesIO(grids[0]))).mean()
        == media.to_uint8(torch.full((1, 1, 1, 1), -1 + 2 / 3)).item()
    )
    assert [each["data-label"] for each in page.all("button") if "data-label" in each] == ["0", "64", "128"]


def test_long_films_are_thinned_with_first_and_last_kept(tmp_path):
    page = Page(report.write_report(make_run(tmp_path, frames=100)).read_text(encoding="utf-8"))
    labels = [each["data-label"].replace(",", "") for each in page.all("button") if "data-label" in each]
    assert len(labels) == report.MAX_FRAMES and labels[0] == "0" and labels[-1] == str(64 * 99)
    assert f"{report.MAX_FRAMES} of 100 grids" in page.text()


@pytest.mark.parametrize(
    "nasty",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onload='x", "&lt;b&gt;", "</script>", "生成器"],
)
def test_whatever_the_files_hold_stays_text(tmp_path, nasty):
    config = {
        **CONFIG,
        "game": nasty,
        "preset": nasty,
        "data": {"name": nasty},
        "fields": {nasty: nasty},
        "versions": {nasty: nasty},
        "command": nasty,
    }
    folder = make_run(tmp_path, config=config, nasty=nasty)
    results = [
        {
            "metric": nasty,
            "value": 1.0,
            "num_real": 1,
            "num_fake": 1,
            "protocol": {nasty: nasty},
            "reference": {nasty: nasty},
            "warnings": [nasty],
        }
    ]
    (folder / "metrics.json").write_text(json.dumps({"results": results}))
    (folder / "samples" / f"{nasty.replace('/', '')}.png").write_bytes(
        (folder / "samples" / f"{0:012d}.png").read_bytes()
    )
    plain = Page(report.write_report(make_run(tmp_path / "plain")).read_text(encoding="utf-8"))
    page = Page(report.write_report(folder).read_text(encoding="utf-8"))
    assert len(page.all("script")) == len(plain.all("script")) == 1
    allowed = {name for _, attrs in plain.elements for name in attrs}
    assert {name for _, attrs in page.elements for name in attrs} <= allowed
    assert page.text().count(nasty) >= 8


def test_curves_hold_the_logged_numbers_and_break_where_there_is_none(tmp_path):
    page = Page(report.write_report(make_run(tmp_path)).read_text(encoding="utf-8"))
    found = charts(page)
    loss = found["discriminator/adversarial"]
    assert loss["x"] == [64 * (index + 1) for index in range(40)]
    assert [float(value) for value in loss["series"][0]["y"]] == pytest.approx(
        [1 / (index + 1) for index in range(40)], rel=1e-3
    )
    heights = loss["series"][0]["py"]
    assert heights == sorted(heights)  # falling values go down the page
    # A logarithmic axis, since 1 to 1/40 spans more than 30: equal ratios are equal distances.
    assert heights[1] - heights[0] == pytest.approx(heights[3] - heights[1], abs=0.2)
    generator = found["generator/adversarial"]["series"][0]
    assert generator["y"][5] == "–" and generator["py"][5] is None and generator["y"][4] == "2"
    assert "discriminator/real_logit" in found and "diversity" in found and "images_per_second" in found


def test_many_records_are_binned_by_their_mean(tmp_path):
    page = Page(report.write_report(make_run(tmp_path, records=1000)).read_text(encoding="utf-8"))
    logits = charts(page)["discriminator/real_logit"]
    # one record in a bin that is not finite does not hide the others
    assert set(charts(page)["generator/adversarial"]["series"][0]["y"]) == {"2"}
    assert len(logits["x"]) <= report.BINS
    size = -(-1000 // report.BINS)
    assert float(logits["series"][0]["y"][0]) == pytest.approx(
        np.mean([1.0 + index for index in range(size)]), rel=1e-3
    )


def test_after_a_rollback_the_later_records_count(tmp_path):
    folder = make_run(tmp_path, records=10)
    with Logger(folder, console=False) as logger:
        logger.log(
            {
                "step": 6,
                "num_images": 64 * 6,
                "stage": "train",
                "terms": {"discriminator/adversarial": 9.0},
                "stats": {},
            }
        )
    loss = charts(Page(report.write_report(folder).read_text(encoding="utf-8")))["discriminator/adversarial"]
    assert loss["x"] == [64, 128, 192, 256, 320, 384] and loss["series"][0]["y"][-1] == "9"


def test_metrics_show_value_error_reference_and_protocol(tmp_path):
    folder = make_run(tmp_path)
    base = {"num_real": 1797, "num_fake": 1000, "protocol": {"split": "all real"}, "num_images": 2560}
    results = [
        {**base, "metric": "frechet", "value": 9.9, "standard_error": 0.5, "num_images": 64},
        {
            **base,
            "metric": "frechet",
            "value": 1.0423,
            "standard_error": 0.031,
            "reference": {"perfect_sampler": {"value": 0.88, "standard_deviation": 0.04, "how": "two halves"}},
        },
        {**base, "metric": "new_number", "value": "NaN", "standard_error": None, "reference": {"memoriser": 1.0}},
    ]
    (folder / "metrics.json").write_text(json.dumps({"results": results}))
    page = Page(report.write_report(folder).read_text(encoding="utf-8"))
    text = page.text()
    values = [data.strip() for tag, data in page.texts if tag == "p" and data.strip() in ("1.042", "nan", "9.9")]
    assert values == ["1.042", "nan"]  # one card a metric, the latest
    for wanted in (
        "Fréchet distance",
        "± 0.031",
        "perfect sampler: 0.88 ± 0.04",
        "two halves",
        "new number",
        "memoriser: 1",
        "1,000 samples against 1,797 real",
        "protocol.split",
        "Earlier measurements (1)",
        "9.9",
    ):
        assert wanted in text, wanted


@pytest.mark.parametrize("left", ["", "config.json", "log.jsonl", "events.jsonl", "metrics.json"])
def test_a_run_with_nothing_yet_or_damaged_files_still_has_a_page(tmp_path, left):
    if left:
        (tmp_path / left).write_text('{"torn": ')
    page = Page(report.write_report(tmp_path).read_text(encoding="utf-8"))
    assert tmp_path.name in page.text() and "nothing yet" in page.text()


def test_an_alarm_is_shown_with_its_advice_and_history(tmp_path):
    folder = make_run(tmp_path, records=0)
    with Logger(folder, console=False) as logger:
        for index in range(60):
            stats = {"discriminator/accuracy": 0.7, "diversity": 0.95 if index < 30 else 0.1}
            logger.log({"step": index, "num_images": 100 * (index + 1), "terms": {}, "stats": stats})
    page = Page(report.write_report(folder).read_text(encoding="utf-8"))
    assert (
        "samples are only 10 % as diverse as the data" in page.text()
        and "Go back to an earlier checkpoint" in page.text()
    )
    strip = [attrs["title"] for attrs in page.all("i")]
    assert [title.split(":")[0] for title in strip] == [
        "warming up",
        "balanced",
        "diversity falling",
        "collapse suspected",
    ] or [title.split(":")[0] for title in strip] == ["warming up", "balanced", "collapse suspected"]


def test_the_page_is_chinese_where_the_user_is(tmp_path, monkeypatch):
    monkeypatch.setenv("AGON_LANG", "zh_CN")
    text = report.write_report(make_run(tmp_path)).read_text(encoding="utf-8")
    page = Page(text)
    assert page.all("html") == [{"lang": "zh-CN"}]
    headings = [data for tag, data in page.texts if tag == "h2"]
    assert headings and all(re.search("[\u4e00-\u9fff]", heading) for heading in headings)


def test_a_run_from_python_gets_a_call_that_reproduces_it():
    config = {key: value for key, value in CONFIG.items() if key != "command"}
    line = report.command({**config, "data": {"name": "my 'pictures'", "options": {"size": 64}}})
    seen = {}

    class Agon:
        @staticmethod
        def train(game, data, **given):
            seen.update(game=game, data=data, **given)

    eval(line, {"agon": Agon})
    assert seen == {
        "game": "r3gan",
        "data": "my 'pictures'",
        "preset": "tiny",
        "data_options": {"size": 64},
        "images": 1000,
        "optimizer.lr": 0.001,
    }
    assert report.command({"command": ["agon", "train", "x y"]}) == "agon train 'x y'" and report.command({}) == ""


def test_the_style_sheet_is_whole():
    flat = re.sub(r"@media[^{]*\{((?:[^{}]*\{[^{}]*\})*)\s*\}", r"\1", report._CSS)
    rules = re.findall(r"([^{}]*)\{([^{}]*)\}", flat)
    assert not re.sub(r"[^{}]*\{[^{}]*\}", "", flat).strip()  # nothing outside a rule, no brace without its partner
    for selector, body in rules:
        assert selector.strip() and ";" not in selector
        assert all(re.fullmatch(r"\s*[\w-]+:[^:]+", part) for part in body.split(";") if part.strip()), body
    defined = [set(re.findall(r"--\w+(?=:)", body)) for selector, body in rules if selector.strip() == ":root"]
    assert len(defined) == 2 and defined[0] == defined[1] == set(re.findall(r"var\((--\w+)\)", report._CSS))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 17), (0.0021, 0.0034), (0, 1.28e6), (-1e-7, 1e-7), (99.5, 101)])
def test_ticks_are_round_evenly_spaced_and_inside(low, high):
    found = report.ticks(low, high)
    steps = np.diff(found)
    assert 2 <= len(found) <= 11 and low - 1e-12 <= found[0] and found[-1] <= high * (1 + 1e-9) + 1e-12
    assert np.allclose(steps, steps[0])
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - each) for each in (1, 2, 5, 10)) < 1e-6


def test_axes_are_linear_or_logarithmic_and_stop_at_the_edge():
    linear, log = report.Axis(0, 10, 100, 0), report.Axis(0.01, 100, 0, 400, log=True)
    assert [linear(v) for v in (0, 2.5, 10, 99, -5)] == [100, 75, 0, 0, 100]
    assert [log(v) for v in (0.01, 1, 10, 0, 1e9)] == pytest.approx([0, 200, 300, 0, 400])
