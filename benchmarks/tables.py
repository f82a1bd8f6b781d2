"""Fill the tables of README and docs from benchmarks/results/*.json and from the presets in the code: python benchmarks/tables.py [--check]

A block between ``<!-- results:digits -->`` and ``<!-- /results -->`` (also ``mixtures``, ``speed``, ``truth``), between ``<!-- result -->`` and
``<!-- /result -->`` or between ``<!-- presets -->`` and ``<!-- /presets -->`` (docs/games/<game>.md) is replaced; nothing else is touched.
``--check`` writes nothing and ends with 1 if a file would change.

What is read, each file {"machine": {...}, "command": "...", "results": [row, ...]} (a bare list of rows does too):

* digits.json: a row for each run: "game", "setting" (any words, such as "conditional, 60 CPU-seconds"), "seed", "cpu_seconds", metrics
* mixtures.json: a row for each run: "game", "data" ("toy:ring8" or "toy:grid25"), "seed", "cpu_seconds", metrics
* games.json: a row for each run: "game", "data", "seed", "cpu_seconds", "command", metrics
* speed.json: what benchmarks/speed/compare.py writes
* truth.json: what benchmarks/quality/truth.py writes
* metrics.json, inception.json, evaluation.json: what the benchmarks of these names in benchmarks/speed write

Metrics stand flat in the row or below "metrics", as numbers or as entries of a run's metrics.json ({"metric": ..., "value": ...}). Rows
that differ in the seed alone become one line: the median, and the range over the seeds in brackets.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
DIGITS = ("frechet", "accuracy", "precision", "recall", "coverage", "near_copies", "kid")
MIXTURES = ("modes", "high_quality", "reverse_kl")
SHAPES = ("fid_random", "kid_random", "precision_random", "recall_random", "coverage_random", "near_copies_thumbnail")
SHARES = {"accuracy", "precision", "recall", "coverage", "near_copies", "high_quality"}
SHARES |= {"precision_random", "recall_random", "coverage_random", "near_copies_thumbnail"}
NUM_MODES = {"toy:ring8": 8, "toy:grid25": 25}
HEADS = {
    "en": {
        "fid_random": "Fréchet distance (`random`)", "kid_random": "KID (`random`)", "precision_random": "precision", "recall_random": "recall",
        "coverage_random": "coverage", "near_copies_thumbnail": "copies of the 100",
        "game": "game", "setting": "setting", "data": "data", "seeds": "seeds", "cpu_seconds": "CPU-seconds", "frechet": "Fréchet distance", "kid": "KID",
        "accuracy": "class accuracy", "precision": "precision", "recall": "recall", "coverage": "coverage", "near_copies": "near-copies", "modes": "modes",
        "high_quality": "high quality", "reverse_kl": "reverse KL", "perfect": "*a perfect sampler*", "case": "case", "ratio": "faster (bf16)",
        "ratio32": "faster (float32)", "images": "images per CPU-second", "memory": "peak memory", "textbook": "textbook loop", "bar": "aim",
        "none": "*Not measured yet.*", "median": "Median over the seeds, range in brackets.",
        "machine": "Machine", "command": "Command", "published": "published", "drawn": "What seed 0 draws (points: data in grey, samples in red):",
    },
    "zh": {
        "fid_random": "Fréchet 距离（`random`）", "kid_random": "KID（`random`）", "precision_random": "精确率", "recall_random": "召回率",
        "coverage_random": "覆盖率", "near_copies_thumbnail": "对这 100 张的复制",
        "game": "游戏", "setting": "设置", "data": "数据", "seeds": "种子数", "cpu_seconds": "CPU 秒", "frechet": "Fréchet 距离", "kid": "KID",
        "accuracy": "类别准确率", "precision": "精确率", "recall": "召回率", "coverage": "覆盖率", "near_copies": "近似复制", "modes": "模式数",
        "high_quality": "高质量样本", "reverse_kl": "反向 KL", "perfect": "*完美采样器*", "case": "任务", "ratio": "加速比（bf16）",
        "ratio32": "加速比（float32）", "images": "每 CPU 秒图片数", "memory": "峰值内存", "textbook": "教科书写法", "bar": "目标",
        "none": "*尚未测量。*", "median": "各种子的中位数，括号内为范围。",
        "machine": "机器", "command": "命令", "published": "论文报告", "drawn": "种子 0 画出的样本（点：数据为灰色，样本为红色）：",
    },
}  # fmt: skip
PUBLISHED = (
    ("VEEGAN", {"toy:ring8": (8, 0.529), "toy:grid25": (24.6, 0.40)}),
    ("PacGAN4", {"toy:ring8": (7.8, 0.959), "toy:grid25": (24.8, 0.936)}),
)
"""Modes and high quality as published in PacGAN (Lin et al., 2018, https://arxiv.org/abs/1712.04086, section 4.1)."""

Row = dict[str, Any]


def load(name: str) -> dict[str, Any]:
    """A results file as {"machine", "command", "results"}; without results where there is no such file."""
    path = RESULTS / f"{name}.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    content = {"results": content} if isinstance(content, list) else content
    rows = next((content[key] for key in ("results", "runs", "rows") if isinstance(content.get(key), list)), [])
    return {"machine": content.get("machine") or {}, "command": content.get("command", ""), "results": [flat(row) for row in rows]}


def flat(row: Row) -> Row:
    """A row with its metrics beside its other fields, each metric as a plain number."""
    row = dict(row)
    metrics = row.pop("metrics", {})
    if isinstance(metrics, list):
        metrics = {entry["metric"]: entry for entry in metrics}
    row |= metrics
    for name in (*DIGITS, *MIXTURES, *SHAPES):
        if isinstance(row.get(name), dict):
            reference = (row[name].get("reference") or {}).get("perfect_sampler") or {}
            row.setdefault(f"{name}_perfect", reference.get("value"))
            row[name] = row[name]["value"]
    if row.get("data") in ("ring", "ring8", "grid", "grid25"):
        row["data"] = "toy:ring8" if row["data"].startswith("ring") else "toy:grid25"
    return row


def grouped(rows: list[Row], keys: tuple[str, ...]) -> dict[tuple, list[Row]]:
    """Rows by the values of ``keys``, in the order in which they come."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.get(key, "") for key in keys), []).append(row)
    return found


def cell(rows: list[Row], name: str) -> str:
    """Median and range of a number over the runs; a dash where no run has it."""
    values = sorted(float(row[name]) for row in rows if row.get(name) is not None)
    if not values:
        return "–"
    middle, low, high = (show(name, value) for value in (statistics.median(values), values[0], values[-1]))
    return middle if low == high else f"{middle} ({low.removesuffix(' %')}–{high.removesuffix(' %')})"


def show(name: str, value: float) -> str:
    if name in SHARES:
        return f"{100 * value if value <= 1.5 else value:.1f} %"
    if name in ("modes", "cpu_seconds"):
        return f"{value:g}" if name == "modes" else f"{value:.0f}"
    return f"{value:.4f}" if name in ("reverse_kl", "kid", "kid_random") else f"{value:.2f}"


def table(heads: list[str], lines: list[list[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    ruler = ["---"] + ["---:"] * (len(heads) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, ruler, *lines))


def footer(content: dict[str, Any], words: dict[str, str], note: str = "") -> str:
    """The machine and the command below a table."""
    machine = content["machine"]
    said = ", ".join(str(machine[key]) if key == "cpu" else f"{key} {machine[key]}" for key in ("cpu", "cores", "torch", "commit") if machine.get(key))
    colon, stop = ("：", "。") if words is HEADS["zh"] else (": ", ".")
    command = content["command"]
    parts = [note, f"{words['machine']}{colon}{said}{stop}" if said else "", f"{words['command']}{colon}`{command}`{stop}" if command else ""]
    text = ("" if words is HEADS["zh"] else " ").join(part for part in parts if part)
    return f"\n\n{text}" if text else ""


def digits_table(words: dict[str, str]) -> str:
    content = load("digits")
    if not content["results"]:
        return words["none"]
    names = [name for name in DIGITS if any(row.get(name) is not None for row in content["results"])]
    lines = []
    for (game, setting), rows in grouped(content["results"], ("game", "setting")).items():
        lines.append([f"{game} {setting}".strip(), str(len(rows)), cell(rows, "cpu_seconds"), *[cell(rows, name) for name in names]])
    if any(row.get(f"{name}_perfect") is not None for row in content["results"] for name in names):
        perfect = [[row[f"{name}_perfect"] for row in content["results"] if row.get(f"{name}_perfect") is not None] for name in names]
        shown = [show(name, statistics.median(values)) if values else "–" for name, values in zip(names, perfect, strict=True)]
        lines.append([words["perfect"], "", "", *shown])
    return table([words["setting"], words["seeds"], words["cpu_seconds"], *[words[name] for name in names]], lines) + footer(content, words, words["median"])


def families_table(words: dict[str, str]) -> str:
    """Every game that draws pictures: digits and shapes side by side, as benchmarks/quality/measure.py games and shapes found it."""
    lines = []
    for name, metrics in (("games", ("frechet", "coverage")), ("shapes", ("fid_random", "coverage_random"))):
        content = load(name)
        for (game,), rows in grouped(content["results"], ("game",)).items():
            perfect = [row[f"{metrics[0]}_perfect"] for row in rows if row.get(f"{metrics[0]}_perfect") is not None]
            told = show(metrics[0], statistics.median(perfect)) if perfect else "–"
            lines.append([f"[`{game}`]({game}.md)", f"`{rows[0]['data']}`", cell(rows, "cpu_seconds"), *[cell(rows, each) for each in metrics], told])
    heads = [words[name] for name in ("game", "data", "cpu_seconds")] + ["Fréchet distance", words["coverage"], words["perfect"]]
    return table(heads, lines) + footer({**load("shapes"), "command": ""}, words) if lines else words["none"]


def few_table(words: dict[str, str]) -> str:
    """stylegan2 on 100 pictures with ADA and without."""
    content = load("few")
    lines = [[setting, str(len(rows)), cell(rows, "cpu_seconds"), *[cell(rows, name) for name in SHAPES]]
             for (setting,), rows in grouped(content["results"], ("setting",)).items()]  # fmt: skip
    heads = [words[name] for name in ("setting", "seeds", "cpu_seconds", *SHAPES)]
    return table(heads, lines) + footer(content, words, words["median"]) if lines else words["none"]


PHASES = ("g_main", "d_main", "r1", "path_length")


def stylegan2_speed_table(words: dict[str, str]) -> str:
    """What benchmarks/speed/stylegan2.py measured."""
    path = RESULTS / "stylegan2.json"
    if not path.is_file():
        return words["none"]
    content = json.loads(path.read_text(encoding="utf-8"))
    lines = []
    for side, row in content["results"].items():
        if side != "plain":
            phases = [f"{row[f'ratio_{phase}']:.2f}×" for phase in PHASES]
            step = f"{row['ratio_step']:.2f}× ({row['ratio_min']:.2f}–{row['ratio_max']:.2f})"
            lines.append([side, step, f"{row['bar']:g}×", *phases, f"{row['peak_mb']:,.0f} MB"])
    lines.append(["usual", "1", "", *[""] * len(PHASES), f"{content['results']['plain']['peak_mb']:,.0f} MB"])
    return table(["", "step", words["bar"], *PHASES, words["memory"]], lines) + footer({"command": "python benchmarks/speed/stylegan2.py", **content}, words)


def mixtures_table(words: dict[str, str]) -> str:
    content = load("mixtures")
    if not content["results"]:
        return words["none"]
    lines = []
    for (game, data), rows in grouped(content["results"], ("game", "data")).items():
        lines.append([game or "r3gan", data, str(len(rows)), cell(rows, "cpu_seconds"), *[cell(rows, name) for name in MIXTURES]])
    for data, modes in NUM_MODES.items():
        for name, values in PUBLISHED:
            found, good = values[data]
            lines.append([f"*{name} ({words['published']})*", data, "", "", f"{found:g}", show("high_quality", good), "–"])
        lines.append([words["perfect"], data, "", "", str(modes), "98.9 %", show("reverse_kl", (modes - 1) / 5000)])
    heads = [words[name] for name in ("game", "data", "seeds", "cpu_seconds", *MIXTURES)]
    return table(heads, sorted(lines, key=lambda line: line[1] != "toy:ring8")) + footer(content, words, words["median"])


def speed_table(words: dict[str, str]) -> str:
    content = load("speed")
    if not content["results"]:
        return words["none"]
    lines = []
    for row in content["results"]:
        ratios = ["{ratio_median:.2f}× ({ratio_min:.2f}–{ratio_max:.2f})".format(**row[side]) if side in row else "–" for side in ("bf16", "fp32")]
        speeds = " / ".join(f"{row[side]['images_per_cpu_second']:g}" for side in ("textbook", "bf16"))
        memory = " / ".join(f"{row[side]['peak_mb']:.0f} MB" for side in ("textbook", "bf16"))
        lines.append([row["case"], *ratios, f"{row['bar']:.1f}×" if row.get("bar") else "–", speeds, memory])
    beside = f" ({words['textbook']} / Agon bf16)" if words is HEADS["en"] else f"（{words['textbook']} / Agon bf16）"
    heads = [words["case"], words["ratio"], words["ratio32"], words["bar"], words["images"] + beside, words["memory"] + beside]
    return table(heads, lines) + footer({**content, "command": content["command"] or "python benchmarks/speed/compare.py"}, words)


MARKS = {"right": "✓", "blind": "–", "wrong": "✗"}


def truth_table(words: dict[str, str]) -> str:
    """Which metric sees which damage: benchmarks/quality/truth.py, one table a data set."""
    path = RESULTS / "truth.json"
    if not path.is_file():
        return words["none"]
    content = json.loads(path.read_text(encoding="utf-8"))
    parts = []
    for (data,), rows in grouped(content["results"], ("data",)).items():
        damages = list(dict.fromkeys(row["damage"] for row in rows))
        lines = []
        for (metric,), group in grouped(rows, ("metric",)).items():
            by_damage = {row["damage"]: row for row in group}
            cells = [f"{MARKS[row['verdict']]} ({plain_number(row['values'][0])} → {plain_number(row['values'][-1])})" for row in map(by_damage.get, damages)]
            lines.append([f"`{metric}`", *cells])
        strengths = [f"{damage} {', '.join(f'{strength:g}' for strength in content['strengths'][damage])}" for damage in damages]
        parts.append(f"**{data}**, {content['counts'][data]:,} against {content['counts'][data]:,}\n\n" + table(["metric", *strengths], lines))
    return "\n\n".join(parts) + footer(content, words)


def metrics_speed_table(words: dict[str, str]) -> str:
    """What benchmarks/speed/metrics.py, inception.py and evaluation.py measured."""
    lines = []
    for row in load("metrics")["results"]:
        name = {"frechet": "Fréchet distance, 2,048 features, against `scipy.linalg.sqrtm`", "prdc": "precision ... coverage, 10k × 10k × 2,048, against prdc"}
        seconds = " / ".join(f"{statistics.median(row['cpu_seconds'][side]):.1f} s" for side in ("usual", "agon"))
        lines.append([name[row["case"]], f"{row['median']:.1f}× ({row['min']:.1f}–{row['max']:.1f})", f"{row['bar']:g}×", seconds])
    for row in load("inception")["results"]:
        if row["case"] == "network":
            for precision in ("fp32", "bf16", "bf16-compiled"):
                if precision in row:
                    one = row[precision]
                    speeds = f"{row['usual']['images_per_cpu_second']:.0f} / {one['images_per_cpu_second']:.0f} pictures a CPU-second"
                    ratio = f"{one['ratio_median']:.2f}× ({one['ratio_min']:.2f}–{one['ratio_max']:.2f})"
                    lines.append([f"Inception's features, {precision}, against the eager float32 module", ratio, f"{BARS[precision]:g}×", speeds])
    evaluation = RESULTS / "evaluation.json"
    if evaluation.is_file():
        content = json.loads(evaluation.read_text(encoding="utf-8"))
        first, second = content["first"], content["second, features from the disk"]
        what = f"{content['count']:,} against {content['count']:,} PNG files, six metrics, {content['precision']}: peak memory"
        seconds = f"{first['cpu_seconds']:.0f} CPU-seconds; the second time {second['cpu_seconds']:.0f}"
        lines.append([what, f"{first['peak_mb']:,} MB", f"{content['bar_mb']:,} MB", seconds])
    return table(["what", "measured", "aim", "usual / Agon"], lines)


BARS = {"fp32": 1.4, "bf16": 2.4, "bf16-compiled": 3.0}


def plain_number(value: float | None) -> str:
    """Three digits; a dash for what was not measured."""
    return "–" if value is None else f"{value:.3g}"


def result_of(game: str, words: dict[str, str]) -> str:
    """The measured result of any game."""
    sys.path.insert(0, str(ROOT))
    from agon import catalog

    return (translator_result if catalog.load(game).needs_input else game_result)(game, words)


def game_result(game: str, words: dict[str, str]) -> str:
    """The measured result of one game: digits, then the mixtures. games.json first; what it lacks comes from the other two."""
    content = load("games")
    rows = [row for row in content["results"] if row.get("game") == game]
    have = {row.get("data") for row in rows}
    rows += [{"data": "digits", **row} for row in load("digits")["results"] if row.get("game") == game and "digits" not in have]
    rows += [row for row in load("mixtures")["results"] if row.get("game", "r3gan") == game and row.get("data") not in have]
    parts = []
    rows += [row for row in load("shapes")["results"] if row.get("game") == game]
    for names, wanted in ((DIGITS, lambda data: data == "digits"), (SHAPES, lambda data: data == "shapes"), (MIXTURES, lambda data: data in NUM_MODES)):
        some = [row for row in rows if wanted(row.get("data"))]
        names = [name for name in names if any(row.get(name) is not None for row in some)]
        lines = []
        for (data, setting), group in grouped(some, ("data", "setting")).items():
            lines.append([f"`{data}` {setting}".strip(), str(len(group)), cell(group, "cpu_seconds"), *[cell(group, name) for name in names]])
        if lines:
            parts.append(table([words["data"], words["seeds"], words["cpu_seconds"], *[words[name] for name in names]], lines))
    drawn = [f"![{game}, {data}](../images/{game}-{data}.png)" for data in ("digits", "shapes", "ring8", "grid25") if (IMAGES / f"{game}-{data}.png").is_file()]
    if parts and drawn:
        parts.append(words["drawn"] + "\n\n" + "\n".join(drawn))
    commands = list(dict.fromkeys(row["command"] for row in rows if row.get("command")))
    if commands:
        parts.append("```bash\n" + "\n".join(commands) + "\n```")
    return "\n\n".join(parts) + footer({**content, "command": ""}, words, words["median"]) if parts else words["none"]


def number_over(rows: list[Row], name: str, digits: int = 3, percent: bool = False) -> str:
    """Median (least–most) over seeds of one number."""
    values = [row[name] * (100 if percent else 1) for row in rows if row.get(name) is not None]
    if not values:
        return "–"
    middle, unit = f"{statistics.median(values):.{digits}f}", " %" if percent else ""
    return middle + unit + (f" ({min(values):.{digits}f}–{max(values):.{digits}f})" if len(values) > 1 else "")


def translator_result(game: str, words: dict[str, str]) -> str:
    """The measured result of a translator: benchmarks/quality/translation.py, super_resolution.py and inpainting.py."""
    parts = [part for part in (on_shapes(game, words), on_photographs(game, words), on_holes(game, words)) if part]
    return "\n\n".join(parts) if parts else words["none"]


def on_shapes(game: str, words: dict[str, str]) -> str:
    """translation.json: what the judge of shapes reads from results, and from real pictures."""
    content = load("translation")
    rows = [{**row, **each, **each["values"]} for row in content["results"] if row["game"] == game for each in row["measured"]]
    if not rows:
        return ""
    names = [name for name in ("miou", "pixels", "colour", "shape", "background", "position", "scale", "all_at_once") if name in rows[0]["values"]]
    lines = []
    for (direction,), group in grouped(rows, ("direction",)).items():
        for label, many, seconds, found in ((direction, str(len(group)), number_over(group, "cpu_seconds", 0), group),
                                            (f"*{direction}: real pictures*", "", "", [group[0]["reference"]])):  # fmt: skip
            cells = [number_over(found, name) if name == "miou" else number_over(found, name, 1, True) for name in names]
            lines.append([label, many, seconds, *cells])
    heads = {"miou": "mIoU", "pixels": "pixels right", "all_at_once": "all five at once"}
    text = table(["", words["seeds"], words["cpu_seconds"], *[heads.get(name, name) for name in names]], lines)
    drawn = [f"![{game}](../images/{path.name})" for path in sorted(IMAGES.glob(f"{game}-*to*.png"))]
    command = f"python benchmarks/quality/translation.py {game}"
    text += "\n\nRead from 500 held-out pictures by the judge of `shapes` (agon/metrics/features/shapes.py): fractions that are as they should be."
    return text + ("\n\n" + "\n".join(drawn) if drawn else "") + footer({**content, "command": command}, words, words["median"])


def on_photographs(game: str, words: dict[str, str]) -> str:
    """super_resolution.json."""
    content = load("super_resolution")
    if not any(row["method"] == game for row in content["results"]):
        return ""
    lines = []
    for (method, stage), group in grouped([row for row in content["results"] if row["method"] in ("bicubic", game)], ("method", "stage")).items():
        many = str(len(group)) if method == game else ""
        seconds = number_over(group, "cpu_seconds", 0) if stage == "final" else ""
        lines.append([f"{method} {stage or ''}".strip(), many, seconds, number_over(group, "psnr", 2), number_over(group, "distance", 4),
                      number_over(group, "spectrum", 1), number_over(group, "spectrum_high", 1)])  # fmt: skip
    text = table(["", words["seeds"], words["cpu_seconds"], "PSNR, dB", "distance", "spectrum, dB", "above 1/8 cycle, dB"], lines)
    text += ("\n\nFive whole photographs that no training saw, enlarged four times. PSNR of the luma; distance: of agon/metrics/features/photos.py, lower is "
             "better; spectrum: difference of the radial log-power spectra from the truth, 0 is best.")  # fmt: skip
    return text + drawing(game, "Bicubic, after the stage on pixels, at the end, truth:") + footer(content, words, words["median"])


def on_holes(game: str, words: dict[str, str]) -> str:
    """inpainting.json."""
    content = load("inpainting")
    if not any(row["method"] == game for row in content["results"]):
        return ""
    lines = []
    for (hole, method), group in grouped(content["results"], ("hole", "method")).items():
        many, seconds = (str(len(group)), number_over(group, "cpu_seconds", 0)) if method == game else ("", "")
        lines.append([hole, method, many, seconds, number_over(group, "distance", 4), number_over(group, "better_than_telea", 1, True),
                      number_over(group, "psnr_hole", 2)])  # fmt: skip
    text = table(["holes", "filled by", words["seeds"], words["cpu_seconds"], "distance", "nearer than Telea's", "PSNR in the hole, dB"], sorted(lines))
    return text + drawing(game, "Hole, mean, Telea's method, this game, truth:") + footer(content, words, words["median"])


def drawing(game: str, words: str) -> str:
    """The sheet of photographs of a game, if it was drawn."""
    return f"\n\n{words}\n\n![{game}](../images/{game}-photos.png)" if (IMAGES / f"{game}-photos.png").is_file() else ""


def translators_table(words: dict[str, str]) -> str:
    """All translators on shapes, for the overview."""
    content = load("translation")
    rows = [{**row, **each, **each["values"]} for row in content["results"] for each in row["measured"]]
    if not rows:
        return words["none"]
    lines = []
    for (game, direction), group in grouped(rows, ("game", "direction")).items():
        wanted = f"mIoU {number_over(group, 'miou')}" if "miou" in group[0] else f"colour {number_over(group, 'colour', 1, True)}"
        others = [name for name in ("shape", "background", "position", "scale") if name in group[0]]
        worst = min(others, key=lambda name: statistics.median(row[name] for row in group)) if others else ""
        lines.append([f"[`{game}`]({game}.md)", direction, str(len(group)), number_over(group, "cpu_seconds", 0), wanted,
                      f"{worst} {number_over(group, worst, 1, True)}" if worst else ""])  # fmt: skip
    command = "python benchmarks/quality/translation.py GAME"
    return table([words["game"], "", words["seeds"], words["cpu_seconds"], "what was wanted", "worst of the factors that were to stay"], lines) + footer(
        {**content, "command": command}, words, words["median"])  # fmt: skip


def translation_speed_table(words: dict[str, str]) -> str:
    """What benchmarks/speed/translation.py measured."""
    content = load("translation_speed")
    if not content["results"]:
        return words["none"]
    lines = []
    for row in content["results"]:
        ratios = [f"{row[side]['ratio_median']:.2f}× ({row[side]['ratio_min']:.2f}–{row[side]['ratio_max']:.2f})" for side in ("bf16", "fp32")]
        lines.append([f"{row['case']}, {row['size']} pixels", *ratios, f"{row['bar']:g}×"])
    return table([words["case"], words["ratio"], words["ratio32"], words["bar"]], lines) + footer(content, words)


def playground_table(words: dict[str, str]) -> str:
    """What benchmarks/playground/page.py and load.py measured."""
    content = load("playground")
    if not content["results"]:
        return words["none"]
    found = {row["case"]: row for row in content["results"]}

    def over(entry: dict, digits: int = 0) -> str:
        return f"{entry['median']:.{digits}f} ({entry['min']:.{digits}f}–{entry['max']:.{digits}f})"

    lines = [["cold page to the first numbers of a game", f"{over(found['cold'])} ms", f"< {found['cold']['bar']} ms"],
             ["the slowest input of a tour, to the next paint", f"{over(found['feedback'])} ms", f"< {found['feedback']['bar']} ms"]]  # fmt: skip
    for name, title in (("one", "live game"), ("one_wgan_gp", "live game, WGAN-GP with 5 critic steps"), ("four", "four live games")):
        bar = "≥ {steps} steps, ≥ {frames} frames a second".format(**found["live"]["bar"]) if name == "one" else ""
        lines.append([f"{title}, all layers", f"{over(found['live'][name]['steps'])} steps, {over(found['live'][name]['frames'])} frames a second", bar])
    for count in ("4_cells", "16_cells"):
        entry = found["slider"][count]
        reached = f"{over(entry)} ms, p95 {entry['p95']:.0f} ms"
        lines.append([f"control to {count.replace('_', ' ')}, 64x64 DCGAN", reached, f"p95 ≤ {found['slider']['bar']} ms"])
    lines.append(["a log of 100,000 points: the answer", f"{over(found['log']['answer'])} ms", f"< {found['log']['bar']} ms"])
    lines.append(["100,000 points drawn in one chart", f"{over(found['log']['draw_100k_points'])} ms", f"< {found['log']['bar']} ms"])
    return table(["what", "median (range)", words["bar"]], lines) + footer(content, words)


def presets_table(game: str) -> str:
    """The presets of a game as its file states them, and the fields in which its defaults differ from those of other games."""
    sys.path.insert(0, str(ROOT))
    from agon import catalog
    from agon.config import fields
    from agon.translation import TranslationConfig
    from agon.two_player import TwoPlayerConfig

    cls = catalog.load(game)
    shared = TranslationConfig if cls.needs_input else TwoPlayerConfig
    lines = []
    for name, preset in cls.presets.items():
        fits = {"image": "pictures", "any": "any data"}.get(preset.kind, preset.kind)
        fits += f" up to {preset.max_size} pixels" if preset.max_size < 1 << 30 else ""
        chosen = "yes" if preset.auto else "by name only"
        lines.append([f"`{name}`", fits, chosen, ", ".join(f"`{key}={plain(value)}`" for key, value in preset.fields.items())])
    common = {name: default for name, _, default, _ in fields(shared)}
    own = [f"`{name}={plain(default)}`" for name, _, default, _ in fields(cls.Config) if name not in common or common[name] != default]
    text = "\n".join("| " + " | ".join(line) + " |" for line in (["preset", "for", "chosen by itself", "sets"], ["---"] * 4, *lines))
    return text + (f"\n\nDefaults of this game that differ from the common ones: {', '.join(own)}." if own else "")


def plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(str(each) for each in value)
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def filled(path: Path) -> str:
    """The text of a page with all its blocks filled."""
    words = HEADS["zh" if ".zh-CN." in path.name else "en"]
    makers = {
        "digits": digits_table, "mixtures": mixtures_table, "speed": speed_table, "truth": truth_table, "metrics_speed": metrics_speed_table,
        "families": families_table, "few": few_table, "stylegan2_speed": stylegan2_speed_table, "translators": translators_table,
        "translation_speed": translation_speed_table, "playground": playground_table,
    }  # fmt: skip

    def results(match: re.Match) -> str:
        return f"<!-- results:{match[1]} -->\n{makers[match[1]](words)}\n<!-- /results -->"

    text = re.sub(rf"<!-- results:({'|'.join(makers)}) -->.*?<!-- /results -->", results, path.read_text(encoding="utf-8"), flags=re.S)
    game = path.name.partition(".")[0]
    text = re.sub(r"<!-- result -->.*?<!-- /result -->", lambda _: f"<!-- result -->\n{result_of(game, words)}\n<!-- /result -->", text, flags=re.S)
    return re.sub(r"<!-- presets -->.*?<!-- /presets -->", lambda _: f"<!-- presets -->\n{presets_table(game)}\n<!-- /presets -->", text, flags=re.S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, end with 1 if a file would change")
    options = parser.parse_args()
    changed = []
    for path in [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))]:
        text = filled(path)
        if text != path.read_text(encoding="utf-8"):
            changed.append(path)
            if not options.check:
                path.write_text(text, encoding="utf-8")
    for path in changed:
        print(path.relative_to(ROOT))
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
