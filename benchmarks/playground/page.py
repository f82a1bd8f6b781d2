"""How fast the playground's pages are, in a real Chromium: python benchmarks/playground/page.py [--rounds 5] [--cases cold,feedback] [--out FILE]

cold: a fresh profile opens the printed address; ms until the first real measure of the first game stands on the page. feedback: the longest time from an input
(click, key, slider) to the next paint, by the browser's own event timing (which counts from 16 ms up), over a tour of the Learn room while the game plays.
live: steps and frames a second of one game and of four, hidden width 32, all layers on, as fast as it goes. slider: ms from moving a control
to the new pictures on the page, 64x64 DCGAN, the server's samples included; p95. log: a run with 100,000 points: ms of the server's answer and of
drawing the page's charts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "speed"), str(HERE.parents[1] / "tests" / "browser"), str(HERE.parents[1])]
from browsing import QUIET, chromium, playing, until  # noqa: E402
from compare import machine  # noqa: E402

BARS = {"cold": 1500, "feedback": 100, "live": {"steps": 100, "frames": 20}, "slider": 150, "log": 100}
EVENTS = """() => { window.longest = []; new PerformanceObserver((list) => { for (const e of list.getEntries())
  window.longest.push([e.name, e.duration, e.processingStart - e.startTime]); }).observe({ type: 'event', durationThreshold: 16, buffered: true }); }"""
FRAMES = """window.sockets = []; window.frames_seen = []; const Plain = window.WebSocket;
window.WebSocket = class extends Plain { constructor(...given) { super(...given); window.sockets.push(this);
  this.addEventListener('message', (event) => { if (typeof event.data !== 'string') { const view = new DataView(event.data);
    const text = new TextDecoder().decode(new Uint8Array(event.data, 4, view.getUint32(0, true)));
    window.frames_seen.push([performance.now(), JSON.parse(text).step]); } }); } };"""


def prepare(root: Path) -> None:
    """A 64x64 generator, trained for a moment, and a run whose log has 100,000 points."""
    import agon

    agon.train("dcgan", data="shapes", preset="image", steps=1, out=root / "dcgan64", data_options={"size": (64, 64), "length": 512}, batch_size=8)
    agon.train("gan", data="toy:ring8", preset="tiny", steps=1, out=root / "long")
    line = json.loads((root / "long" / "config.json").read_text())
    assert line
    record = {"step": 0, "num_images": 0, "stage": "train", "terms": {"discriminator/adversarial": 1.4, "generator/adversarial": 0.7}, "stats": {},
              "seconds": 0.0, "cpu_seconds": 0.0, "images_per_second": 1000.0, "memory_mb": 300.0}  # fmt: skip
    with open(root / "long" / "log.jsonl", "w") as file:
        for step in range(1, 100_001):
            wave = (step * 2654435761 % 1000) / 1000
            record |= {"step": step, "num_images": step * 8, "terms": {"discriminator/adversarial": 1 + wave, "generator/adversarial": 1 - wave / 2}}
            file.write(json.dumps(record) + "\n")


def cold(browser, server, rounds: int) -> dict:
    found = []
    for _ in range(rounds):
        with profile(browser) as page:
            begun = time.perf_counter()
            page.goto(server.address)
            until(page, "/\\d/.test(document.querySelector('[data-testid=js]')?.textContent ?? '')")
            found.append(1000 * (time.perf_counter() - begun))
    return spread(found, "ms")


def feedback(browser, server, rounds: int) -> dict:
    found, slow = [], []
    for _ in range(rounds):
        with profile(browser) as page:
            page.goto(server.address)
            until(page, "/\\d/.test(document.querySelector('[data-testid=js]')?.textContent ?? '')")
            page.evaluate(EVENTS)
            tour(page)
            page.wait_for_timeout(500)
            seen = page.evaluate("() => window.longest")
            found.append(max((entry[1] for entry in seen), default=16))
            slow += [entry for entry in seen if entry[1] >= 100]
    return spread(found, "ms, the slowest input of a tour") | {"slow": slow[:10]}


def tour(page) -> None:
    """Everything that a learner touches in the first minutes."""
    for name in ("play", "layer-manifold", "layer-gradients", "layer-heat", "layer-heat", "step-d", "step-g", "step-both", "play"):
        page.get_by_test_id(name).click()
        page.wait_for_timeout(150)
    for _ in range(10):
        page.get_by_test_id("speed").press("ArrowRight")
    page.get_by_test_id("play").click()
    for key in ("ArrowLeft", "ArrowLeft", "PageDown", "Home", "End"):
        page.get_by_test_id("scrub").press(key)
        page.wait_for_timeout(100)
    page.get_by_role("tab", name="Settings").click()
    page.get_by_test_id("objective").first.select_option("wgan_gp")
    page.get_by_test_id("add-stage").click()
    page.wait_for_timeout(400)
    page.get_by_test_id("play").click()
    page.wait_for_timeout(800)
    for name in ("layer-manifold", "play"):
        page.get_by_test_id(name).click()
    page.get_by_test_id("theme").select_option("dark")
    page.get_by_test_id("language").select_option("zh")
    page.wait_for_timeout(500)


def live(browser, server, rounds: int) -> dict:
    result = {}
    for name, stages in (("one", "s0=non_saturating"), ("one_wgan_gp", "s0=wgan_gp"), ("four", "s0=non_saturating&s1=minimax&s2=wgan_gp&s3=r3gan")):
        paces = []
        for _ in range(rounds):
            with profile(browser, FRAMES) as page:
                page.goto(server.address)
                page.goto(f"{server.base}/#learn?{stages}&speed=0&layers=real,fake,heat,manifold,gradients")
                page.reload()
                until(page, "window.frames_seen.length > 0")
                if page.get_by_test_id("play").inner_text().strip() == "Play":
                    page.get_by_test_id("play").click()
                page.wait_for_timeout(2000)
                first = page.evaluate("() => window.frames_seen.at(-1).concat([window.frames_seen.length])")
                page.wait_for_timeout(5000)
                last = page.evaluate("() => window.frames_seen.at(-1).concat([window.frames_seen.length])")
                seconds = (last[0] - first[0]) / 1000
                paces.append(((last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds))
        result[name] = {"steps": spread([steps for steps, _ in paces], "a second"), "frames": spread([frames for _, frames in paces], "a second")}
    return result


def slider(browser, server, rounds: int) -> dict:
    """A drag: the seed of a 64x64 generator is changed by its arrow keys; from the key to the first painted sheet that shows it."""
    import urllib.request

    with urllib.request.urlopen(urllib.request.Request(server.base + "/api/create/runs", headers={"X-Agon-Token": server.token})) as answer:
        run = next(each["id"] for each in json.load(answer)["runs"] if each["name"] == "dcgan64")
    result = {}
    for count in (4, 16):
        times = []
        for _ in range(rounds):
            with profile(browser) as page:
                page.goto(server.address)
                page.goto(f"{server.base}/#create?run={run}&n={count}")
                until(page, "Number(document.querySelector('[data-testid=sheet]')?.dataset.painted ?? 0) > 0")
                times += page.evaluate(DRAG)
        ordered = sorted(times)
        result[f"{count}_cells"] = spread(times, "ms") | {"p95": round(ordered[int(0.95 * len(ordered))], 1), "moves": len(ordered)}
    return result


def log(browser, server, rounds: int) -> dict:
    """A run with 100,000 points: the answer with its curves, and drawing one chart of them (uPlot, in the page)."""
    import urllib.request

    def ask(path: str) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(server.base + path, headers={"X-Agon-Token": server.token})) as answer:
            return answer.read()

    runs = json.loads(ask("/api/research/runs"))["runs"]
    name = next(each["id"] for each in runs if each["name"] == "long")
    for _ in range(200):  # the server reads a long log in parts, between which it answers
        if not next(each for each in json.loads(ask("/api/research/runs"))["runs"] if each["name"] == "long").get("reading"):
            break
        time.sleep(0.1)
    answers, drawn = [], []
    for _ in range(rounds):
        begun = time.perf_counter()
        ask(f"/api/research/runs/{name}/log?most=1000")
        answers.append(1000 * (time.perf_counter() - begun))
        with profile(browser) as page:
            page.goto(server.address)
            page.goto(f"{server.base}/#research?run={name}")
            until(page, "document.querySelectorAll('.uplot canvas').length > 1")
            drawn.append(page.evaluate(DRAW))
    return {"answer": spread(answers, "ms"), "draw_100k_points": spread(drawn, "ms")}


DRAG = """async () => {
  const sheet = document.querySelector('[data-testid=sheet]'), field = document.querySelector('[data-testid=seed]'), times = [];
  for (let move = 1; move <= 25; move += 1) {
    const before = Number(sheet.dataset.painted), begun = performance.now();
    field.value = String(move * 17);
    field.dispatchEvent(new Event('change', { bubbles: true }));
    while (Number(sheet.dataset.painted) === before) await new Promise((resolve) => setTimeout(resolve, 2));
    await new Promise((resolve) => requestAnimationFrame(resolve));
    times.push(performance.now() - begun);
  }
  return times.slice(5);
}"""
DRAW = """async () => {
  const { chart } = await import('/static/js/core/plot.js');
  const x = Array.from({ length: 100000 }, (_, i) => i), values = x.map((i) => Math.sin(i / 900) + ((i * 2654435761) % 1000) / 1000);
  const node = document.createElement('div');
  node.style.width = '800px';
  document.querySelector('main').prepend(node);
  await new Promise((resolve) => requestAnimationFrame(resolve));
  const begun = performance.now();
  chart(node, { title: 'long', x, series: [{ label: 'value', colour: '--critic', values }] });
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return performance.now() - begun;
}"""


def profile(browser, script: str = ""):
    import contextlib

    @contextlib.contextmanager
    def fresh():
        context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
        page = context.new_page()
        if script:
            page.add_init_script(script)
        try:
            yield page
        finally:
            context.close()

    return fresh()


def spread(values: list[float], unit: str) -> dict:
    ordered = sorted(values)
    return {"unit": unit, "median": round(statistics.median(ordered), 1), "min": round(ordered[0], 1), "max": round(ordered[-1], 1), "rounds": len(ordered)}


CASES = {"cold": cold, "feedback": feedback, "live": live, "slider": slider, "log": log}


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    path = chromium()
    if path is None:
        sys.exit("no Chromium: set AGON_CHROMIUM")
    results: dict = {"machine": machine(), "command": "python benchmarks/playground/page.py", "results": []}
    with tempfile.TemporaryDirectory() as root, sync_playwright() as driver:
        prepare(Path(root))
        with playing(runs=Path(root)) as server:
            time.sleep(5)  # the server loads torch meanwhile, as it does while a browser starts
            browser = driver.chromium.launch(executable_path=path, args=QUIET)
            for case in options.cases.split(","):
                results["results"].append({"case": case, "bar": BARS[case], **CASES[case](browser, server, options.rounds)})
                print(json.dumps(results["results"][-1]), flush=True)
            browser.close()
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
