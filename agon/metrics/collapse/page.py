"""Pieces of the collapse report's page: pictures as data: URIs, curves, clouds and bars as SVG. Whatever comes from outside passes through ``escape``."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np
from torch import Tensor

from agon import report
from agon.locale import language, translate
from agon.media import png

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SIDE = 360  # of a cloud's view box
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 230, 44, 34, 10
SMALL = 48  # px: pictures below it are enlarged without interpolation

_CSS = """
.how{color:var(--soft);font-size:.92rem;margin:-.4em 0 14px;max-width:72ch}
.callout{margin:10px 0}.callout.quiet p{font-weight:400;font-size:.95rem}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:16px}
.two h3,.pane h3{margin:0 0 8px}.pane{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;min-width:0}
.grid{display:grid;grid-template-columns:repeat(8,1fr);gap:3px}.grid img{width:100%;display:block;border-radius:2px}
.grid img{aspect-ratio:1;object-fit:contain}
.px{image-rendering:pixelated}
.pairs{display:flex;flex-wrap:wrap;gap:14px}.pairs figure{margin:0;display:grid;grid-template-columns:auto auto;gap:3px;width:132px}
.pairs figcaption{grid-column:1/3;font-size:.74rem;line-height:1.35;color:var(--soft);overflow-wrap:anywhere}
.pic{width:64px;height:64px;object-fit:contain;display:block;border-radius:2px;border-bottom:3px solid}
.near td{padding:.4em .4em .4em 0;border:0;vertical-align:top}.near td+td.gap{padding-left:1.4em}.near{width:auto}
.near small{font-size:.68rem;color:var(--soft);display:block;max-width:64px;overflow-wrap:anywhere;line-height:1.25}
.near th{font-size:.82rem;width:auto;padding-bottom:.1em;border:0}.near th.gap{padding-left:1.4em}
.row{display:flex;gap:3px;flex-wrap:wrap}.row .pic{width:40px;height:40px}
td.n{text-align:right}th.n{text-align:right}tr.bad td:first-child,tr.warn td:first-child{font-weight:600}
table.plain th{width:auto}.plain td:first-child{min-width:7em}
.plain tr.bad td,.plain tr.warn td{color:var(--ink)}.plain tr.bad td:first-child{color:var(--bad)}.plain tr.warn td:first-child{color:var(--warn)}
.meter{position:relative;height:12px;min-width:120px}.meter i{position:absolute;left:0;height:5px;background:currentColor;border-radius:2px}
.meter i+i{top:6px}
.dots{fill:none;stroke:currentColor;stroke-width:4;stroke-linecap:round}.dots.c1{opacity:.55}.dots.c0{opacity:.6}
.bar{fill:currentColor}.legend{margin-top:6px}
.results>tbody>tr>td{padding-top:.5em;padding-bottom:.5em}.results details{font-size:.8rem}.results b{font-weight:600}
ul.said{margin:.3em 0 0;padding-left:1.2em;font-size:.88rem;color:var(--soft)}
@media(max-width:520px){#modes svg text,#spectra svg text{font-size:17px}
.row .pic{width:34px;height:34px}.pic{width:48px;height:48px}.pairs figure{width:100px}}
"""


def page(title: str, body: str, version: str) -> str:
    """The whole document; its own security policy forbids scripts and any outside request."""
    return (
        f'<!doctype html>\n<html lang="{"zh-CN" if language() == "zh_CN" else "en"}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)} — Agon</title><style>{report._CSS}{_CSS}</style></head>'
        f"<body><main>{body}<footer>Agon {escape(version)}</footer></main></body></html>\n"
    )


def section(name: str, title: str, how: str, body: str) -> str:
    """A block with its one sentence on how to read it."""
    return f'<section id="{name}"><h2>{escape(title)}</h2><p class=how>{escape(how)}</p>{body}</section>'


def note(text: str) -> str:
    return f"<p class=note>{escape(text)}</p>"


def pane(title: str, body: str) -> str:
    return f"<div class=pane><h3>{escape(title)}</h3>{body}</div>"


def picture(pixels: Tensor, label: str, colour: str = "") -> str:
    """One picture, uint8 (3, h, w); ``colour``: "c0" marks a fake, "c1" a real."""
    kind = " ".join(part for part in ("pic" if colour else "", colour, "px" if max(pixels.shape[1:]) < SMALL else "") if part)
    return f'<img class="{kind}" alt="{escape(label)}" title="{escape(label)}" src="data:image/png;base64,{base64.b64encode(png(pixels)).decode()}">'


def table(head: Sequence[tuple[str, str]], rows: Sequence[tuple[str, Sequence[str]]], kind: str = "plain") -> str:
    """``head``: (text, class of the column), ``rows``: (class of the row, cells as HTML)."""
    top = "".join(f'<th class="{style}">{escape(text)}</th>' for text, style in head)

    def line(tone: str, cells: Sequence[str]) -> str:
        return f'<tr class="{tone}">' + "".join(f'<td class="{style}">{cell}</td>' for cell, (_, style) in zip(cells, head, strict=True)) + "</tr>"

    body = "".join(line(*row) for row in rows)
    return f'<div class=scroll><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def meter(real: float, fake: float, most: float) -> str:
    """Two bars, the reals' above the fakes'."""
    widths = (("c1", 100 * real / max(most, 1e-12)), ("c0", 100 * fake / max(most, 1e-12)))
    return "<div class=meter>" + "".join(f'<i class={colour} style="width:{width:.1f}%"></i>' for colour, width in widths) + "</div>"


def legend() -> str:
    return f"<div class=legend><span class=c1>{escape(translate('real'))}</span><span class=c0>{escape(translate('fake'))}</span></div>"


def cloud(title: str, real: np.ndarray, fake: np.ndarray) -> str:
    """(M, 2) and (N, 2) points in one frame, one scale for both axes; a frame round all but the most extreme thousandth."""
    both = np.concatenate([real, fake])
    low, high = np.quantile(both, 0.0005, axis=0), np.quantile(both, 0.9995, axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) / 2, 1e-12) * 1.06
    marks = []
    for points, colour in ((real, "c1"), (fake, "c0")):
        at = np.clip((points - middle) / half, -1, 1) * [1, -1] * (SIDE / 2 - 6) + SIDE / 2
        marks.append(f'<path class="dots {colour}" d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in at)}"/>')
    return pane(title, f'<svg viewBox="0 0 {SIDE} {SIDE}" role=img aria-label="{escape(title)}">{"".join(marks)}</svg>{legend()}')


def curves(title: str, lines: Sequence[tuple[str, np.ndarray, np.ndarray]], across_name: str, up_name: str) -> str:
    """``lines``: (colour, x, y)."""
    everything = np.concatenate([y for _, _, y in lines])
    margin = 0.07 * float(np.ptp(everything)) or 1.0
    across = report.Axis(0.0, max(float(x.max()) for _, x, _ in lines), LEFT, WIDTH - 12)
    up = report.Axis(float(everything.min()) - margin, float(everything.max()) + margin, HEIGHT - BOTTOM, TOP)
    body = "".join(
        f'<path class=rule d="M{LEFT} {up(level):.1f}H{WIDTH - 12}"/><text class=y x={LEFT - 6} y={up(level) + 3.5:.1f}>{level:g}</text>'
        for level in report.ticks(up.low, up.high)
    )
    body += "".join(f"<text class=x x={across(at):.1f} y={HEIGHT - 18}>{at:g}</text>" for at in report.ticks(0.0, across.high))
    for colour, x, y in lines:
        body += f'<path class="line {colour}" d="M{"L".join(f"{across(a):.1f} {up(b):.1f}" for a, b in zip(x, y, strict=True))}"/>'
    body += f'<text class=x x={(LEFT + WIDTH) / 2} y={HEIGHT - 3}>{escape(across_name)}</text>'
    return pane(f"{title}, {up_name}", f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role=img aria-label="{escape(title)}">{body}</svg>{legend()}')


def bars(title: str, real: np.ndarray, fake: np.ndarray) -> str:
    """Shares by mode, two bars each."""
    most, width = max(float(real.max()), float(fake.max()), 1e-12), (WIDTH - LEFT - 12) / len(real)
    up = report.Axis(0.0, 100 * most, HEIGHT - 16, TOP)
    body = "".join(
        f'<path class=rule d="M{LEFT} {up(level):.1f}H{WIDTH - 12}"/><text class=y x={LEFT - 6} y={up(level) + 3.5:.1f}>{level:g} %</text>'
        for level in report.ticks(0.0, 100 * most)
    )
    for colour, shares, offset in (("c1", real, 0.1), ("c0", fake, 0.5)):
        for index, value in enumerate(shares):
            top = up(100 * float(value))
            spot = f'x="{LEFT + (index + offset) * width:.1f}" y="{top:.1f}" width="{0.38 * width:.1f}" height="{HEIGHT - 16 - top:.1f}"'
            body += f'<rect class="bar {colour}" {spot}><title>{100 * value:.1f} %</title></rect>'
    return pane(title, f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role=img aria-label="{escape(title)}">{body}</svg>{legend()}')
