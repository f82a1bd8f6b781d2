"""Take the pictures of the playground for the docs: python scripts/playground_images.py [RUNS]

Trains a few small runs (about three minutes on a CPU; or takes those of the folder RUNS), plays them, and photographs the three rooms in both languages
into docs/images/playground-ROOM-LANGUAGE.png. Needs Playwright and a Chromium, no network and no screen.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "browser")]
from browsing import QUIET, chromium, playing, until  # noqa: E402

IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHTS = 1320, {"learn": 1060, "create": 900, "research": 900}
LEARN = "#learn?s0=non_saturating&s1=r3gan&layers=real,fake,heat,manifold&speed=0"
LOCALES = {"en": "en-US", "zh": "zh-CN"}


def train(root: Path) -> None:
    """Runs to look at."""
    for game, images in (("r3gan", 100_000), ("dcgan", 40_000), ("wgan_gp", 40_000)):
        words = ["train", game, "--data", "digits", "--images", str(images), "--out", str(root / f"{game}-digits")]
        subprocess.run([sys.executable, "-m", "agon", *words], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def learn(page) -> None:
    until(page, "/\\d/.test(document.querySelector('[data-testid=js]')?.textContent ?? '')")
    if not page.evaluate("() => /Pause|暂停/.test(document.querySelector('[data-testid=play]').textContent)"):
        page.get_by_test_id("play").click()
    until(page, "Number(document.querySelector('[data-testid=step-count]').textContent.replaceAll(',', '')) > 500")
    page.get_by_test_id("play").click()
    page.wait_for_timeout(1500)


def create(page) -> None:
    until(page, "Number(document.querySelector('[data-testid=sheet]')?.dataset.painted ?? 0) > 0")
    for cell in (1, 6):
        page.get_by_test_id(f"cell-{cell}").click()
    page.get_by_test_id("lock-10").click()
    page.wait_for_timeout(1200)
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")


def research(page) -> None:
    page.wait_for_selector("[data-testid=new-training]")
    until(page, "document.querySelectorAll('.uplot canvas').length > 2")
    page.wait_for_timeout(1200)


def main() -> None:
    from PIL import Image
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        sys.exit("No browser was found. Expected chromium on the PATH, or $AGON_CHROMIUM.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder)
        if len(sys.argv) == 1:
            train(root)
        with playing(runs=root) as server:
            runs = {each["name"]: each["id"] for each in json.loads(server.ask("/api/create/runs"))["runs"]}
            rooms = {"learn": (LEARN, learn), "create": (f"#create?run={runs['r3gan-digits']}&n=16", create),
                     "research": (f"#research?run={runs['r3gan-digits']}", research)}  # fmt: skip
            browser = driver.chromium.launch(executable_path=path, args=QUIET)
            for language, locale in LOCALES.items():
                for room, (address, prepare) in rooms.items():
                    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHTS[room]}, locale=locale, color_scheme="light")
                    page = context.new_page()
                    page.goto(server.address)
                    page.goto(f"{server.base}/{address}")
                    page.reload()
                    prepare(page)
                    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(IMAGES / f"playground-{room}-{language}.png", optimize=True)
                    context.close()
            browser.close()


if __name__ == "__main__":
    main()
