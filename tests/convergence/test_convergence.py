"""Whole trainings of a minute each, not part of the fast suite: make convergence. The bounds are those that the project promises."""

import pytest

import agon


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("data", ["digits", "toy:ring8", "toy:grid25"])
def test_r3gan_keeps_its_promises(data, tmp_path):
    values = {result["metric"]: result["value"] for result in agon.train("r3gan", data, out=tmp_path / "run", seed=100).evaluate()}
    if data == "digits":
        assert values["frechet"] <= 1.2 * 0.38 + 0.6 and values["accuracy"] >= 0.98 and values["coverage"] >= 0.94 and values["near_copies"] <= 0.02
    else:
        assert values["modes"] == {"toy:ring8": 8, "toy:grid25": 25}[data] and values["high_quality"] >= 0.95 and values["reverse_kl"] <= 0.02
