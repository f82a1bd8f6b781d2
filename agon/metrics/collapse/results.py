"""The collapse report's table of numbers, each with its error, a perfect sampler's value and its protocol."""

from __future__ import annotations

import math
from html import escape

from agon import report
from agon.locale import translate
from agon.metrics.collapse import page


def results_block(results: list[dict]) -> str:
    """One row a metric; "" where nothing was measured."""
    if not results:
        return ""
    counts = translate("samples, real / fake")
    head = [(translate("metric"), ""), (translate("value"), "n"), (translate("perfect sampler"), "n"), (counts, "n"), (translate("Protocol"), "")]
    rows = [missing_row(each) if "unavailable" in each else row(each) for each in results]
    how = translate(
        "A value means little alone: compare it with what samples of the real distribution itself score at the same counts (perfect sampler). ± is one "
        "standard error. Numbers of different protocols must not be compared."
    )
    return page.section("results", translate("Measured"), how, f"<div class=pane>{page.table(head, rows, 'plain results')}</div>")


def missing_row(result: dict) -> tuple[str, list[str]]:
    reason = f"<span class=warn>{escape(str(result['unavailable']))}</span>"
    return "", [f"<b>{escape(str(result.get('metric')))}</b>", "–", "–", "–", reason]


def row(result: dict) -> tuple[str, list[str]]:
    warned = "".join(f'<p class="note warn">{escape(str(text))}</p>' for text in result.get("warnings") or ())
    rows = report._flat({key: result[key] for key in ("protocol", "reference", "details") if result.get(key)})
    protocol = f"<details><summary>{len(rows)}</summary>{report._table(rows)}</details>" if rows else ""
    counts = f"{result.get('num_real') or 0:,} / {result.get('num_fake') or 0:,}"
    return "", [f"<b>{escape(report._metric_name(result))}</b>", report._value(result), perfect(result.get("reference")), counts, warned + protocol]


def perfect(reference: object) -> str:
    """"0.38 ± 0.13", "–" where it is not known."""
    found = reference.get("perfect_sampler") if isinstance(reference, dict) else None
    found = found if isinstance(found, dict) else {"value": found}
    value, spread = report._float(found.get("value")), report._float(found.get("standard_deviation"))
    if not math.isfinite(value):
        return "–"
    return escape(report._number(value)) + (f" <small>± {escape(report._number(spread))}</small>" if math.isfinite(spread) else "")
