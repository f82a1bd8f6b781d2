// Line charts over uPlot: colours of the theme, gaps where a value is missing, a legend that shows the values under the pointer, and words for those
// who cannot see the lines.

import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { append, clear, el, svg } from "./dom.js";
import { plain, t } from "./i18n.js";
import { colour, onTheme } from "./theme.js";

/**
 * A chart in `node`. data: {title, x: [numbers], series: [{label, colour: "--fake" or CSS, values: [number|null], dash: [4, 4]?, width?,
 * band: [low[], high[]]?}], xLabel?, yLabel?, log?, marks?: [{x, label, colour?}] (upright lines), levels?: [{y, label, colour?}] (dashed flat lines),
 * range?: [low, high] of y, height? (px, 180), format?(value) -> words, step? (draw as stairs)}.
 * Gives {update(data), destroy(), node}. update takes the same keys; those left out stay.
 */
export function chart(node, data) {
  const made = new Chart(node, data);
  return { node: made.box, update: (next) => made.update(next), destroy: () => made.destroy() };
}

class Chart {
  constructor(node, data) {
    this.data = data;
    this.title = el("h3", { class: "chart-title" });
    this.legend = el("ul", { class: "chart-legend" });
    this.canvas = el("div", { class: "chart-canvas", "aria-hidden": "true" });
    this.words = el("p", { class: "sr-only" });
    this.box = el("figure", { class: "chart" }, el("figcaption", {}, this.title, this.legend), this.canvas, this.words);
    append(clear(node), this.box);
    this.plot = null;
    this.shape = "";
    this.offTheme = onTheme(() => this.plot?.redraw(false, true));
    this.resize = new ResizeObserver(() => this.fit());
    this.resize.observe(this.canvas);
    this.update(data);
  }

  update(next) {
    this.data = { ...this.data, ...next };
    const shape = JSON.stringify([
      this.data.series.map((one) => [one.label, one.colour, one.dash, Boolean(one.band), one.width]),
      (this.data.levels ?? []).map((one) => [one.label, one.colour]),
      this.data.log,
      this.data.height,
      this.data.title,
      this.data.yLabel,
      this.data.xLabel,
    ]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.build();
    } else {
      this.plot?.setData(this.aligned());
    }
    this.describe();
  }

  destroy() {
    this.offTheme();
    this.resize.disconnect();
    this.plot?.destroy();
    this.box.remove();
  }

  /** uPlot's columns: x, the lines, then the lower and upper edges of the bands. */
  aligned() {
    const { x, series, log } = this.data;
    const bands = series.flatMap((one) => (one.band ? [one.band.low ?? one.band[0], one.band.high ?? one.band[1]] : []));
    return [x, ...series.map((one) => shown(one.values, log)), ...bands.map((values) => shown(values, log))];
  }

  build() {
    this.plot?.destroy();
    this.title.textContent = this.data.title ?? "";
    this.drawLegend();
    this.plot = new uPlot(this.options(), this.aligned(), clear(this.canvas));
  }

  fit() {
    const width = Math.floor(this.canvas.clientWidth);
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this.data.height ?? 180 });
  }

  options() {
    const { series, log, height = 180, xLabel, yLabel } = this.data;
    const axis = {
      stroke: () => colour("--muted"),
      grid: { stroke: () => colour("--line"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui, sans-serif",
      labelFont: "12px system-ui, sans-serif",
      labelSize: 18,
    };
    const lines = series.map((one) => ({
      label: one.label,
      scale: "y",
      stroke: () => colour(one.colour),
      width: one.width ?? 1.75,
      dash: one.dash,
      spanGaps: false,
      points: { show: false },
      paths: this.data.step ? uPlot.paths.stepped({ align: 1 }) : undefined,
    }));
    const edges = [];
    const bands = [];
    series.forEach((one) => {
      if (!one.band) return;
      const at = 1 + series.length + edges.length;
      edges.push({ scale: "y", width: 0, points: { show: false } }, { scale: "y", width: 0, points: { show: false } });
      bands.push({ series: [at + 1, at], fill: () => faded(one.colour) });
    });
    return {
      width: Math.max(120, Math.floor(this.canvas.clientWidth) || 300),
      height,
      legend: { show: false },
      pxAlign: true,
      cursor: { y: false, drag: { x: true, y: false, setScale: true }, points: { size: 7 } },
      scales: { x: { time: false }, y: log ? { distr: 3 } : { range: (_, low, high) => this.range(low, high) } },
      series: [{}, ...lines, ...edges],
      bands,
      axes: [
        { ...axis, label: xLabel, size: 28, space: 60, values: (_, ticks) => ticks.map(short) },
        { ...axis, label: yLabel, size: 46, space: 32, values: (_, ticks) => ticks.map((one) => (one === null ? "" : short(one))) },
      ],
      hooks: { draw: [(plot) => this.drawMarks(plot)], setCursor: [(plot) => this.showValues(plot.cursor.idx)] },
    };
  }

  range(low, high) {
    if (this.data.range) return this.data.range;
    let [from, to] = [low ?? 0, high ?? 1];
    for (const level of this.data.levels ?? []) if (Number.isFinite(level.y)) [from, to] = [Math.min(from, level.y), Math.max(to, level.y)];
    if (from === to) return [from - (Math.abs(from) || 1) / 2, to + (Math.abs(to) || 1) / 2];
    const room = 0.06 * (to - from);
    return [from >= 0 && from < 0.25 * to ? 0 : from - room, to + room];
  }

  drawMarks(plot) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.lineWidth = ratio;
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "left"; // uPlot leaves it centred
    for (const mark of this.data.marks ?? []) {
      const x = Math.round(plot.valToPos(mark.x, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      line(ctx, mark.colour ?? "--muted", [2 * ratio, 3 * ratio], x, bbox.top, x, bbox.top + bbox.height);
      if (mark.label) ctx.fillText(mark.label, x + 4 * ratio, bbox.top + 11 * ratio);
    }
    for (const level of this.data.levels ?? []) {
      if (!Number.isFinite(level.y)) continue;
      const y = Math.round(plot.valToPos(level.y, "y", true));
      line(ctx, level.colour ?? "--muted", [5 * ratio, 4 * ratio], bbox.left, y, bbox.left + bbox.width, y);
    }
    ctx.restore();
  }

  drawLegend() {
    const levels = (this.data.levels ?? []).filter((one) => one.label).map((one) => ({ label: one.label, colour: one.colour ?? "--muted", dash: [5, 4] }));
    this.values = this.data.series.map(() => el("b", {}));
    const items = [...this.data.series, ...levels].map((one, i) => el("li", {}, key(one), el("span", { text: one.label }), this.values[i] ?? null));
    append(clear(this.legend), items);
  }

  showValues(at) {
    this.data.series.forEach((one, i) => {
      const value = at === null || at === undefined ? last(one.values) : one.values[at];
      this.values[i].textContent = Number.isFinite(value) ? this.words_(value) : "";
    });
  }

  words_(value) {
    return this.data.format ? this.data.format(value) : plain(value);
  }

  describe() {
    this.showValues(this.plot?.cursor.idx);
    clearTimeout(this.due);
    this.due = setTimeout(() => (this.words.textContent = this.data.series.map((one) => this.sentence(one)).join(" ")), 400);
  }

  sentence(one) {
    let [low, high, first, end] = [Infinity, -Infinity, null, null];
    for (const value of one.values) {
      if (value === null || value === undefined || !Number.isFinite(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
      first ??= value;
      end = value;
    }
    if (first === null) return t("{label}: no values yet.", { label: one.label });
    const words = { first: this.words_(first), last: this.words_(end), low: this.words_(low), high: this.words_(high) };
    return t("{label}: from {first} to {last}, lowest {low}, highest {high}.", { label: one.label, ...words });
  }
}

function line(ctx, name, dash, x0, y0, x1, y1) {
  ctx.strokeStyle = ctx.fillStyle = colour(name);
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
}

/** The sample of a line in the legend: its colour and its dashes. */
function key(one) {
  const paint = one.colour.startsWith("--") ? `var(${one.colour})` : one.colour;
  const stroke = svg("line", { x1: 0, y1: 5, x2: 18, y2: 5, "stroke-width": 2.5, "stroke-dasharray": one.dash?.join(" "), style: { stroke: paint } });
  return svg("svg", { viewBox: "0 0 18 10", class: "chart-key", "aria-hidden": "true" }, stroke);
}

function faded(name) {
  const probe = colour(name);
  return /^#[0-9a-f]{6}$/i.test(probe) ? `${probe}33` : probe;
}

/** null where there is nothing to draw. The same array where nothing has to change. */
function shown(values, log) {
  const bad = (value) => value === null || value === undefined || !Number.isFinite(value) || (log && value <= 0);
  for (let i = 0; i < values.length; i += 1) {
    if (values[i] !== null && bad(values[i])) return Array.from(values, (value) => (bad(value) ? null : value));
  }
  return values;
}

function last(values) {
  for (let i = values.length - 1; i >= 0; i -= 1) if (Number.isFinite(values[i])) return values[i];
  return null;
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  if (size !== 0 && size < 1e-3) return value.toExponential(0);
  return String(Number(value.toPrecision(4)));
}
