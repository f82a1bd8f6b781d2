"""Copy the grid of a run into docs/images and take a picture of its report: python scripts/docs_images.py [runs/demo]

The picture of the report needs Chromium or Chrome, without a network and without a screen.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def main(run: Path) -> None:
    IMAGES.mkdir(exist_ok=True)
    shutil.copyfile(max((run / "samples").glob("*.png")), IMAGES / "digits.png")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"No browser was found. Expected one of {', '.join(BROWSERS)} on the PATH.")
    report = (run / "report.html").resolve().as_uri()
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1100,1500", f"--screenshot={IMAGES / 'report.png'}"]
    subprocess.run([browser, *options, report], check=True, capture_output=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "runs" / "demo"))
