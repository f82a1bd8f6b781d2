"""A real server, real runs and a real browser. Any error on the page's console and any request beyond this machine fails the test that met it.

``make test-browser`` runs all of this folder; ``make test`` the few that are not marked ``browser``. Where no Chromium is found, all are skipped with a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browsing import QUIET, SECONDS, STRANGE, Playground, chromium, outside, playing


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """A folder of runs of every kind, trained for a second each, and of broken ones."""
    import agon

    root = tmp_path_factory.mktemp("browser") / "runs"
    agon.train("dcgan", data="digits", preset="tiny", steps=20, out=root / "digits")
    agon.train("acgan", data="digits", preset="tiny", steps=20, out=root / "classes")
    agon.train("gan", data="toy:ring8", preset="tiny", steps=20, out=root / "ring")
    agon.train("gan", data="digits", preset="tiny", steps=20, out=root / STRANGE)
    agon.train("pix2pix", data="shapes", preset="tiny", steps=4, out=root / "edges", data_options={"size": (32, 32), "input": "edges", "length": 64})
    broken = root / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{ this is no JSON")
    return root


@pytest.fixture(scope="session")
def playground(runs) -> Iterator[Playground]:
    with playing(runs=runs) as found:
        yield found


@pytest.fixture(scope="session")
def browser():
    path = chromium()
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium, or set AGON_CHROMIUM to one, and run make test-browser")
    sync_playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright here: pip install playwright").sync_playwright
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, playground):
    """A function that opens a room in a fresh profile: ``opened("#learn?seed=1", locale="zh-CN", width=390)`` -> page."""
    contexts, faults = [], []

    def open_page(room: str = "#learn", *, width: int = 1280, height: int = 900, locale: str = "en-US", scheme: str = "light", calm: bool = True,
                  script: str = "", **more):  # fmt: skip
        context = browser.new_context(viewport={"width": width, "height": height}, locale=locale, color_scheme=scheme, accept_downloads=True,
                                      reduced_motion="reduce" if calm else "no-preference", **more)  # fmt: skip
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        page.on("console", lambda message: faults.append(f"console: {message.text}") if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda request: faults.append(f"outside: {request.url}") if outside(request.url) else None)
        if script:
            page.add_init_script(script)
        context.add_cookies([{"name": f"agon-{urlsplit(playground.base).port}", "value": playground.token, "url": playground.base}])
        page.goto(playground.base + "/" + room)
        page.wait_for_selector(".room :is(button, a, input)")
        return page

    open_page.faults = faults
    yield open_page
    for context in contexts:
        context.close()
    assert not faults, "\n".join(faults)
