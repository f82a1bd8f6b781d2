"""The shell and the Create and Research rooms as their users meet them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from urllib.parse import parse_qsl

import numpy as np
import pytest
from browsing import STRANGE, playing, until
from PIL import Image

DEEP = pytest.mark.browser


@pytest.fixture(scope="session")
def ids(playground) -> dict[str, str]:
    """Run name -> id."""
    return {run["name"]: run["id"] for run in json.loads(playground.ask("/api/create/runs"))["runs"]}


def painted(page, more: int = 0):
    """Wait until the sheet has been drawn (again)."""
    until(page, f"Number(document.querySelector('[data-testid=sheet]')?.dataset.painted ?? 0) > {more}")
    return int(page.get_by_test_id("sheet").get_attribute("data-painted"))


def colours(page, cell):
    """The pixels that a cell shows."""
    script = """(node) => { const shown = node.querySelector('canvas'), copy = new OffscreenCanvas(shown.width, shown.height);
      const pen = copy.getContext('2d', { willReadFrequently: true }); pen.drawImage(shown, 0, 0);
      return [copy.width, copy.height, [...pen.getImageData(0, 0, copy.width, copy.height).data]]; }"""
    width, height, data = page.get_by_test_id(f"cell-{cell}").evaluate(script)
    return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]


def downloaded(page, button):
    with page.expect_download() as coming:
        page.get_by_test_id(button).click()
    return open(coming.value.path(), "rb").read()


# --- the shell ------------------------------------------------------------------------------------------------------------------------


def test_the_printed_address_opens_the_page_and_hides_its_token(browser, playground):
    context = browser.new_context()
    page = context.new_page()
    answer = page.goto(playground.address)
    assert answer.status == 200 and "token" not in page.url and page.title().endswith("Agon")
    assert page.evaluate("document.cookie") == ""  # no script can read it
    assert context.new_page().goto(playground.base + "/").status == 200
    stranger = browser.new_context().new_page()
    assert stranger.goto(playground.base + "/").status == 401
    context.close()
    stranger.context.close()


@DEEP
def test_other_machines_log_in_with_the_password(browser, runs):
    """--host with an address that is not the usual one of this machine, which is as near as one machine comes."""
    with playing("--host", "127.0.0.2", runs=runs, AGON_PASSWORD="open sesame") as server:
        context = browser.new_context()
        page = context.new_page()
        assert page.goto(server.base + "/").status == 401
        page.locator("input[type=password]").fill("let me in")
        page.locator("button").click()
        page.locator("[role=alert]").wait_for()
        page.locator("input[type=password]").fill("open sesame")
        page.locator("button").click()
        page.wait_for_selector("[data-testid=js]")  # the page, its files, its API and its WebSocket
        until(page, "/\\d/.test(document.querySelector('[data-testid=js]').textContent)")
        context.close()


@DEEP
def test_rooms_are_changed_and_go_back(opened):
    page = opened("#learn")
    page.get_by_test_id("room-create").click()
    page.wait_for_selector("[data-testid=run-picker]")
    page.get_by_test_id("room-research").click()
    page.wait_for_selector("[data-testid=new-training]")
    page.go_back()
    page.wait_for_selector("[data-testid=run-picker]")
    assert page.get_by_test_id("room-create").get_attribute("aria-current") == "page"


@DEEP
@pytest.mark.parametrize(("scheme", "theme"), [("light", "light"), ("dark", "dark")])
def test_the_theme_follows_the_system_until_one_is_chosen(opened, scheme, theme):
    page = opened("#research", scheme=scheme)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    page.get_by_test_id("theme").select_option("contrast")
    assert page.evaluate("document.documentElement.dataset.theme") == "contrast"
    page.reload()
    until(page, "document.documentElement.dataset.theme === 'contrast'")


@DEEP
def test_the_language_is_the_browsers_and_stays_when_it_is_chosen(opened):
    page = opened("#research", locale="zh-CN")
    assert page.get_by_test_id("room-research").inner_text() == "研究"
    page.get_by_test_id("language").select_option("en")
    until(page, "document.querySelector('[data-testid=room-research]').textContent === 'Research'")
    page.reload()
    until(page, "document.querySelector('[data-testid=room-research]')?.textContent === 'Research'")


# --- create ---------------------------------------------------------------------------------------------------------------------------


def test_page_program_and_command_line_give_the_same_file(opened, playground, ids, tmp_path):
    page = opened(f"#create?run={ids['classes']}&seed=7&n=9&class=3")
    painted(page)
    made = downloaded(page, "save-png")
    asked = {"run": ids["classes"], "n": 9, "seed": 7, "label": 3}
    assert made == playground.ask("/api/sample", asked)
    out = tmp_path / "x.png"
    words = ["sample", str(playground.runs / "classes"), "-n", "9", "--seed", "7", "--class", "3", "--out", str(out)]
    subprocess.run([sys.executable, "-m", "agon", *words], check=True, timeout=120)
    assert made == out.read_bytes()


@DEEP
def test_a_cell_shows_the_sample_of_its_seed(opened, playground, ids):
    import agon

    page = opened(f"#create?run={ids['digits']}&seed=5&n=4")
    painted(page)
    seed = (5 * 1_000_003 + 2 * 7919) % 2**31
    expected = (agon.load(playground.runs / "digits").sample(1, seed=seed)[0, 0].numpy() + 1) * 127.5
    assert np.abs(colours(page, 2)[..., 0] - expected).max() < 1


@DEEP
def test_a_locked_cell_stays_when_the_others_are_rolled(opened, ids):
    page = opened(f"#create?run={ids['digits']}&n=4")
    at = painted(page)
    kept, others = colours(page, 1), colours(page, 2)
    page.get_by_test_id("cell-1").focus()
    page.keyboard.press("l")
    page.keyboard.press("r")
    painted(page, at)
    assert (colours(page, 1) == kept).all() and (colours(page, 2) != others).any()
    assert page.get_by_test_id("lock-1").get_attribute("aria-pressed") == "true"


@DEEP
def test_a_saved_sheet_brings_its_state_back(opened, ids, tmp_path):
    page = opened(f"#create?run={ids['classes']}&seed=11&n=9&class=4")
    painted(page)
    page.get_by_test_id("cell-0").click()
    page.get_by_test_id("cell-3").click()
    until(page, "/chosen=\\d+:4,\\d+:4/.test(location.hash)")  # the address follows a moment later
    before, shown = page.evaluate("location.hash"), colours(page, 3)
    sheet = downloaded(page, "save-sheet")
    assert Image.open(io.BytesIO(sheet)).size[0] >= 24
    again = opened(f"#create?run={ids['digits']}")
    at = painted(again)
    again.evaluate(
        """(bytes) => { const data = new DataTransfer(); data.items.add(new File([new Uint8Array(bytes)], 'sheet.png', { type: 'image/png' }));
        document.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })); }""",
        list(sheet),
    )
    until(again, "document.querySelector('[data-testid=restore-note]')?.textContent.includes('sheet.png')")
    until(again, f"location.hash.includes('{ids['classes']}')")
    painted(again, 0 * at)
    same = "JSON.stringify([...new URLSearchParams(location.hash.split('?')[1])].sort())"
    expected = sorted(map(list, parse_qsl(before.partition("?")[2])))
    until(again, f"document.querySelectorAll('[data-testid^=cell-]').length === 9 && {same} === {json.dumps(json.dumps(expected, separators=(',', ':')))}")
    painted(again)
    assert (colours(again, 3) == shown).all()


@DEEP
def test_a_walk_becomes_a_film(opened, ids):
    page = opened(f"#create?run={ids['digits']}&n=4&frames=12")
    painted(page)
    page.get_by_test_id("cell-0").click()
    page.get_by_test_id("cell-2").click()
    page.get_by_test_id("walk-make").click()
    page.get_by_test_id("walk-result").locator("img").wait_for()
    film = downloaded(page, "save-film")
    assert film[:4] == b"GIF8" and Image.open(io.BytesIO(film)).n_frames > 1


@DEEP
def test_a_picture_is_translated_beside_itself(opened, playground, ids, tmp_path):
    page = opened(f"#create?run={ids['edges']}")
    page.get_by_test_id("derive").check(force=True)
    picture = tmp_path / "in.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(picture)
    page.get_by_test_id("file").set_input_files(picture)
    until(page, "document.querySelector('[data-testid=after]').naturalWidth === 32")
    made = downloaded(page, "save-picture")
    asked = playground.ask(f"/api/translate?run={ids['edges']}&derive=1", picture.read_bytes())
    assert (np.asarray(Image.open(io.BytesIO(made))) == np.asarray(Image.open(io.BytesIO(asked)))).all()
    assert json.loads(playground.ask("/api/create/restore", made))["run"] == ids["edges"]
    page.get_by_test_id("file").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no picture at all"})
    until(page, "!document.querySelector('[data-testid=translate-problem]').hidden")
    assert "not a picture" in page.get_by_test_id("translate-problem").inner_text()
    opened.faults.remove("console: Failed to load resource: the server responded with a status of 400 (Bad Request)")  # which the browser says of any refusal


@DEEP
def test_points_are_shown_as_scatter_plots(opened, ids):
    page = opened(f"#create?run={ids['ring']}&n=4")
    painted(page)
    assert colours(page, 0).shape == (256, 256, 3)
    assert downloaded(page, "save-csv").startswith(b"x0,x1\n")


@DEEP
def test_a_broken_run_is_named_and_the_others_work(opened, ids):
    page = opened("#create")
    assert page.get_by_test_id("run-picker").locator(f"option[value='{ids['broken']}']").is_disabled()
    assert "broken" in page.locator(".create-side").inner_text()


# --- research -------------------------------------------------------------------------------------------------------------------------


def test_a_run_whose_name_is_markup_is_shown_as_text(opened, ids):
    for room in ("#research", f"#create?run={ids[STRANGE]}"):
        page = opened(room)
        until(page, f"document.body.textContent.includes({json.dumps(STRANGE)})")
        assert page.evaluate("window.hurt") is None and page.locator("main img[src='x']").count() == 0


@DEEP
def test_a_killed_run_is_shown_as_stale(opened, playground, ids):
    """The oracle is the process: it lives, then it does not."""
    out = playground.runs / "killed"
    words = ["train", "gan", "--data", "toy:ring8", "--preset", "tiny", "--steps", "2000000", "--log_every", "50", "--out", str(out)]
    with subprocess.Popen([sys.executable, "-m", "agon", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            page = opened("#research")
            until(page, "/killed[\\s\\S]*training/.test(document.querySelector('main').innerText)")
            run = {each["name"]: each["id"] for each in json.loads(playground.ask("/api/create/runs"))["runs"]}["killed"]
            state = page.get_by_test_id(f"state-{run}").first
            assert "training" in state.inner_text()
            child.send_signal(signal.SIGKILL)
            child.wait()
            killed = time.monotonic()
            until(page, f"document.querySelector('[data-testid=\"state-{run}\"]').textContent.includes('stale')")
            assert time.monotonic() - killed < 5  # the promise to users, not a speed
        finally:
            child.kill()


@DEEP
def test_a_training_is_started_watched_and_stopped_from_the_page(opened, playground):
    page = opened("#research")
    page.get_by_test_id("new-training").click()
    page.get_by_test_id("form-game").select_option("gan")
    page.get_by_test_id("form-data").select_option("toy:ring8")
    until(page, "document.querySelector('[data-testid=form-preset] option[value=tiny]')")
    page.get_by_test_id("form-preset").select_option("tiny")
    page.get_by_test_id("form-name").fill("from the page")
    page.get_by_test_id("form-steps").fill("2000000")
    page.get_by_test_id("start").click()
    stop = page.locator("[data-testid^=stop-]").first
    stop.wait_for()
    run = stop.get_attribute("data-testid").removeprefix("stop-")
    folder = playground.runs / "from-the-page"
    try:
        until(page, f"/[1-9][\\d.]*[kM]? images/.test(document.querySelector('[data-testid=\"run-{run}\"]').innerText)")
        stop.click()
        until(page, f"document.querySelector('[data-testid=\"state-{run}\"]').textContent.includes('stopped')")
    finally:  # a training outlives its server
        if "stopped" not in page.get_by_test_id(f"state-{run}").first.inner_text():
            playground.ask(f"/api/research/runs/{run}/stop", {}, "POST")
    config = json.loads((folder / "config.json").read_text())
    assert config["game"] == "gan" and config["preset"] == "tiny" and list((folder / "checkpoints").iterdir())


@DEEP
def test_a_value_that_does_not_fit_is_told_beside_its_field(opened):
    page = opened("#research")
    page.get_by_test_id("new-training").click()
    page.get_by_test_id("form-game").select_option("gan")
    until(page, "document.querySelector('[data-testid=\"form-batch_size\"]')")
    page.get_by_test_id("form-search").fill("batch_size")
    page.get_by_test_id("form-batch_size").fill("-3")
    page.get_by_test_id("start").click()
    until(page, "/batch_size/.test(document.querySelector('[data-testid=training-form]').innerText) && /out of range/.test(document.body.innerText)")


@DEEP
def test_runs_are_overlaid_and_their_settings_compared(opened, ids):
    page = opened("#research")
    for name in ("digits", "classes"):
        page.get_by_test_id(f"overlay-{ids[name]}").check(force=True)
    until(page, "location.hash.includes('view=compare') && document.querySelector('.compare-legend')")
    page.get_by_role("tab", name="Settings").click()
    until(page, "['acgan', 'dcgan'].every((name) => document.querySelector('[data-testid=\"config-diff\"]')?.innerText.includes(name))")


@DEEP
def test_sample_grids_have_a_slider_through_time(opened, playground, ids):
    page = opened(f"#research?run={ids['digits']}")
    page.get_by_role("tab", name="Samples").click()
    slider = page.get_by_test_id("grid-slider")
    slider.wait_for()
    count = len(list((playground.runs / "digits" / "samples").glob("*.png")))
    assert int(slider.get_attribute("max")) == count - 1
    slider.fill("0")
    until(page, "[...document.querySelectorAll('main img')].some((image) => /samples\\/0\\.png/.test(image.src) && image.naturalWidth > 0)")


# --- everybody can use it -------------------------------------------------------------------------------------------------------------


def axe_source() -> str:
    import axe_playwright_python

    return (os.path.dirname(axe_playwright_python.__file__) + "/axe.min.js",)[0]


@DEEP
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark", "contrast"])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("room", ["learn", "create", "research"])
def test_there_is_no_serious_accessibility_fault(opened, room, locale, theme, width):
    pytest.importorskip("axe_playwright_python", reason="no axe here: pip install axe-playwright-python")
    page = opened(f"#{room}", width=width, locale=locale)
    page.get_by_test_id("theme").select_option(theme)
    page.wait_for_selector({"learn": "[data-testid=js]", "create": "[data-testid=run-picker]", "research": "[data-testid=new-training]"}[room])
    page.wait_for_timeout(400)
    with open(axe_source(), encoding="utf-8") as file:
        page.evaluate(file.read() + "; 0")
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert not serious, json.dumps([{v["id"]: [n["html"][:160] for n in v["nodes"][:3]]} for v in serious], indent=1, ensure_ascii=False)


@DEEP
@pytest.mark.parametrize("room", ["learn", "create", "research"])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_narrow_screen_scrolls_one_way_only(opened, room, locale):
    page = opened(f"#{room}", width=390, height=844, locale=locale)
    page.wait_for_timeout(600)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
