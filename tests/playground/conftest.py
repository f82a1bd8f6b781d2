"""What the playground's tests share: tiny real runs and a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Served, serving

from agon.playground.desk import Desk


@pytest.fixture(scope="session")
def small_runs(tmp_path_factory) -> Path:
    """A folder with a run of images, one of points, and one that is broken. Read only."""
    import agon

    root = tmp_path_factory.mktemp("playground") / "runs"
    agon.train("dcgan", data="digits", preset="tiny", steps=2, out=root / "digits")
    agon.train("gan", data="toy:ring8", preset="tiny", steps=4, out=root / "ring")
    (root / "broken").mkdir()
    (root / "broken" / "config.json").write_text("{ this is no JSON", encoding="utf-8")
    return root


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    """A server without runs."""
    with serving(Desk(tmp_path / "runs", most_trainings=0)) as found:
        yield found
