// Configurations field by field: of one run, or of several with their differences first.

import { button, textField } from "../core/controls.js";
import { append, clear, el } from "../core/dom.js";
import { plain, t } from "../core/i18n.js";
import { eventWord, valueText, whole } from "./words.js";

const LATE = /^(versions|data\.spec|data\.fingerprint)/; // what is seldom looked for comes last

/** {node, update(runs), destroy()}. */
export function settings(app) {
  const node = el("div", { class: "settings" });
  const find = textField({ label: t("Search fields"), hideLabel: true, placeholder: t("Search fields"), testid: "search-fields", onInput: () => draw() });
  const holder = el("div", { class: "scroll", testid: "config-diff" });
  const line = el("code", { class: "command" });
  const copy = button({ label: t("Copy"), kind: "quiet", onClick: copied });
  const again = el("section", { class: "panel command-panel" }, el("div", { class: "spread" }, el("h2", { text: t("The command") }), copy.node), el("pre", {}, line));
  append(node, [again, find.node, holder]);
  let runs = [];
  let before = "";

  async function copied() {
    try {
      await navigator.clipboard.writeText(line.textContent);
      app.toast(t("Copied."));
    } catch {
      app.toast(t("The browser did not allow it."), { kind: "bad" });
    }
  }

  function update(next) {
    const key = JSON.stringify(next.map((run) => [run.id, run.name, run.detail?.flat, run.detail?.command]));
    if (key === before) return;
    before = key;
    runs = next;
    again.hidden = runs.length !== 1 || !runs[0].detail?.command;
    line.textContent = runs.length === 1 ? (runs[0].detail?.command ?? "") : "";
    draw();
  }

  function draw() {
    const words = find.get().toLowerCase();
    const names = [...new Set(runs.flatMap((run) => Object.keys(run.detail?.flat ?? {})))].filter((name) => name.toLowerCase().includes(words));
    names.sort((a, b) => LATE.test(a) - LATE.test(b));
    const text = (run, name) => (name in (run.detail?.flat ?? {}) ? valueText(run.detail.flat[name]) : "");
    const differ = runs.length > 1 ? names.filter((name) => new Set(runs.map((run) => text(run, name))).size > 1) : [];
    const same = names.filter((name) => !differ.includes(name));
    clear(holder);
    if (runs.length > 1) {
      append(holder, [el("h2", { text: t("What differs: {count}", { count: differ.length }) }), differ.length ? fieldTable(differ, runs, text) : el("p", { class: "hint", text: t("Nothing: these runs have the same settings.") })]);
      append(holder, el("details", {}, el("summary", { text: t("The same in all: {count}", { count: same.length }) }), fieldTable(same, runs.slice(0, 1), text, false)));
    } else {
      append(holder, names.length ? fieldTable(names, runs, text, false) : el("p", { class: "hint", text: t("There is no configuration to show.") }));
    }
  }

  return { node, update, destroy() {} };
}

function fieldTable(names, runs, text, heads = true) {
  const head = heads && el("thead", {}, el("tr", {}, el("th", { scope: "col", text: t("Field") }), runs.map((run) => el("th", { scope: "col" }, el("span", { class: "swatch inline", "aria-hidden": "true", style: { "--swatch": `var(${run.colour ?? "--muted"})` } }), run.name))));
  const rows = names.map((name) => el("tr", {}, el("th", { scope: "row" }, el("code", { text: name.replace(/^fields\./, "") })), runs.map((run) => el("td", { text: text(run, name) }))));
  return el("table", { class: "fields" }, head, el("tbody", {}, rows));
}

/** {node, update(runs)}: what happened, the newest first. */
export function happenings() {
  const node = el("div", { class: "scroll", testid: "events" });
  let before = "";

  function update([run]) {
    const events = run?.detail?.events ?? [];
    const key = `${run?.id} ${events.length} ${events.at(-1)?.time}`;
    if (key === before) return;
    before = key;
    const rows = events.slice().reverse().map((event) => {
      const { time = "", event: kind = "", num_images: images = 0, ...rest } = event;
      const said = rest.sentence || rest.message || Object.entries(rest).map(([name, value]) => `${name}: ${typeof value === "number" ? plain(value) : valueText(value)}`).join(", ");
      return el("tr", {}, el("td", { class: "when", text: local(time) }), el("td", { class: "number", text: whole(Number(images) || 0) }), el("td", {}, el("b", { text: eventWord(kind) })), el("td", { text: said }));
    });
    const head = el("tr", {}, [t("Time"), t("Images"), t("Event"), t("What happened")].map((text, i) => el("th", { scope: "col", class: i === 1 ? "number" : null, text })));
    append(clear(node), rows.length ? el("table", {}, el("thead", {}, head), el("tbody", {}, rows)) : el("p", { class: "hint", text: t("Nothing has happened yet.") }));
  }

  return { node, update, destroy() {} };
}

function local(time) {
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? String(time) : at.toLocaleString(document.documentElement.lang, { dateStyle: "short", timeStyle: "medium" });
}
