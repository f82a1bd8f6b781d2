// A training to be started: the game's typed configuration as a form. What is typed is checked by the server, by the rules of the command line.

import { getJSON, postJSON } from "../core/api.js";
import { button, number, segmented, select, textField } from "../core/controls.js";
import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import * as state from "../core/state.js";

const WAIT = 350;
const GROUP = { game: () => t("The game's own settings"), training: () => t("Training") };
const FIRST = { game: "gan", data: "toy:ring8" };

/** {node, destroy()}. acts: {started(id), leave()}. */
export function trainingForm(app, acts) {
  const abort = new AbortController();
  const node = el("section", { class: "training-form", testid: "training-form", "aria-label": t("New training") }, el("p", { class: "hint", text: t("Loading…") }));
  let due = 0;
  let offer = null;
  let game = null;
  let fields = new Map(); // name -> {control, base, error, form}
  let parts = null;

  async function load() {
    try {
      offer = await getJSON("/api/research/games", { signal: abort.signal });
      parts = draw();
      await chooseGame(offer.games.some((one) => one.name === state.get("new")) ? state.get("new") : FIRST.game);
      parts.game.input.focus({ preventScroll: true });
    } catch (error) {
      if (error.name !== "AbortError") append(clear(node), el("p", { class: "note bad", role: "alert", text: error.message }));
    }
  }

  function draw() {
    const made = {
      game: select({ label: t("Game"), testid: "form-game", options: offer.games.map((one) => ({ value: one.name, label: one.year ? `${one.name} (${one.year})` : one.name })), onChange: chooseGame }),
      data: select({ label: t("Data"), testid: "form-data", value: FIRST.data, onChange: () => refit(), options: offer.data.map((one) => ({ value: one.id, label: one.label })) }),
      preset: select({ label: t("Preset"), testid: "form-preset", onChange: () => refit() }),
      unit: segmented({ label: t("Length"), testid: "form-length", value: "steps", onChange: showLength, options: [{ value: "steps", label: t("Steps") }, { value: "images", label: t("Images") }, { value: "minutes", label: t("Minutes") }, { value: "", label: t("Preset") }] }),
      steps: number({ label: t("How many steps"), hideLabel: true, min: 1, step: 1, value: 2000, testid: "form-steps", onInput: ask }),
      images: number({ label: t("How many images"), hideLabel: true, min: 1, step: 1, value: 200000, testid: "form-images", onInput: ask }),
      minutes: number({ label: t("How many minutes"), hideLabel: true, min: 0.1, value: 5, testid: "form-minutes", onInput: ask }),
      name: textField({ label: t("Name"), testid: "form-name", onInput: ask, hint: t("Of its folder. Left empty, the game and the data give it one.") }),
      find: textField({ label: t("Search settings"), hideLabel: true, placeholder: t("Search settings"), testid: "form-search", onInput: filter }),
    };
    const about = el("p", { class: "hint" });
    const dataNote = el("p", { class: "hint" });
    const presetNote = el("p", { class: "hint" });
    const errors = Object.fromEntries(["data", "preset", "steps"].map((name) => [name, errorOf(name === "steps" ? [made.steps, made.images, made.minutes] : [made[name]])]));
    const start = button({ label: t("Start training"), icon: "play", kind: "primary", testid: "start", onClick: begin });
    const leave = button({ label: t("Cancel"), kind: "quiet", onClick: acts.leave });
    const groups = el("div", { class: "form-groups" });
    const failed = el("p", { class: "note bad", role: "alert", hidden: true, testid: "form-error" });
    append(clear(node), [
      el("header", { class: "stack" }, el("h1", { text: t("New training") }), el("p", { class: "hint", text: t("At most {count} at once. A training goes on when this page or its server is closed, and can be resumed.", { count: offer.most }) })),
      el("div", { class: "panel form-main" }, el("div", { class: "stack" }, made.game.node, about), el("div", { class: "stack" }, made.data.node, errors.data, dataNote), el("div", { class: "stack" }, made.preset.node, errors.preset, presetNote), el("div", { class: "stack" }, made.unit.node, made.steps.node, made.images.node, made.minutes.node, errors.steps), made.name.node),
      el("div", { class: "spread form-settings-head" }, el("h2", { text: t("Settings") }), made.find.node),
      groups,
      el("div", { class: "form-foot" }, failed, el("div", { class: "toolbar" }, start.node, leave.node)),
    ]);
    return { ...made, about, dataNote, presetNote, errors, groups, start, failed };
  }

  async function chooseGame(name) {
    state.set({ new: name });
    game = await getJSON(`/api/research/games/${encodeURIComponent(name)}`, { signal: abort.signal });
    parts.game.set(name);
    const line = offer.games.find((one) => one.name === name);
    append(clear(parts.about), [line.title !== name && el("b", { text: line.title }), line.title !== name && ". ", line.summary, game.needs_input && ` ${t("It translates pictures: its inputs are made from the data.")}`]);
    parts.preset.setOptions([{ value: "", label: t("The one that fits the data") }, ...game.presets.map((one) => ({ value: one.name, label: one.name }))], "");
    drawFields();
    refit();
    showLength(parts.unit.get());
  }

  function drawFields() {
    fields = new Map();
    clear(parts.groups);
    const groups = new Map();
    for (const form of game.fields) {
      if (form.name === "images") continue;
      if (!groups.has(form.group)) groups.set(form.group, []);
      groups.get(form.group).push(form);
    }
    const order = ["game", ...[...groups.keys()].filter((name) => !(name in GROUP)), "training"].filter((name) => groups.has(name));
    for (const name of order) {
      const changed = el("span", { class: "chip", hidden: true });
      const box = el("details", { class: "panel form-group", "data-group": name }, el("summary", {}, el("span", { text: GROUP[name]?.() ?? name }), changed), el("div", { class: "form-grid" }, groups.get(name).map((form) => fieldOf(form, name, changed))));
      parts.groups.append(box);
    }
  }

  function fieldOf(form, group, changed) {
    const common = { label: form.name.split(".").at(-1), hint: form.help, testid: `form-${form.name}` };
    const onChange = () => {
      mark(form.name);
      ask();
    };
    const choices = form.input === "switch" ? ["true", "false"] : form.choices;
    const control = choices.length
      ? select({ ...common, value: form.default, options: [...(form.optional ? ["none"] : []), ...choices].map((one) => ({ value: one, label: wordOf(form, one) })), onChange })
      : textField({ ...common, value: form.default, onInput: onChange });
    if (form.input === "number" || form.input === "whole") control.input.inputMode = form.input === "whole" ? "numeric" : "decimal";
    const error = errorOf([control]);
    control.node.append(error);
    control.node.title = form.type;
    fields.set(form.name, { control, base: form.default, error, form, changed, group });
    return control.node;
  }

  function mark(name) {
    const one = fields.get(name);
    one.control.node.classList.toggle("changed", one.control.get() !== one.base);
    const many = [...fields.values()].filter((other) => other.group === one.group && other.control.get() !== other.base).length;
    one.changed.hidden = many === 0;
    one.changed.textContent = t("{count} changed", { count: many });
  }

  /** Another preset or other data: what was not touched shows the values that will hold. */
  function refit() {
    if (!game) return; // the first one is still on its way
    const data = offer.data.find((one) => one.id === parts.data.get());
    parts.dataNote.textContent = data?.note ?? "";
    const chosen = game.presets.find((one) => one.name === parts.preset.get());
    const likely = chosen ?? game.presets.find((one) => one.auto && one.kind === data.kind && (data.kind === "points" || (data.size > 0 && data.size <= one.max_size)));
    parts.presetNote.textContent = likely ? [chosen ? "" : t("That is {preset}.", { preset: likely.name }), likely.note].filter(Boolean).join(" ") : t("It is chosen when the data have been opened.");
    for (const [name, one] of fields) {
      const untouched = one.control.get() === one.base;
      one.base = likely?.values[name] ?? one.form.default;
      if (untouched) one.control.set(one.base);
      mark(name);
    }
    ask();
  }

  function showLength(unit) {
    for (const name of ["steps", "images", "minutes"]) parts[name].node.hidden = name !== unit;
    ask();
  }

  function filter() {
    const words = parts.find.get().toLowerCase();
    for (const box of parts.groups.children) {
      const mine = [...fields.values()].filter((one) => one.group === box.dataset.group);
      let some = 0;
      for (const one of mine) {
        const fits = `${one.form.name} ${one.form.help}`.toLowerCase().includes(words);
        one.control.node.hidden = !fits;
        some += fits;
      }
      box.hidden = some === 0;
      if (words) box.open = some > 0;
    }
  }

  function order() {
    const unit = parts.unit.get();
    const changed = [...fields].filter(([, one]) => one.control.get() !== one.base).map(([name, one]) => [name, one.control.get()]);
    return { game: game.name, data: parts.data.get(), preset: parts.preset.get() || null, fields: Object.fromEntries(changed), name: parts.name.get() || null, ...(unit ? { [unit]: parts[unit].get() } : {}) };
  }

  function ask() {
    clearTimeout(due);
    due = setTimeout(() => check().catch((error) => error.name !== "AbortError" && say(error.message)), WAIT);
  }

  /** Whether all is right; what is not stands beside its field. */
  async function check() {
    const { fields: wrong } = await postJSON("/api/research/check", order(), { signal: abort.signal });
    for (const name of ["data", "preset", "steps"]) parts.errors[name].say(wrong[name] ?? "");
    for (const [name, one] of fields) one.error.say(wrong[name] ?? "");
    const known = new Set([...fields.keys(), "data", "preset", "steps"]);
    const rest = Object.entries(wrong).filter(([name]) => !known.has(name)).map(([, why]) => why);
    say(rest.join(" "));
    return Object.keys(wrong).length === 0;
  }

  function say(text) {
    parts.failed.textContent = text;
    parts.failed.hidden = !text;
  }

  async function begin() {
    parts.start.disable(true);
    clearTimeout(due);
    try {
      if (await check()) acts.started((await postJSON("/api/research/trainings", order(), { signal: abort.signal })).id);
      else firstWrong();
    } catch (error) {
      if (error.name !== "AbortError") say(error.message);
    }
    parts.start.disable(false);
  }

  function firstWrong() {
    const bad = node.querySelector("[aria-invalid=true]");
    const box = bad?.closest("details");
    if (box) box.open = true;
    bad?.focus();
    app.announce(t("Some settings are not right. Each says why."));
  }

  load();
  return { node, destroy: () => (clearTimeout(due), abort.abort()) };
}

function wordOf(form, value) {
  const word = form.input === "switch" ? (value === "true" ? t("yes") : t("no")) : value;
  return value === form.default ? t("{value} (default)", { value: word }) : word;
}

/** The place of an error beside its controls: say(text) shows it and ties it to them, say("") takes it away. */
function errorOf(controls) {
  const node = el("p", { class: "field-error", hidden: true });
  node.id = `${controls[0].input.id}-error`;
  const before = controls.map((one) => one.input.getAttribute("aria-describedby") ?? "");
  node.say = (text) => {
    node.textContent = text;
    node.hidden = !text;
    controls.forEach((one, i) => {
      one.input.setAttribute("aria-invalid", String(Boolean(text)));
      one.input.setAttribute("aria-describedby", `${before[i]} ${text ? node.id : ""}`.trim());
    });
  };
  return node;
}
