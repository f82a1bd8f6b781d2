// The chart grid of one run, or of several on the same axes.

import { segmented, slider, toggle } from "../core/controls.js";
import { append, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { chart } from "../core/plot.js";
import * as state from "../core/state.js";
import { along, placeOf, smooth, together } from "./series.js";
import { eventWord, playerColour } from "./words.js";

const MARKED = new Set(["resumed", "rolled back", "nonfinite", "stopped", "damaged", "best", "precision"]);
const NEAR = 0.09; // of the axis: labels nearer to each other would run together

/** What belongs together, in this order: [title, whether a column belongs here, its name on the page]. */
const GROUPS = [
  { title: () => t("Balance"), has: (name) => /^stats\/(.+\/)?(accuracy|diversity)$/.test(name) },
  { title: () => t("Losses"), has: (name) => name.startsWith("terms/") },
  { title: () => t("More statistics"), has: (name) => name.startsWith("stats/") },
  { title: () => t("Pace"), has: (name) => name === "images_per_second" || name === "memory_mb" },
];
const PACE = { images_per_second: () => t("images/s"), memory_mb: () => t("memory, MB") };

/** The axis, smoothing and scale, kept in the address. */
export function curveTools(onChange) {
  const put = (values) => {
    state.set(values);
    onChange();
  };
  const axis = segmented({
    label: t("Axis"), value: state.get("x", "images"), onChange: (value) => put({ x: value === "images" ? null : value }), testid: "axis",
    options: [{ value: "images", label: t("Images") }, { value: "steps", label: t("Steps") }, { value: "seconds", label: t("Seconds") }],
  });
  const smoothing = slider({ label: t("Smoothing"), min: 0, max: 0.99, step: 0.01, value: Number(state.get("smooth", "0")) || 0, testid: "smoothing", format: (value) => (value ? value.toFixed(2) : t("off")), onInput: (value) => put({ smooth: value || null }) });
  const log = toggle({ label: t("Logarithmic"), value: state.get("log") === "1", testid: "log", onChange: (on) => put({ log: on ? "1" : null }) });
  /** As the address says: it may have changed by going back. */
  const sync = () => {
    axis.set(state.get("x", "images"));
    if (document.activeElement !== smoothing.input) smoothing.set(Number(state.get("smooth", "0")) || 0);
    log.set(state.get("log") === "1");
  };
  return { node: el("div", { class: "curve-tools" }, axis.node, smoothing.node, log.node), sync };
}

/** {node, update(runs), destroy()}. runs: [{id, name, colour (null: by player), log: Columns, events}]. */
export function curves() {
  const node = el("div", { class: "curves" });
  const empty = el("p", { class: "hint", text: t("Nothing has been logged yet: the first values come after some steps.") });
  const charts = new Map();
  const parts = GROUPS.map((group) => {
    const grid = el("div", { class: "chart-grid" });
    return { ...group, grid, node: el("section", { class: "chart-group" }, el("h2", { text: group.title() }), grid) };
  });
  append(node, [empty, parts.map((part) => part.node)]);

  function update(runs) {
    const begun = performance.now();
    const axis = state.get("x", "images");
    const names = [...new Set(runs.flatMap((run) => [...run.log.columns.keys()]))].filter((name) => runs.some((run) => (run.log.columns.get(name) ?? []).some((value) => value !== null)));
    const lines = new Map(runs.map((run) => [run.id, along(run.log.columns, axis in { images: 1, steps: 1, seconds: 1 } ? axis : "images")]));
    const marks = runs.length === 1 ? marksOf(runs[0], axis, lines.get(runs[0].id).x) : [];
    const wanted = new Set();
    const taken = new Set();
    for (const part of parts) {
      const mine = names.filter((name) => !taken.has(name) && part.has(name));
      part.node.hidden = mine.length === 0;
      mine.forEach((name, i) => {
        taken.add(name);
        wanted.add(name);
        place(part.grid, name, i);
        draw(name, dataOf(name, runs, lines, marks));
      });
    }
    for (const name of [...charts.keys()]) if (!wanted.has(name)) remove(name);
    empty.hidden = wanted.size > 0;
    if (wanted.size) performance.measure("agon-curves", { start: begun });
  }

  function place(grid, name, i) {
    if (!charts.has(name)) charts.set(name, { cell: el("div", { class: "panel chart-cell", testid: `chart-${shownName(name)}` }), made: null });
    const { cell } = charts.get(name);
    if (grid.children[i] !== cell) grid.insertBefore(cell, grid.children[i] ?? null);
  }

  function draw(name, data) {
    const one = charts.get(name);
    if (one.made) one.made.update(data);
    else one.made = chart(one.cell, data);
  }

  function remove(name) {
    charts.get(name).made?.destroy();
    charts.get(name).cell.remove();
    charts.delete(name);
  }

  return { node, update, destroy: () => [...charts.keys()].forEach(remove) };
}

function shownName(name) {
  return name.replace(/^(terms|stats)\//, "");
}

function dataOf(name, runs, lines, marks) {
  const weight = Math.min(0.99, Number(state.get("smooth", "0")) || 0);
  const logarithmic = state.get("log") === "1";
  const having = runs.filter((run) => run.log.columns.has(name));
  const drawn = having.map((run) => {
    const { x, rows } = lines.get(run.id);
    const column = run.log.columns.get(name);
    return { x, y: smooth(rows.map((row) => column[row]), weight) };
  });
  const { x, values } = together(drawn);
  const positive = values.every((line) => line.every((value) => value === null || value > 0));
  const title = PACE[name]?.() ?? shownName(name);
  const series = having.map((run, i) => ({ label: run.colour ? run.name : t("value"), colour: run.colour ?? playerColour(shownName(name)), values: values[i], width: 1.5 }));
  return { title, x, series, marks, log: logarithmic && positive, height: 170, ...levelsOf(name) };
}

function levelsOf(name) {
  if (/(^|\/)accuracy$/.test(name)) return { range: [0, 1.02], levels: [{ y: 0.5, label: t("guessing") }] };
  if (name === "stats/diversity") return { levels: [{ y: 1, label: t("as the data") }] };
  return {};
}

/** Upright lines where something happened; a label only where it has room. */
function marksOf(run, axis, x) {
  const found = [];
  const span = (x.at(-1) ?? 0) - (x[0] ?? 0);
  let labelled = -Infinity;
  const events = run.events ?? [];
  const best = events.findLast((event) => event.event === "best");
  for (const event of events) {
    if (!MARKED.has(event.event) || (event.event === "best" && event !== best)) continue;
    const at = placeOf(Number(event.num_images) || 0, run.log.columns, axis);
    if (at === null) continue;
    const room = at - labelled > NEAR * span && at < x.at(-1) - NEAR * span;
    if (room) labelled = at;
    found.push({ x: at, label: room ? eventWord(event.event) : "", colour: event.event === "nonfinite" || event.event === "damaged" ? "--bad" : "--muted" });
  }
  return found.slice(-40);
}
