// What was measured: each number with its standard error, its protocol, and what a perfect sampler reaches under the same one.

import { append, clear, el } from "../core/dom.js";
import { plain, t } from "../core/i18n.js";
import { chart } from "../core/plot.js";
import { count, measured, valueText } from "./words.js";

/** {node, update(runs), destroy()}. runs: [{id, name, colour, detail}]. */
export function measures() {
  const node = el("div", { class: "measures" });
  const tables = el("div", { class: "scroll" });
  const cards = el("div", { class: "cards" });
  const plots = el("div", { class: "chart-grid" });
  const empty = el("div", { class: "note" }, el("p", { text: t("Nothing has been measured.") }), el("p", {}, t("Measure this run:"), " ", el("code", { text: "agon evaluate RUN" })), el("p", {}, t("Or while it trains:"), " ", el("code", { text: "agon train … --metrics NAME --every 20k" })));
  append(node, [el("h2", { class: "sr-only", text: t("Measured") }), empty, tables, cards, el("section", { class: "chart-group" }, plots)]);
  const charts = new Map();
  let before = "";

  function update(runs) {
    const key = JSON.stringify(runs.map((run) => [run.id, run.colour, run.detail?.metrics, run.detail?.history]));
    if (key === before) return;
    before = key;
    const some = runs.some((run) => latest(run.detail).length);
    empty.hidden = some;
    clear(cards);
    clear(tables);
    if (some && runs.length > 1) append(tables, table(runs));
    if (runs.length === 1) append(cards, latest(runs[0].detail).map(card));
    drawHistory(runs);
    for (const part of [tables, cards, plots.parentNode]) part.hidden = !part.firstChild?.hasChildNodes();
  }

  function drawHistory(runs) {
    const names = [...new Set(runs.flatMap((run) => (run.detail?.history ?? []).flatMap((line) => line.results.map((one) => one.metric))))];
    for (const name of [...charts.keys()]) if (!names.includes(name)) {
      charts.get(name).made.destroy();
      charts.get(name).cell.remove();
      charts.delete(name);
    }
    for (const name of names) {
      const data = historyOf(name, runs);
      if (charts.has(name)) charts.get(name).made.update(data);
      else {
        const cell = plots.appendChild(el("div", { class: "panel chart-cell", testid: `chart-${name}` }));
        charts.set(name, { cell, made: chart(cell, data) });
      }
    }
  }

  return { node, update, destroy: () => charts.forEach((one) => one.made.destroy()) };
}

/** The newest result of each metric: of metrics.json, else of what was measured while training. */
function latest(detail) {
  const found = new Map();
  for (const line of detail?.history ?? []) for (const one of line.results) found.set(one.metric, one);
  for (const one of detail?.metrics ?? []) if (!found.has(one.metric) || one.num_images >= found.get(one.metric).num_images) found.set(one.metric, one);
  return [...found.values()];
}

function better(one) {
  if (one.better === "lower") return t("lower is better");
  return one.better === "higher" ? t("higher is better") : "";
}

function card(one) {
  const perfect = one.perfect === null ? null : el("p", { class: "hint" }, t("perfect sampler"), " ", el("b", { class: "number", text: one.perfect_deviation === null ? plain(one.perfect) : `${plain(one.perfect)} ± ${plain(one.perfect_deviation)}` }));
  const samples = one.num_real ? t("{fake} samples against {real} real", { fake: count(one.num_fake), real: count(one.num_real) }) : t("{fake} samples", { fake: count(one.num_fake) });
  const protocol = Object.entries(one.protocol).map(([name, value]) => [el("dt", { text: name.replaceAll("_", " ") }), el("dd", { text: valueText(value) })]);
  return el(
    "article",
    { class: "panel measure", testid: `metric-${one.metric}` },
    el("h3", { text: one.metric }),
    el("p", { class: "measure-value number", text: measured(one) }),
    el("p", { class: "hint", text: [better(one), one.num_images ? t("after {count} images", { count: count(one.num_images) }) : ""].filter(Boolean).join(" · ") }),
    perfect,
    el("details", {}, el("summary", { text: t("Protocol") }), el("p", { class: "hint", text: samples }), el("dl", { class: "protocol" }, protocol)),
  );
}

function table(runs) {
  const names = [...new Set(runs.flatMap((run) => latest(run.detail).map((one) => one.metric)))];
  const head = el("tr", {}, el("th", { scope: "col", text: t("Metric") }), runs.map((run) => el("th", { scope: "col", class: "number" }, el("span", { class: "swatch inline", "aria-hidden": "true", style: { "--swatch": `var(${run.colour})` } }), run.name)));
  const rows = names.map((name) => {
    const found = runs.map((run) => latest(run.detail).find((one) => one.metric === name));
    const kind = found.find(Boolean);
    const best = bestOf(found, kind.better);
    return el("tr", {}, el("th", { scope: "row" }, name, el("span", { class: "hint", text: ` ${better(kind)}` })), found.map((one) => el("td", { class: one && one.value === best ? "number best" : "number", text: one ? measured(one) : "–" })));
  });
  const protocols = new Set(runs.flatMap((run) => latest(run.detail).map((one) => JSON.stringify([one.metric, one.num_fake, one.protocol.fingerprint, one.protocol.extractor]))));
  const mixed = protocols.size > names.length ? el("p", { class: "note warn", text: t("Some were measured under different protocols, and cannot be compared number by number: see each run.") }) : null;
  return [mixed, el("table", { testid: "metrics-table" }, el("thead", {}, head), el("tbody", {}, rows))];
}

function bestOf(found, direction) {
  const some = found.filter(Boolean);
  if (!direction || some.length < 2) return null;
  const values = some.map((one) => one.value);
  return new Set(values).size > 1 ? (direction === "lower" ? Math.min : Math.max)(...values) : null;
}

function historyOf(name, runs) {
  const lines = runs.map((run) => new Map((run.detail?.history ?? []).flatMap((line) => line.results.filter((one) => one.metric === name).map((one) => [line.num_images, one]))));
  const x = [...new Set(lines.flatMap((line) => [...line.keys()]))].sort((a, b) => a - b);
  const series = runs.map((run, i) => {
    const found = x.map((images) => lines[i].get(images) ?? null);
    const edge = (sign) => found.map((one) => (one === null ? null : one.value + sign * (one.standard_error ?? 0)));
    return { label: run.colour ? run.name : t("value"), colour: run.colour ?? "--accent", values: bridged(found.map((one) => one?.value ?? null)), band: runs.length === 1 ? [edge(-1), edge(1)] : undefined };
  });
  const perfect = lines.flatMap((line) => [...line.values()]).find((one) => one.perfect !== null)?.perfect;
  return { title: name, x, series, height: 170, levels: perfect === undefined ? [] : [{ y: perfect, label: t("perfect sampler") }] };
}

/** Runs are measured at moments of their own: between two of its own, a line goes on. */
function bridged(values) {
  const at = values.flatMap((value, i) => (value === null ? [] : [i]));
  const out = [...values];
  for (let k = 1; k < at.length; k += 1) for (let i = at[k - 1] + 1; i < at[k]; i += 1) out[i] = values[at[k - 1]] + ((values[at[k]] - values[at[k - 1]]) * (i - at[k - 1])) / (at[k] - at[k - 1]);
  return out;
}
