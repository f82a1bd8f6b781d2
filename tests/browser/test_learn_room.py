"""The Learn room as a learner meets it."""

from __future__ import annotations

import json
import math
import re

import pytest
from browsing import until

DEEP = pytest.mark.browser


def paused(page):
    """The number of steps that the page shows, once it has stopped."""
    until(page, "/Play|播放/.test(document.querySelector('[data-testid=play]').textContent)")
    return int(page.get_by_test_id("step-count").inner_text().replace(",", ""))


def value(page, name):
    return float(page.get_by_test_id(name).inner_text().replace(",", ""))


def wait_step(page, step):
    until(page, f"document.querySelector('[data-testid=step-count]').textContent.replaceAll(',', '') === '{step}'")


def ask_hash(page):
    """The hashes that the server sends on the page's own socket."""
    return page.evaluate("""() => new Promise((resolve, reject) => {
      const socket = window.sockets.at(-1);
      const hear = (event) => {
        if (typeof event.data !== 'string') return;
        const message = JSON.parse(event.data);
        if (message.type !== 'hash') return;
        socket.removeEventListener('message', hear);
        resolve(message);
      };
      socket.addEventListener('message', hear);
      socket.send(JSON.stringify({ do: 'hash' }));
      setTimeout(() => reject(new Error('no hash came')), 10000);
    })""")


RECORD = """window.sockets = []; window.openings = 0; const Plain = window.WebSocket;
window.WebSocket = class extends Plain { constructor(...given) { super(...given); window.sockets.push(this);
  this.addEventListener('message', (event) => { if (typeof event.data === 'string' && event.data.includes('"opened"')) window.openings += 1; }); } };"""


def opening(page, act):
    """Do what begins a new game, and wait until it has begun."""
    before = page.evaluate("() => window.openings")
    act()
    until(page, f"window.openings > {before}")
    wait_step(page, 0)


@pytest.fixture
def learn(opened):
    """``opened`` with the page's sockets at hand (``window.sockets``), so that the test hears what the page hears."""

    def open_learn(room="#learn", **how):
        page = opened(room, script=RECORD, **how)
        page.wait_for_selector("[data-testid=js]")
        until(page, "/\\d/.test(document.querySelector('[data-testid=js]').textContent)")
        return page

    return open_learn


def test_the_game_is_alive_and_a_step_of_d_leaves_g_alone(learn):
    page = learn()
    assert paused(page) == 0  # reduced motion: nothing plays by itself
    before = ask_hash(page)["stages"][0]
    page.get_by_test_id("step-d").click()
    wait_step(page, 1)
    after = ask_hash(page)["stages"][0]
    assert after["generator"] == before["generator"] and after["discriminator"] != before["discriminator"]
    assert "iscriminator alone" in page.get_by_test_id("narrator").inner_text()
    page.get_by_test_id("step-g").click()
    wait_step(page, 2)
    last = ask_hash(page)["stages"][0]
    assert last["generator"] != after["generator"] and last["discriminator"] == after["discriminator"]


def test_it_plays_and_pauses_and_the_address_brings_the_same_moment_back(learn):
    page = learn()
    page.get_by_test_id("play").click()
    until(page, "Number(document.querySelector('[data-testid=step-count]').textContent.replaceAll(',', '')) > 40")
    page.get_by_test_id("play").click()
    step = paused(page)
    page.wait_for_timeout(300)
    step, known = paused(page), ask_hash(page)
    assert known["step"] == step
    page.get_by_test_id("copy-link").click()
    address = page.evaluate("navigator.clipboard.readText()")
    again = learn(address.partition("/#")[2].join(["#", ""]))
    wait_step(again, step)
    assert ask_hash(again)["stages"] == known["stages"]


@DEEP
def test_scrubbing_back_and_forth_gives_the_same_weights(learn):
    page = learn("#learn?course=b60.d5")
    wait_step(page, 65)
    end = ask_hash(page)
    scrub = page.get_by_test_id("scrub")
    scrub.fill("20")
    wait_step(page, 20)
    middle = ask_hash(page)
    scrub.fill("65")
    wait_step(page, 65)
    assert ask_hash(page) == end
    scrub.fill("20")
    wait_step(page, 20)
    assert ask_hash(page) == middle and middle["stages"] != end["stages"]


@DEEP
def test_the_same_seed_plays_the_same_game_and_another_one_another(learn):
    first, second, third = learn("#learn?course=b30"), learn("#learn?course=b30"), learn("#learn?course=b30&seed=1")
    for page in (first, second, third):
        wait_step(page, 30)
    assert ask_hash(first) == ask_hash(second) != ask_hash(third)


@DEEP
def test_stages_begin_with_the_same_weights(learn):
    page = learn("#learn?s0=minimax&s1=wgan_gp&s2=r3gan&s3=hinge")
    assert page.get_by_test_id("stage-3").is_visible()
    begun = ask_hash(page)["stages"]
    assert len({each["generator"] for each in begun}) == 1 and len({each["discriminator"] for each in begun}) == 1
    page.get_by_test_id("step-both").click()
    wait_step(page, 1)
    assert len({each["discriminator"] for each in ask_hash(page)["stages"]}) == 4


@DEEP
def test_the_measures_stand_beside_a_perfect_samplers(learn, playground):
    page = learn()
    floor = float(re.search(r"\(([\d.]+)\)", page.get_by_test_id("js").locator("xpath=../..").inner_text())[1])
    assert 0 < floor < 0.02 < value(page, "js") <= math.log(2)


@DEEP
@pytest.mark.parametrize("objective", ["minimax", "non_saturating", "least_squares", "wasserstein_clip", "wgan_gp", "hinge", "r3gan"])
def test_every_objective_plays_and_shows_its_own_file(learn, playground, objective):
    page = learn()
    if objective != "non_saturating":  # which it begins with
        opening(page, lambda: page.get_by_test_id("objective").select_option(objective))
    page.get_by_test_id("step-both").click()
    wait_step(page, 1)
    page.get_by_test_id("code").click()
    code = json.loads(playground.ask(f"/api/learn/code?objective={objective}"))
    shown = page.get_by_test_id(f"file-agon/games/{code['game']}.py")
    assert "class Config(TwoPlayerConfig):" in shown.inner_text() and code["files"][0]["text"].split('"""')[1].split(",")[0] in shown.inner_text()
    page.keyboard.press("Escape")
    assert not shown.is_visible()


@DEEP
@pytest.mark.parametrize("data", ["ring", "grid", "line", "swissroll", "moons"])
def test_every_data_set_plays(learn, data):
    page = learn(f"#learn?data={data}")
    page.get_by_test_id("step-both").click()
    wait_step(page, 1)
    assert (page.get_by_test_id("modes").count() and page.get_by_test_id("modes").is_visible()) == (data in ("ring", "grid"))


@DEEP
def test_a_csv_file_becomes_data_and_the_address_keeps_it(learn):
    page = learn()
    page.get_by_role("tab", name="Settings").click()
    page.get_by_test_id("data").select_option("csv")
    rows = "x,y\n" + "\n".join(f"{index % 5},{index // 5}" for index in range(25))
    opening(page, lambda: page.get_by_test_id("csv").set_input_files([{"name": "points.csv", "mimeType": "text/csv", "buffer": rows.encode()}]))
    page.get_by_test_id("step-both").click()
    wait_step(page, 1)
    address = page.evaluate("location.hash")
    again = learn(address)
    wait_step(again, 1)
    assert ask_hash(again)["stages"] == ask_hash(page)["stages"]


@DEEP
def test_layers_can_be_switched_and_stay_in_the_address(learn):
    page = learn()
    for name in ("heat", "real", "manifold", "gradients"):
        box = page.get_by_test_id(f"layer-{name}")
        before = box.is_checked()
        box.click()
        assert box.is_checked() != before
    until(page, "location.hash.includes('manifold')")
    again = learn(page.evaluate("location.hash"))
    assert again.get_by_test_id("layer-manifold").is_checked() and not again.get_by_test_id("layer-heat").is_checked()


@DEEP
def test_the_picture_changes_with_the_game(learn):
    page = learn()
    before = page.get_by_test_id("canvas").screenshot()
    for _ in range(3):
        page.get_by_test_id("step-both").click()
    wait_step(page, 3)
    page.wait_for_timeout(200)
    assert page.get_by_test_id("canvas").screenshot() != before


@DEEP
@pytest.mark.parametrize("width", [1280, 1320, 1440, 390])
@pytest.mark.parametrize("stages", [1, 2, 4])
def test_a_picture_has_the_shape_of_its_place(learn, width, stages):
    """A canvas that nobody has sized is 300 x 150: where its place is 300 wide, the width alone tells nothing."""
    page = learn("#learn?" + "&".join(f"s{index}=hinge" for index in range(stages)), width=width)
    until(page, f"document.querySelectorAll('.stage-canvas canvas').length === {stages}")
    page.wait_for_timeout(200)
    shapes = page.evaluate("() => [...document.querySelectorAll('.stage-canvas canvas')].map((c) => [c.width, c.height, c.clientWidth, c.clientHeight])")
    assert all(width == height and abs(across - up) <= 1 for width, height, across, up in shapes), shapes


@DEEP
def test_numbers_that_explode_are_told_and_the_page_lives_on(learn):
    page = learn("#learn?s0=wasserstein_clip;weight_clip:0;optimizer:sgd;generator_lr:0.1;discriminator_lr:0.1&course=b400")
    until(page, "/finite/.test(document.querySelector('[data-testid=narrator]').textContent)")
    page.get_by_test_id("scrub").fill("0")
    wait_step(page, 0)
    assert "finite" not in page.get_by_test_id("narrator").inner_text()


@DEEP
def test_a_lesson_can_be_completed_with_the_keyboard_alone(learn, playground):
    """Tab to the first lesson, open it, do what its tasks ask for with keys, see all ticked."""
    lesson = json.loads(playground.ask("/api/learn/lessons"))[0]
    page = learn()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.testid") == f"lesson-{lesson['id']}":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-testid=lesson-open]")
    from agon.playground.learn.lessons import LESSONS

    for task in LESSONS[0].tasks:
        for who, times in task.do:
            button = {"d": "step-d", "g": "step-g", "b": "step-both"}[who]
            for _ in range(120):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.dataset.testid") == button:
                    break
            step = paused(page)
            for done in range(times):
                page.keyboard.press("Enter")
                if done % 10 == 9:
                    wait_step(page, step + done + 1)
            wait_step(page, step + times)
        page.wait_for_selector(f"[data-testid=task-{task.id}][data-done=true]")
    assert page.get_by_test_id("lesson-after").is_visible()


@DEEP
def test_the_language_changes_everything_on_the_page(learn):
    page = learn()
    page.get_by_test_id("language").select_option("zh")
    until(page, "document.documentElement.lang.startsWith('zh')")
    assert page.get_by_test_id("room-learn").inner_text() == "学习"
    page.wait_for_selector("[data-testid=narrator]:not(:empty)")
    words = page.evaluate("""() => {
      const skip = (node) => node.parentElement.closest('pre, code, kbd, select, .brand, .uplot, [hidden]');
      const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
      while (walk.nextNode()) if (!skip(walk.currentNode) && walk.currentNode.parentElement.checkVisibility()) found.push(walk.currentNode.data.trim());
      return found.filter((text) => /[A-Za-z]{4,}/.test(text) && !/[\\u4e00-\\u9fff]/.test(text));
    }""")
    known = re.compile(r"Agon|R3GAN|WGAN|Wasserstein|JS|GAN Lab|arXiv|https?:|Adam|beta1|non-saturating", re.I)
    assert not [text for text in words if not known.search(text)], words
