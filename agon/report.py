"""``report.html``: a run in one file that opens offline, on a screen or a phone, in light or dark, in English or
Chinese.

Everything is inside: styles, curves as SVG, pictures as PNG in base64, a little JavaScript for the film strip and the
values under the pointer. The page's own security policy forbids any outside request. Without JavaScript the curves and
the latest samples still show.
"""

from __future__ import annotations

import base64
import json
import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from agon.locale import language, translate
from agon.media import write_atomically
from agon.train.checkpoint import STATE
from agon.train.health import Health, Verdict
from agon.train.logger import duration, read_lines, read_log

MAX_FRAMES = 24  # a film strip with more is not looked at, and the file has to travel
MAX_FRAME_BYTES = 16_000_000
BINS = 240  # points in a curve: about one for two pixels
WIDTH, HEIGHT = 420, 216  # of a curve's view box: readable on a phone, where it is shown at about this size
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 10, 24
COLOURS = 6  # curve colours in the style sheet; a chart with more lines repeats them
LOG_RATIO = 30.0  # a positive curve that spans more than this is drawn on a logarithmic axis

_METRIC_NAMES = {
    "frechet": "Fréchet distance",
    "kid": "Kernel distance (KID)",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "accuracy": "Class accuracy",
    "near_copies": "Near-copies",
    "modes": "Modes covered",
    "high_quality": "High-quality samples",
    "reverse_kl": "Reverse KL",
    "sliced_wasserstein": "Sliced Wasserstein distance",
    "pixel_sliced_wasserstein": "Sliced Wasserstein distance of pixels",
}
_STATE_NAMES = {
    "warming up": "warming up",
    "balanced": "balanced",
    "discriminator winning": "discriminator winning",
    "discriminator losing": "discriminator losing",
    "diversity falling": "diversity falling",
    "collapse suspected": "collapse suspected",
}
_TONES = {
    "warming up": "quiet",
    "balanced": "good",
    "discriminator winning": "warn",
    "discriminator losing": "warn",
    "diversity falling": "warn",
    "collapse suspected": "bad",
}


@dataclass(frozen=True)
class Series:
    """One line of a chart: a value (or NaN) for every bin of the run, with the range of the records inside the bin."""

    name: str
    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Axis:
    """Maps values to view-box coordinates, linearly or by logarithm; outside values stop at the edge."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (
            math.log(v) if self.log else v for v in (self.low, self.high, max(value, self.low) if self.log else value)
        )
        part = (at - low) / (high - low) if high > low else 0.5
        return self.start + (self.end - self.start) * min(1.0, max(0.0, part))


def write_report(run_folder: str | Path) -> Path:
    """Write ``report.html`` into a run folder from the files that are there (any may be missing) and return its
    path.
    """
    folder = Path(run_folder)
    return write_atomically(folder / "report.html", render(folder).encode())


def render(folder: Path) -> str:
    """The page as text."""
    config, log, events = _read(folder / "config.json"), _onward(read_log(folder)), read_lines(folder / "events.jsonl")
    metrics = [each for each in _read(folder / "metrics.json").get("results", []) if isinstance(each, dict)]
    verdicts = _verdicts(log)
    title = f"{config.get('game', folder.name)} · {_data_name(config)}".strip(" ·")
    parts = [
        _header(folder, config, log, events),
        _health(verdicts),
        _metrics(metrics),
        _history(read_lines(folder / "metrics.jsonl")),
        _film(folder / "samples"),
        _curves(log),
        _settings(config),
        _reproduce(config),
        _events(events),
    ]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="{"zh-CN" if language() == "zh_CN" else "en"}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta '
        f'http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)} — Agon</title><style>{_CSS}</style>'
        f"</head>"
        f"<body><main>{''.join(parts)}<footer>Agon {escape(str(_versions(config).get('agon', '')))}</footer></main>"
        f"<script>{_JS}</script></body></html>\n"
    )


# ---- the run's files ------------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _onward(log: list[dict]) -> list[dict]:
    """The records that count, in the order of images: after a rollback the later record replaces what was undone."""
    kept: list[dict] = []
    for record in log:
        while kept and _finite(record.get("num_images")) <= _finite(kept[-1].get("num_images")):
            kept.pop()
        kept.append(record)
    return kept


def _data_name(config: dict[str, Any]) -> str:
    data = config.get("data", "")
    if isinstance(data, dict):
        data = data.get("name") or data.get("data") or data.get("path") or ""
    return str(data)


def _versions(config: dict[str, Any]) -> dict[str, Any]:
    versions = config.get("versions", {})
    return versions if isinstance(versions, dict) else {"agon": versions}


def _verdicts(log: list[dict]) -> list[tuple[int, Verdict]]:
    """The health of the run from its log: what the trainer said at the time, in the reader's language."""
    health = Health()
    return [(record.get("num_images", 0), health.update(record)) for record in log]


def _bins(log: list[dict], group: str, name: str) -> Series:
    mean, low, high = [], [], []
    for chunk in _chunks(log):
        values = [_float(record.get(group, {}).get(name) if group else record.get(name)) for record in chunk]
        finite = [value for value in values if math.isfinite(value)]
        mean.append(sum(finite) / len(finite) if finite else math.nan)
        low.append(min(finite, default=math.nan))
        high.append(max(finite, default=math.nan))
    return Series(name, mean, low, high)


def _chunks(log: list[dict]) -> list[list[dict]]:
    size = max(1, -(-len(log) // BINS))
    return [log[start : start + size] for start in range(0, len(log), size)]


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


# ---- sections -------------------------------------------------------------------------------------------------------


def _section(title: str, body: str, name: str = "") -> str:
    return f"<section{f' id={name}' if name else ''}><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _saved(folder: Path, log: list[dict]) -> dict[str, Any]:
    """Step, images and seconds of the newest checkpoint, where it is newer than the last record: a run rarely ends on a logged step."""
    states = sorted((folder / "checkpoints").glob("*/" + STATE))
    try:
        state = json.loads(states[-1].read_text(encoding="utf-8")) if states else {}
        newer = {name: state[name] for name in ("step", "num_images", "seconds")} if state else {}
        return newer if newer and newer["num_images"] > (log[-1]["num_images"] if log else 0) else {}
    except (OSError, ValueError, KeyError, TypeError):  # a damaged checkpoint is not the report's business
        return {}


def _header(folder: Path, config: dict[str, Any], log: list[dict], events: list[dict]) -> str:
    last = {**(log[-1] if log else {}), **_saved(folder, log)}
    facts = [
        (translate("images seen"), f"{last['num_images']:,}" if "num_images" in last else "0"),
        (translate("steps"), f"{last['step']:,}" if "step" in last else "0"),
        (translate("training time"), duration(_finite(last.get("seconds")))),
        (translate("images/s"), f"{_finite(last.get('images_per_second')):,.0f}"),
        (translate("peak memory"), f"{max((_finite(record.get('memory_mb')) for record in log), default=0):,.0f} MB"),
        (translate("seed"), str(_deep(config, "seed"))),
    ]
    shown = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts
        if value not in ("", "0 MB")
    )
    preset = str(config.get("preset") or "")
    under = " · ".join(
        escape(part)
        for part in (_data_name(config), translate("preset {name}").format(name=preset) if preset else "")
        if part
    )
    text, tone = _status(log, events)
    return (
        f'<header><p class="brand">Agon <span>{escape(folder.resolve().name)}</span></p><h1>'
        f"{escape(str(config.get('game', folder.resolve().name)))}"
        f'<span class="pill {tone}">{escape(text)}</span></h1><p class="under">{under}</p><dl class="facts">'
        f"{shown}</dl></header>"
    )


def _status(log: list[dict], events: list[dict]) -> tuple[str, str]:
    words = {
        "finished": (translate("finished"), "good"),
        "stopped": (translate("stopped"), "warn"),
        "nonfinite": (translate("non-finite"), "bad"),
        "started": (translate("running"), "quiet"),
        "resumed": (translate("running"), "quiet"),
        "rolled back": (translate("running"), "quiet"),
    }
    for event in reversed(events):
        if event.get("event") in words:
            return words[event["event"]]
    return (translate("running"), "quiet") if log else (translate("nothing yet"), "quiet")


def _finite(value: Any) -> float:
    number = _float(value)
    return number if math.isfinite(number) else 0.0


def _deep(config: dict[str, Any], name: str) -> Any:
    """A value of the top level or of the fields."""
    return config.get(name, config.get("fields", {}).get(name, "") if isinstance(config.get("fields"), dict) else "")


def _health(verdicts: list[tuple[int, Verdict]]) -> str:
    if not verdicts:
        return _section(translate("Health"), f"<p class=empty>{escape(translate('Nothing has been logged yet.'))}</p>")
    final, total, spans, start = verdicts[-1][1], max(verdicts[-1][0], 1), [], 0
    runs = _runs(verdicts)
    for index, (_, verdict) in enumerate(runs):
        end = runs[index + 1][0] if index + 1 < len(runs) else total
        name = translate(_STATE_NAMES[verdict.state])
        spans.append(
            f'<i class="{_TONES[verdict.state]}" style="flex:{max(end - start, 0)}" '
            f'title="{escape(f"{name}: {start:,} – {end:,}")}"></i>'
        )
        start = end
    rows = "".join(
        f"<tr><td class=n>{images:,}</td><td><b class={_TONES[verdict.state]}>"
        f"{escape(translate(_STATE_NAMES[verdict.state]))}</b></td>"
        f"<td>{escape(verdict.sentence)}</td></tr>"
        for images, verdict in runs
    )
    history = (
        f"<details><summary>{escape(translate('History'))} ({len(runs)})</summary><div class=scroll><table>"
        f"{rows}</table></div></details>"
    )
    advice = f"<p class=advice>{escape(final.advice)}</p>" if final.advice else ""
    return _section(
        translate("Health"),
        f'<div class="callout {_TONES[final.state]}"><p>{escape(final.sentence)}</p>{advice}</div>'
        f"<div class=strip>{''.join(spans)}</div>{history}",
    )


def _runs(verdicts: list[tuple[int, Verdict]]) -> list[tuple[int, Verdict]]:
    """Where each state began, with the verdict at its end (its number is the settled one)."""
    runs: list[tuple[int, Verdict]] = []
    for images, verdict in verdicts:
        if runs and runs[-1][1].state == verdict.state:
            runs[-1] = (runs[-1][0], verdict)
        else:
            runs.append((images, verdict))
    return runs


def _metrics(results: list[dict]) -> str:
    latest: dict[str, dict] = {}
    for result in results:
        latest[str(result.get("metric"))] = result
    cards = "".join(_card(result) for result in latest.values())
    older = [result for result in results if latest[str(result.get("metric"))] is not result]
    rows = "".join(
        f"<tr><td class=n>{_finite(each.get('num_images')):,.0f}</td><td>{escape(_metric_name(each))}</td>"
        f"<td class=n>{_value(each)}</td></tr>"
        for each in older
    )
    table = (
        f"<details><summary>{escape(translate('Earlier measurements'))} ({len(older)})</summary><div "
        f"class=scroll><table>{rows}</table></div></details>"
    )
    return _section(translate("Measured"), f"<div class=cards>{cards}</div>{table if older else ''}" if cards else "")


def _history(lines: list[dict]) -> str:
    """A chart for each number that was measured while training, within its standard error; the level is a perfect sampler's."""
    found: dict[str, list[dict]] = {}
    for line in lines:
        for result in line.get("results", []):
            found.setdefault(str(result.get("metric")), []).append(result)
    charts = []
    for name, results in found.items():
        mean = [_float(result.get("value")) for result in results]
        error = [_finite(result.get("standard_error")) for result in results]
        band = [value - one for value, one in zip(mean, error, strict=True)], [value + one for value, one in zip(mean, error, strict=True)]
        perfect = _float(((results[-1].get("reference") or {}).get("perfect_sampler") or {}).get("value"))
        marks = {perfect: translate("perfect sampler")} if math.isfinite(perfect) else {}
        charts.append(_chart(_metric_name(results[-1]), [_finite(result.get("num_images")) for result in results], [Series(name, mean, *band)], marks, []))
    return _section(translate("Measured while training"), f"<div class=charts>{''.join(charts)}</div>" if charts else "")


def _metric_name(result: dict) -> str:
    name = str(result.get("metric"))
    return translate(_METRIC_NAMES[name]) if name in _METRIC_NAMES else name.replace("_", " ")


def _value(result: dict) -> str:
    error = _float(result.get("standard_error"))
    margin = f" <small>± {escape(_number(error))}</small>" if math.isfinite(error) else ""
    return f"{escape(_number(_float(result.get('value'))))}{margin}"


def _card(result: dict) -> str:
    reference = "".join(f"<li>{escape(text)}</li>" for text in _reference(result.get("reference")))
    # known mixtures are compared with the distribution itself: with no real samples
    template = translate("{fake} samples against {real} real") if result.get("num_real") else translate("{fake} samples")
    counts = template.format(fake=f"{_finite(result.get('num_fake')):,.0f}", real=f"{_finite(result.get('num_real')):,.0f}")
    rows = _flat({key: result[key] for key in ("protocol", "reference", "details") if result.get(key)})
    protocol = f"<details><summary>{escape(translate('Protocol'))}</summary>{_table(rows)}</details>" if rows else ""
    warned = "".join(f'<p class="note warn">{escape(str(text))}</p>' for text in result.get("warnings") or ())
    return (
        f"<article><h3>{escape(_metric_name(result))}</h3><p class=value>{_value(result)}</p><ul>{reference}</ul>"
        f"<p class=note>{escape(counts)}</p>{warned}{protocol}</article>"
    )


def _reference(reference: Any) -> Iterable[str]:
    """``{"perfect_sampler": 0.99, "real_halves": {"value": 0.9, "sd": 0.04}}`` as lines: "perfect sampler: 0.99",
    "real halves: 0.9 ± 0.04".
    """
    if isinstance(reference, int | float):
        reference = {"reference": reference}
    for name, value in (reference or {}).items():
        margin = ""
        if isinstance(value, dict) and "value" in value:
            error = next(
                (_float(value[key]) for key in ("standard_error", "standard_deviation", "sd") if key in value), math.nan
            )
            margin, value = f" ± {_number(error)}" if math.isfinite(error) else "", value["value"]
        shown = (
            _number(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else _text(value)
        )
        yield f"{translate(str(name).replace('_', ' '))}: {shown}{margin}"


def _film(folder: Path) -> str:
    files = sorted(folder.glob("*.png")) if folder.is_dir() else []
    frames, size = [], 0
    chosen = _spread(files, MAX_FRAMES)
    for path in reversed(chosen):  # the latest first: it is what must not be left out
        content = path.read_bytes()
        size += len(content)
        if frames and size > MAX_FRAME_BYTES:
            break
        frames.append((path.stem, base64.b64encode(content).decode()))
    if not frames:
        return ""
    frames.reverse()
    images = [f"{int(stem):,}" if stem.isdigit() else stem for stem, _ in frames]
    buttons = "".join(
        f'<button type=button data-label="{escape(label)}"><img alt="{escape(label)}" src="data:image/png;'
        f'base64,{content}"></button>'
        for label, (_, content) in zip(images, frames, strict=True)
    )
    note = ""
    if len(frames) < len(files):
        text = translate("{shown} of {all} grids; all of them are in samples/").format(
            shown=len(frames), all=len(files)
        )
        note = f"<p class=note>{escape(text)}</p>"
    count = translate("{count} images").format(count="<output></output>")
    return _section(
        translate("Samples"),
        f'<div class=film><figure><img alt="" src="data:image/png;base64,{frames[-1][1]}"><figcaption>'
        f"{count}</figcaption></figure>"
        f'<div class=controls><button type=button class=play aria-label="{escape(translate("Play"))}">▶</button>'
        f"<input type=range min=0 max={len(frames) - 1} value={len(frames) - 1} "
        f'aria-label="{escape(translate("Samples"))}"></div>'
        f"<div class=thumbs>{buttons}</div></div>{note}",
    )


def _spread(items: Sequence[Path], limit: int) -> list[Path]:
    """At most ``limit`` of the items, evenly, the first and the last among them."""
    if len(items) <= limit:
        return list(items)
    return [items[round(index * (len(items) - 1) / (limit - 1))] for index in range(limit)]


def _settings(config: dict[str, Any]) -> str:
    fields = config.get("fields", config.get("config", {}))
    other = {name: value for name, value in config.items() if name not in ("fields", "config", "versions", "command")}
    parts = [
        (translate("Configuration"), _flat(fields)),
        (translate("Run"), _flat(other)),
        (translate("Versions"), _flat(_versions(config))),
    ]
    body = "".join(
        f"<details><summary>{escape(name)}</summary>{_table(rows)}</details>" for name, rows in parts if rows
    )
    return _section(translate("Settings"), body)


def _flat(tree: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(tree, dict):
        return [] if tree is None else [(prefix.rstrip("."), tree)]
    rows: list[tuple[str, Any]] = []
    for name, value in tree.items():
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else [(f"{prefix}{name}", value)]
    return rows


def _table(rows: list[tuple[str, Any]]) -> str:
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(_text(value))}</td></tr>" for name, value in rows)
    return f"<div class=scroll><table>{cells}</table></div>"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def command(config: dict[str, Any]) -> str:
    """What makes this run again: the command noted in config.json, else the call from Python with every field."""
    noted = config.get("command")
    if noted:
        return noted if isinstance(noted, str) else shlex.join(str(word) for word in noted)
    if not config.get("game"):
        return ""
    data = config.get("data")
    options = data.get("options") if isinstance(data, dict) else None
    words = [repr(config["game"]), repr(_data_name(config))]
    words += [f"preset={config['preset']!r}"] if config.get("preset") else []
    words += [f"data_options={options!r}"] if options else []
    words += [f"**{dict(_flat(config.get('fields')))!r}"] if config.get("fields") else []
    return f"agon.train({', '.join(words)})"


def _reproduce(config: dict[str, Any]) -> str:
    line = command(config)
    return _section(translate("Run it again"), f"<pre><code>{escape(line)}</code></pre>" if line else "")


def _events(events: list[dict]) -> str:
    rows = ""
    for event in events[-200:]:
        rest = {name: value for name, value in event.items() if name not in ("time", "event", "num_images")}
        said = rest.get("sentence") or ", ".join(f"{name}: {_text(value)}" for name, value in rest.items())
        rows += (
            f"<tr><td>{escape(str(event.get('time', ''))[:19].replace('T', ' '))}</td><td class=n>"
            f"{_finite(event.get('num_images')):,.0f}</td>"
            f"<td><b>{escape(str(event.get('event', '')))}</b></td><td>{escape(str(said))}</td></tr>"
        )
    hidden = len(events) - 200
    more = (
        f"<p class=note>{escape(translate('{count} earlier events are in events.jsonl').format(count=hidden))}</p>"
        if hidden > 0
        else ""
    )
    return _section(
        translate("Events"),
        f"<details><summary>{len(events)}</summary><div class=scroll><table>{rows}</table></div>{more}</details>"
        if rows
        else "",
    )


# ---- curves ---------------------------------------------------------------------------------------------------------


def _curves(log: list[dict]) -> str:
    if not log:
        return ""
    x = [sum(_finite(record.get("num_images")) for record in chunk) / len(chunk) for chunk in _chunks(log)]
    stages = [
        (now.get("num_images", 0), str(now.get("stage")))
        for before, now in zip(log, log[1:], strict=False)
        if now.get("stage") != before.get("stage")
    ]
    charts = [
        _chart(title, x, [_bins(log, group, name) for name in names], marks, stages)
        for title, group, names, marks in _plan(log)
    ]
    return _section(translate("Curves"), f"<div class=charts>{''.join(charts)}</div>")


def _plan(log: list[dict]) -> Iterable[tuple[str, str, list[str], dict[float, str]]]:
    """(title, group of the record, names of its lines, marked levels) for every chart: a player's terms together,
    logits together, the rest alone.
    """
    terms = list(dict.fromkeys(name for record in log for name in record.get("terms", {})))
    stats = list(dict.fromkeys(name for record in log for name in record.get("stats", {})))
    for player in dict.fromkeys(name.partition("/")[0] for name in terms):
        yield (
            translate("Loss terms: {player}").format(player=player),
            "terms",
            [name for name in terms if name.partition("/")[0] == player],
            {},
        )
    logits = [name for name in stats if name.endswith("logit")]
    if logits:
        yield translate("Logits on real and generated"), "stats", logits, {}
    for name in stats:
        if name in logits:
            continue
        last = name.rpartition("/")[2]
        if last == "accuracy":
            yield (
                translate("Pairs ranked rightly"),
                "stats",
                [name],
                {0.5: translate("cannot tell"), 1.0: translate("always tells")},
            )
        elif last == "diversity":
            yield translate("Diversity of samples"), "stats", [name], {1.0: translate("as the data")}
        else:
            yield name, "stats", [name], {}
    for name, title in (("images_per_second", translate("Images per second")), ("memory_mb", translate("Memory, MB"))):
        if any(name in record for record in log):
            yield title, "", [name], {0.0: ""}  # from zero: its noise is not news


def _chart(
    title: str, x: list[float], series: list[Series], marks: dict[float, str], stages: list[tuple[float, str]]
) -> str:
    across = Axis(0.0, max(x[-1], 1.0), LEFT, WIDTH - RIGHT)
    up = _vertical(series, marks)
    body = [
        _grid_lines(across, up),
        *(f'<path class=mark d="M{LEFT} {up(level):.1f}H{WIDTH - RIGHT}"/>' for level, text in marks.items() if text),
    ]
    for at, stage in stages:
        body.append(
            f'<path class=stage d="M{across(at):.1f} {TOP}V{HEIGHT - BOTTOM}"><title>{escape(stage)}</title></path>'
        )
    body += [_line(across, up, x, each, index) for index, each in enumerate(series)]
    data = {
        "x": [round(value) for value in x],
        "px": [round(across(value), 1) for value in x],
        "series": [
            {
                "name": each.name,
                "y": [_number(value) if math.isfinite(value) else "–" for value in each.mean],
                "py": [round(up(value), 1) if math.isfinite(value) else None for value in each.mean],
            }
            for each in series
        ],
    }
    legend = (
        "".join(f"<span class=c{index % COLOURS}>{escape(each.name)}</span>" for index, each in enumerate(series))
        if len(series) > 1
        else ""
    )
    legend += "".join(
        f"<span class=level>{_number(level)}: {escape(text)}</span>" for level, text in marks.items() if text
    )
    scale = f"<small>{escape(translate('log scale'))}</small>" if up.log else ""
    return (
        f'<figure class=chart data-chart="{escape(json.dumps(data))}"><figcaption>{escape(title)}{scale}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role=img aria-label="{escape(title)}">{"".join(body)}<g class=cursor>'
        f"</g></svg>"
        f"<div class=legend>{legend}</div><div class=tip hidden></div></figure>"
    )


def _vertical(series: list[Series], marks: dict[float, str]) -> Axis:
    """The vertical axis: all but the most extreme hundredth of the points, and the marked levels."""
    values = sorted(value for each in series for value in each.mean if math.isfinite(value))
    if not values:
        values = [0.0, 1.0]
    cut = len(values) // 100
    low, high = values[cut], values[-1 - cut]
    low, high = min([low, *marks]), max([high, *marks])
    ends = (HEIGHT - BOTTOM, TOP)
    if low > 0 and high / low > LOG_RATIO:
        return Axis(low / 1.15, high * 1.15, *ends, log=True)
    margin = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
    floor = (
        0.0 if low >= 0 > low - margin else low - margin
    )  # a quantity that is never negative gets no axis below zero
    return Axis(floor, high + margin, *ends)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers in [low, high], about ``count`` of them, a step of 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 3 else (1,)
    levels = [factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high]
    return levels[:: -(-len(levels) // 6)] if levels else [low, high]


def _grid_lines(across: Axis, up: Axis) -> str:
    levels = _log_ticks(up.low, up.high) if up.log else ticks(up.low, up.high)
    lines = "".join(
        f'<path class=rule d="M{LEFT} {up(level):.1f}H{WIDTH - RIGHT}"/><text class=y x={LEFT - 6} '
        f"y={up(level) + 3.5:.1f}>{_number(level)}</text>"
        for level in levels
    )
    feet = "".join(
        f"<text class=x x={across(at):.1f} y={HEIGHT - 7}>{_count(at)}</text>" for at in ticks(across.low, across.high)
    )
    return lines + feet


def _line(across: Axis, up: Axis, x: list[float], series: Series, index: int) -> str:
    """The mean as a line, broken where there is nothing, over the band of the records' range when a point stands for
    several.
    """
    out = ""
    for piece in _pieces(series.mean):
        at = [across(x[i]) for i in piece]
        if any(series.high[i] > series.low[i] for i in piece):
            edge = [f"{a:.1f} {up(series.high[i]):.1f}" for a, i in zip(at, piece, strict=True)]
            edge += [f"{a:.1f} {up(series.low[i]):.1f}" for a, i in zip(reversed(at), reversed(piece), strict=True)]
            out += f'<path class="band c{index % COLOURS}" d="M{"L".join(edge)}Z"/>'
        points = [f"{a:.1f} {up(series.mean[i]):.1f}" for a, i in zip(at, piece, strict=True)]
        if len(points) == 1:
            spot = points[0].split()
            out += f'<circle class="c{index % COLOURS}" cx={spot[0]} cy={spot[1]} r=2 />'
        else:
            out += f'<path class="line c{index % COLOURS}" d="M{"L".join(points)}"/>'
    return out


def _pieces(values: list[float]) -> list[list[int]]:
    pieces: list[list[int]] = [[]]
    for index, value in enumerate(values):
        if math.isfinite(value):
            pieces[-1].append(index)
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _number(value: float) -> str:
    """Four digits at most: 0.6931, 12.35, 1,234, 1.2e-05."""
    if not math.isfinite(value):
        return str(value)
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _count(value: float) -> str:
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:g}{letter}"
    return f"{value:g}"


_CSS = """
:root{
--paper:#faf9f6;--card:#fff;--ink:#1d2127;--soft:#626a75;--line:#e4e2dc;--good:#1f8a5b;--warn:#b7791f;--bad:#c63d2f;
--quiet:#7b8490;
--c0:#c8472f;--c1:#2a6fb0;--c2:#2b8a5f;--c3:#9a5bb5;--c4:#b7801f;--c5:#4d6570}
@media(prefers-color-scheme:dark){:root{
--paper:#15181c;--card:#1d2126;--ink:#e8e6e1;--soft:#9aa3ae;--line:#30363d;--good:#4cc38a;--warn:#e0a84a;
--bad:#f0776a;--quiet:#8b949e;--c0:#f0836c;--c1:#6cabe8;--c2:#5cc796;--c3:#c795e0;--c4:#e3b457;--c5:#9db4c0}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif
}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:2.3rem;line-height:1.15;margin:.1em 0 0;letter-spacing:-.02em;display:flex;flex-wrap:wrap;gap:.4em;
align-items:center}
h2{font-size:1.05rem;margin:0 0 12px;letter-spacing:.01em}
h3{font-size:.88rem;font-weight:600;margin:0;color:var(--soft)}
section{margin-top:38px}.brand{margin:0;font-weight:700;color:var(--c0);letter-spacing:.02em}
.brand span{font-weight:400;color:var(--soft);margin-left:.5em}
.under{margin:.35em 0 0;color:var(--soft);font-size:1.05rem}
.pill{font-size:.8rem;font-weight:600;letter-spacing:0;border:1px solid;border-radius:99px;padding:.15em .8em}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}.quiet{color:var(--quiet)}
.facts{display:flex;flex-wrap:wrap;gap:14px 34px;margin:22px 0 0;padding-top:18px;border-top:1px solid var(--line)}
.facts dt{font-size:.8rem;color:var(--soft)}
.facts dd{margin:0;font-size:1.25rem;font-weight:600;font-variant-numeric:tabular-nums}
.callout{background:var(--card);border:1px solid var(--line);border-left:4px solid currentColor;border-radius:8px;
padding:14px 18px}
.callout p{margin:0;color:var(--ink);font-size:1.08rem;font-weight:600}
.callout .advice{font-weight:400;font-size:.95rem;color:var(--soft);margin-top:.35em}
.strip{display:flex;height:10px;border-radius:5px;overflow:hidden;margin:12px 0 6px;background:var(--line)}
.strip i{background:currentColor;min-width:2px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:12px;align-items:start}
article,.chart,.film{background:var(--card);border:1px solid var(--line);border-radius:10px}
article{padding:14px 16px}
.value{font-size:1.65rem;font-weight:650;margin:.1em 0;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.value small{display:inline-block;font-size:.85rem;font-weight:400;color:var(--soft);letter-spacing:0}
article ul{list-style:none;margin:.2em 0;padding:0;font-size:.86rem;color:var(--soft)}
.note,.empty{font-size:.84rem;color:var(--soft);margin:.35em 0 0}
details summary{cursor:pointer;font-size:.9rem;color:var(--soft);padding:.25em 0}
details[open]>summary{color:var(--ink)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;width:100%}
td,th{text-align:left;padding:.32em 1.1em .32em 0;border-top:1px solid var(--line);vertical-align:top;font-weight:400}
th{color:var(--soft);white-space:nowrap;width:1%}td{overflow-wrap:anywhere}
.n{font-variant-numeric:tabular-nums;white-space:nowrap;width:1%}
article td,article th{padding-right:.6em;white-space:normal}
td b{white-space:nowrap}
pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px;overflow-x:auto;margin:0;
font-size:.88rem}
.film{padding:16px}.film figure{margin:0;text-align:center}
.film figure img{max-width:100%;max-height:74vh;border-radius:4px;image-rendering:auto}
figcaption{font-size:.9rem}.film figcaption{color:var(--soft);margin-top:6px;font-variant-numeric:tabular-nums}
.controls{display:flex;gap:12px;align-items:center;margin:8px 0}.controls input{flex:1;accent-color:var(--c0)}
.film button{font:inherit;border:1px solid var(--line);background:none;color:inherit;border-radius:6px;cursor:pointer}
.play{width:40px;height:34px}
.thumbs{display:flex;gap:6px;overflow-x:auto;padding-bottom:6px}.thumbs button{padding:2px;flex:none}
.thumbs img{height:64px;display:block;border-radius:3px}
.thumbs .on{outline:2px solid var(--c0);outline-offset:-1px}
.note.warn{color:var(--warn)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:12px}
.chart{margin:0;padding:12px 14px 10px;position:relative}.chart figcaption{font-weight:600}
.chart figcaption small{float:right;font-weight:400;color:var(--soft)}
svg{display:block;width:100%;height:auto;touch-action:pan-y}
svg text{font:10.5px system-ui,sans-serif;fill:var(--soft)}.y{text-anchor:end}.x{text-anchor:middle}
.rule{stroke:var(--line);fill:none}.mark{stroke:var(--soft);stroke-dasharray:4 4;fill:none}
.stage{stroke:var(--soft);stroke-dasharray:1 3;fill:none}
.line{fill:none;stroke:currentColor;stroke-width:1.7;stroke-linejoin:round}.band{fill:currentColor;opacity:.16}
circle{fill:currentColor}.cursor path{stroke:var(--soft);fill:none}
.c0{color:var(--c0)}.c1{color:var(--c1)}.c2{color:var(--c2)}.c3{color:var(--c3)}.c4{color:var(--c4)}
.c5{color:var(--c5)}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:.8rem}
.legend span::before{content:"";display:inline-block;width:14px;height:3px;background:currentColor;margin-right:6px;
vertical-align:middle}
.legend .level{color:var(--soft)}.legend .level::before{background:none;border-top:2px dashed;height:0}
.tip{position:absolute;pointer-events:none;background:var(--ink);color:var(--paper);border-radius:6px;padding:5px 9px;
font-size:.78rem;white-space:nowrap;font-variant-numeric:tabular-nums;z-index:2}
footer{margin-top:48px;color:var(--soft);font-size:.85rem}
@media(max-width:520px){main{padding:18px 14px 40px}h1{font-size:1.8rem}.facts{gap:12px 24px}
.cards{grid-template-columns:1fr 1fr;gap:8px}article{padding:10px 12px}.value{font-size:1.3rem}
svg text{font-size:12.5px}}
@media print{.controls,.thumbs{display:none}}
"""

_JS = """
for (const chart of document.querySelectorAll('.chart')) {
  const data = JSON.parse(chart.dataset.chart), svg = chart.querySelector('svg');
  const tip = chart.querySelector('.tip'), cursor = chart.querySelector('.cursor');
  const make = (name, attributes) => {
    const e = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const key in attributes) e.setAttribute(key, attributes[key]);
    cursor.append(e);
  };
  const hide = () => { tip.hidden = true; cursor.replaceChildren(); };
  svg.addEventListener('pointerleave', hide);
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect(), width = svg.viewBox.baseVal.width;
    const at = (event.clientX - box.left) * width / box.width;
    let i = 0;
    data.px.forEach((x, k) => { if (Math.abs(x - at) < Math.abs(data.px[i] - at)) i = k; });
    cursor.replaceChildren();
    make('path', {d: `M${data.px[i]} 10V192`});
    const lines = [data.x[i].toLocaleString('en')];
    data.series.forEach((s, k) => {
      if (s.py[i] !== null) make('circle', {cx: data.px[i], cy: s.py[i], r: 3, class: 'c' + k % 6});
      lines.push((data.series.length > 1 ? s.name + '  ' : '') + s.y[i]);
    });
    tip.replaceChildren(...lines.map(text => {
      const e = document.createElement('div');
      e.textContent = text;
      return e;
    }));
    tip.hidden = false;
    const outer = chart.getBoundingClientRect(), x = box.left - outer.left + data.px[i] * box.width / width;
    tip.style.top = (box.top - outer.top + 6) + 'px';
    const right = x + 12 + tip.offsetWidth <= outer.width;
    tip.style.left = Math.max(4, right ? x + 12 : x - 12 - tip.offsetWidth) + 'px';
  });
}
for (const film of document.querySelectorAll('.film')) {
  const picture = film.querySelector('figure img'), label = film.querySelector('output');
  const range = film.querySelector('input'), play = film.querySelector('.play');
  const strip = film.querySelector('.thumbs'), frames = [...strip.querySelectorAll('button')];
  let timer = 0;
  const show = index => {
    frames.forEach((frame, k) => frame.classList.toggle('on', k === index));
    picture.src = frames[index].firstChild.src;
    label.textContent = frames[index].dataset.label;
    range.value = index;
    const middle = frames[index].offsetLeft + frames[index].offsetWidth / 2;
    strip.scrollLeft = middle - strip.offsetLeft - strip.clientWidth / 2;
  };
  const stop = () => { clearInterval(timer); timer = 0; play.textContent = '\\u25b6'; };
  range.addEventListener('input', () => { stop(); show(+range.value); });
  frames.forEach((frame, k) => frame.addEventListener('click', () => { stop(); show(k); }));
  play.addEventListener('click', () => {
    if (timer) return stop();
    play.textContent = '\\u275a\\u275a';
    if (+range.value === frames.length - 1) show(0);
    timer = setInterval(() => {
      const next = +range.value + 1;
      if (next < frames.length) show(next); else stop();
    }, 450);
  });
  show(frames.length - 1);
}
"""
