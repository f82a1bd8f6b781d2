"""May two numbers be compared? Only if they were made in the same way: same data and split, counts, extractor, weights, resize, estimator."""

from __future__ import annotations

import math
from typing import Any

FREE = {"seed", "agon", "fake", "conditional"}
"""What may differ: the draw of the samples, the version that measured, and what was measured."""


def differences(first: dict, second: dict) -> list[str]:
    """What differs between two entries of one metric, in words; empty where they may be compared."""
    one, two = (conditions(entry) for entry in (first, second))
    same = set()
    if one.get("fingerprint") and one.get("fingerprint") == two.get("fingerprint"):  # the same content by another path, of a run and of a folder
        same = {"data"} if "data_options" in one and "data_options" in two else {"data", "data_options"}
    names = [name for name in dict.fromkeys([*one, *two]) if name not in same]
    return [f"{name} {shown(one.get(name))} / {shown(two.get(name))}" for name in names if one.get(name) != two.get(name)]


def conditions(entry: dict) -> dict[str, Any]:
    """All that a number depends on besides the samples themselves."""
    return {
        "num_real": entry["num_real"], "num_fake": entry["num_fake"],
        **{name: value for name, value in entry["protocol"].items() if name not in FREE},
    }  # fmt: skip


def shown(value: Any) -> str:
    """A value as one reads it: hashes are cut, nothing is called nothing."""
    text = "nothing" if value is None else str(value)
    return f"{text[:12]}…" if len(text) == 64 and all(letter in "0123456789abcdef" for letter in text) else text


def versus(first: dict, second: dict) -> dict:
    """Two comparable entries side by side: ``difference`` is second - first, ``standard_error`` of it where both have one, ``beyond_chance``: above
    two of these."""
    errors = [entry["standard_error"] for entry in (first, second)]
    difference = second["value"] - first["value"]
    error = None if None in errors else math.hypot(*errors)
    return {
        "metric": first["metric"], "values": [first["value"], second["value"]], "standard_errors": errors, "difference": difference, "standard_error": error,
        "beyond_chance": None if error is None else abs(difference) > 2 * error,
    }  # fmt: skip
