"""Fill the docs with what a run really gives: python scripts/docs_images.py [runs/demo]

Copies the run's grid into docs/images, takes pictures of its report and of its collapse report, and puts what ``agon evaluate`` prints into
docs/metrics.md. The pictures of pages need Chromium or Chrome, without a network and without a screen.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
METRICS = "fid_digits,frechet,kid,precision,recall,density,coverage,accuracy,intra_fid,inception_score_digits,spectra,ms_ssim_diversity,near_copies"


def photograph(browser: str, page: Path, name: str, height: int) -> None:
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size=1100,{height}", f"--screenshot={IMAGES / name}"]
    subprocess.run([browser, *options, page.resolve().as_uri()], check=True, capture_output=True)


def main(run: Path) -> None:
    IMAGES.mkdir(exist_ok=True)
    shutil.copyfile(max((run / "samples").glob("*.png")), IMAGES / "digits.png")
    command = [sys.executable, "-m", "agon", "evaluate", str(run), "--metrics", METRICS, "--report"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.partition("\n\n")[0]
    shown = f"```\n$ agon evaluate {run.name if run.parent == Path('.') else run} --metrics {METRICS}\n{printed}\n```"
    path = ROOT / "docs" / "metrics.md"
    text = path.read_text(encoding="utf-8")
    block = "<!-- output:evaluate -->\n{}\n<!-- /output -->"
    path.write_text(re.sub(r"<!-- output:evaluate -->.*?<!-- /output -->", lambda _: block.format(shown), text, flags=re.S), encoding="utf-8")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"No browser was found. Expected one of {', '.join(BROWSERS)} on the PATH.")
    photograph(browser, run / "report.html", "report.png", 1500)
    photograph(browser, run / "collapse.html", "collapse.png", 2300)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
