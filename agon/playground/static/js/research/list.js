// The runs on the left: a row each, changed in place, so that nothing jumps while numbers run.

import { button, textField } from "../core/controls.js";
import { append, clear, el, svg } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { LIVE, STATES, ago, count, healthWord, playerColour } from "./words.js";

const WIDTH = 84;
const HEIGHT = 26;

/** {node, update(rows, chosen)}. acts: {open(id), overlay(id, on), compare(), create()}; chosen: {run, view, slots: Map(id -> colour slot)}. */
export function runList(acts) {
  const items = new Map();
  const title = el("h1", { text: t("Runs") });
  const number = el("span", { class: "hint number" });
  const make = button({ label: t("New training"), icon: "plus", kind: "primary", testid: "new-training", onClick: acts.create });
  const find = textField({ label: t("Search runs"), hideLabel: true, placeholder: t("Search runs"), testid: "search-runs", onInput: () => filter() });
  const compare = button({ label: t("Compare"), icon: "chart", testid: "compare", onClick: acts.compare });
  const none = el("p", { class: "hint", text: t("No run matches."), hidden: true });
  const list = el("ul", { class: "run-list", "aria-label": t("Runs") });
  const tools = el("div", { class: "run-tools" }, find.node, compare.node);
  const node = el("section", { class: "runs", "aria-label": t("Runs") }, el("div", { class: "spread" }, el("div", { class: "runs-title" }, title, number), make.node), tools, list, none);
  let rows = [];

  function filter() {
    const words = find.get().toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = `${row.name} ${row.game} ${row.data} ${STATES[row.state].word()}`.toLowerCase();
      const fits = words.every((word) => text.includes(word));
      items.get(row.id).node.hidden = !fits;
      shown += fits;
    }
    none.hidden = shown > 0 || rows.length === 0;
  }

  function update(next, chosen) {
    rows = ordered(next);
    number.textContent = rows.length ? String(rows.length) : "";
    tools.hidden = rows.length < 2;
    compare.set(chosen.slots.size ? t("Compare {count}", { count: chosen.slots.size }) : t("Compare"));
    compare.disable(chosen.slots.size < 2);
    compare.input.setAttribute("aria-pressed", String(chosen.view === "compare"));
    for (const id of [...items.keys()]) if (!rows.some((row) => row.id === id)) {
      items.get(id).node.remove();
      items.delete(id);
    }
    rows.forEach((row, i) => {
      if (!items.has(row.id)) items.set(row.id, item(row.id, acts));
      const one = items.get(row.id);
      one.update(row, chosen);
      if (list.children[i] !== one.node) list.insertBefore(one.node, list.children[i] ?? null);
    });
    filter();
  }

  return { node, update, focus: (id) => items.get(id)?.open.focus() };
}

/** What trains comes first, then what was changed last: a run that has ended does not move any more. */
export function ordered(rows) {
  return [...rows].sort((a, b) => LIVE.has(b.state) - LIVE.has(a.state) || (LIVE.has(a.state) ? 0 : b.changed - a.changed) || a.name.localeCompare(b.name));
}

function item(id, acts) {
  const check = el("input", { type: "checkbox", testid: `overlay-${id}`, on: { change: () => acts.overlay(id, check.checked) } });
  const name = el("span", { class: "run-name" });
  const badge = stateBadge(`state-${id}`);
  const what = el("span", { class: "run-what" });
  const health = el("b", { class: "run-health" });
  const when = el("span", { class: "run-when number" });
  const picture = svg("svg", { class: "run-sketch", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", preserveAspectRatio: "none" });
  const bar = el("span", {});
  const progress = el("span", { class: "progress", "aria-hidden": "true" }, bar);
  const open = el("button", { type: "button", class: "run-open", on: { click: () => acts.open(id) } }, el("span", { class: "run-head" }, name, badge.node), el("span", { class: "run-body" }, el("span", { class: "run-lines" }, what, el("span", {}, health, when)), picture), progress);
  const node = el("li", { class: "run", testid: `run-${id}` }, el("label", { class: "run-check" }, check, el("span", { class: "run-swatch", "aria-hidden": "true" })), open);
  let drawn = "";

  function update(row, chosen) {
    set(name, row.name);
    badge.update(row);
    check.setAttribute("aria-label", t("Overlay {name}", { name: row.name }));
    const slot = chosen.slots.get(id);
    check.checked = slot !== undefined;
    check.disabled = slot === undefined && (chosen.slots.size >= 8 || (!row.images && !row.total));
    node.style.setProperty("--swatch", slot === undefined ? "transparent" : `var(--run-${slot})`);
    open.setAttribute("aria-current", String(chosen.view === "run" && chosen.run === id));
    node.classList.toggle("chosen", chosen.view === "run" && chosen.run === id);
    const images = row.images ? t("{count} images", { count: count(row.images) }) : "";
    set(what, [row.game, row.data, images].filter(Boolean).join(" · "));
    const bad = row.problems[0] ?? (row.state === "failed" ? row.why : "");
    set(health, bad || (row.health ? healthWord(row.health.state) : row.reading ? t("reading the log…") : ""));
    set(when, bad ? "" : `${health.textContent ? " · " : ""}${ago(row.changed)}`);
    health.dataset.tone = bad ? "bad" : (row.health?.tone ?? "quiet");
    progress.hidden = row.state !== "training" || !row.total;
    bar.style.width = `${Math.min(100, (100 * row.images) / (row.total || 1)).toFixed(1)}%`;
    const key = JSON.stringify(row.sketch);
    if (key !== drawn) sketch(picture, row.sketch);
    drawn = key;
  }

  return { node, update, open };
}

/** {node, update(row)}: the state of a run in a word. */
export function stateBadge(testid) {
  const node = el("span", { class: "badge state", testid });
  const update = (row) => {
    node.className = `badge state ${STATES[row.state].tone}`;
    set(node, row.stopping ? t("stopping") : STATES[row.state].word());
    node.title = row.why;
  };
  return { node, update };
}

/** Each player's loss as a line as large as a word, each on a scale of its own: it shows movement, not size. */
function sketch(picture, lines) {
  clear(picture);
  for (const { player, values } of lines) {
    const finite = values.filter((value) => value !== null);
    if (finite.length < 2) continue;
    const [low, high] = [Math.min(...finite), Math.max(...finite)];
    let path = "";
    let pen = false;
    values.forEach((value, i) => {
      if (value === null) return (pen = false);
      const x = (i / (values.length - 1)) * WIDTH;
      const y = HEIGHT - 2 - ((value - low) / (high - low || 1)) * (HEIGHT - 4);
      path += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      return (pen = true);
    });
    append(picture, svg("path", { d: path, "vector-effect": "non-scaling-stroke", style: { stroke: `var(${playerColour(`${player}/`)})` } }));
  }
}

/** Text that is written only where it is another: selections and screen readers stay undisturbed. */
export function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
