// Research: the runs on the left, one of them or a comparison on the right. The state lives in the address:
// run (the open one), with (slot:id,slot:id — what is compared, each with its colour), view (compare), tab, new (the form), x, smooth, log, grid.

import { button, number, tabs, dialog } from "../core/controls.js";
import { postJSON } from "../core/api.js";
import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import * as state from "../core/state.js";
import { curves, curveTools } from "./curves.js";
import { trainingForm } from "./form.js";
import { ordered, runList, set, stateBadge } from "./list.js";
import { measures } from "./measures.js";
import { samples } from "./samples.js";
import { happenings, settings } from "./settings.js";
import { POINTS, POINTS_OVERLAID, Store } from "./store.js";
import { STATES, count, duration, healthWord } from "./words.js";

const EVERY = 1500; // ms between two looks
const AT_ONCE = 250; // while logs are still being read by the server
const SLOTS = 8;
const store = new Store(); // outlives the room: coming back shows at once what was there

export async function mount(root, app) {
  const room = new Room(root, app);
  await room.begin();
  return () => room.end();
}

/** Colour slot by id, out of the address. */
function slotsOf(text) {
  const found = new Map();
  for (const part of text.split(",")) {
    const [slot, id] = [Number(part.split(":")[0]), part.split(":").slice(1).join(":")];
    if (id && Number.isInteger(slot) && slot >= 0 && slot < SLOTS && ![...found.values()].includes(slot)) found.set(id, slot);
  }
  return found;
}

class Room {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.abort = new AbortController();
    this.timer = 0;
    this.view = null; // what is on the right: {key, node, update(), destroy()}
    this.list = runList({ open: (id) => this.open(id), overlay: (id, on) => this.overlay(id, on), compare: () => this.compare(), create: () => this.create() });
    this.right = el("div", { class: "run-view" });
    this.trouble = el("p", { class: "note bad", role: "status", hidden: true });
    append(root, el("div", { class: "research" }, this.list.node, el("div", { class: "run-side" }, this.trouble, this.right)));
    this.frame = root.firstChild;
  }

  async begin() {
    this.off = state.onChange(() => this.show());
    this.seen = () => document.hidden || this.look();
    document.addEventListener("visibilitychange", this.seen);
    this.app.setHelp([["Tab", t("From run to run")], ["Space", t("Lay a run over the others")], ["← →", t("Move a slider, or change the tab")]]);
    await this.look();
  }

  end() {
    clearTimeout(this.timer);
    this.abort.abort();
    this.off?.();
    document.removeEventListener("visibilitychange", this.seen);
    this.view?.destroy();
  }

  /** Asks for what is new and draws it; then again after a while, as long as the page is seen. */
  async look() {
    clearTimeout(this.timer);
    const mine = (this.turn = (this.turn ?? 0) + 1);
    const begun = performance.now();
    try {
      await store.readList(this.abort.signal);
      this.tell();
      this.draw();
      await this.follow();
      this.say("");
    } catch (error) {
      if (error.name === "AbortError") return;
      this.say(error.message);
    }
    if (mine !== this.turn || this.abort.signal.aborted || document.hidden) return;
    const took = performance.now() - begun; // a server with a thousand runs is not asked all the time
    this.timer = setTimeout(() => this.look(), store.rows.some((row) => row.reading) ? AT_ONCE : Math.max(EVERY, 3 * took));
  }

  async follow() {
    const chosen = this.chosen();
    const ids = chosen.view === "compare" ? [...chosen.slots.keys()] : chosen.view === "run" && chosen.run ? [chosen.run] : [];
    const most = ids.length > 1 ? POINTS_OVERLAID : POINTS;
    const told = () => this.abort.signal.aborted || this.view?.update();
    await Promise.all(ids.map((id) => store.follow(id, most, this.abort.signal, told)));
  }

  /** Draws what was just chosen without waiting for the list. */
  show() {
    this.draw();
    this.follow().catch((error) => error.name === "AbortError" || this.say(error.message));
  }

  /** Says what has become of a run, to those who do not see the list. */
  tell() {
    const before = this.states;
    this.states = new Map(store.rows.map((row) => [row.id, row.state]));
    if (!before) return;
    const news = store.rows.filter((row) => before.has(row.id) && before.get(row.id) !== row.state);
    if (news.length) this.app.announce(news.map((row) => t("{name}: {state}", { name: row.name, state: STATES[row.state].word() })).join(". "));
  }

  say(text) {
    set(this.trouble, text);
    this.trouble.hidden = !text;
  }

  /** What is chosen: {view: run | compare | new | none, run, slots}. */
  chosen() {
    const known = new Set(store.rows.map((row) => row.id));
    const slots = new Map([...slotsOf(state.get("with"))].filter(([id]) => known.has(id)));
    if (state.get("new")) return { view: "new", run: "", slots };
    if (state.get("view") === "compare" && slots.size > 1) return { view: "compare", run: "", slots };
    const asked = state.get("run");
    const wide = matchMedia("(min-width: 861px)").matches;
    const run = known.has(asked) ? asked : wide ? (ordered(store.rows)[0]?.id ?? "") : "";
    return { view: run ? "run" : "none", run, slots };
  }

  draw() {
    const chosen = this.chosen();
    this.list.update(store.rows, chosen);
    this.frame.dataset.view = chosen.view === "run" && !state.get("run") ? "list" : chosen.view;
    this.frame.classList.toggle("empty", store.rows.length === 0);
    const key = chosen.view === "run" ? `run ${chosen.run}` : chosen.view === "compare" ? `compare ${[...chosen.slots].join(" ")}` : chosen.view;
    if (this.view?.key !== key) {
      this.view?.destroy();
      this.view = this.viewOf(chosen, key);
      append(clear(this.right), this.view.node);
    }
    this.view.update();
  }

  viewOf(chosen, key) {
    if (chosen.view === "new") {
      const form = trainingForm(this.app, { started: (id) => this.started(id), leave: () => this.leaveForm() });
      return { key, node: form.node, update() {}, destroy: form.destroy };
    }
    if (chosen.view === "none") return { key, node: store.rows.length ? el("p", { class: "hint", text: t("Choose a run.") }) : welcome(() => this.create()), update() {}, destroy() {} };
    return { key, ...(chosen.view === "compare" ? comparison(chosen.slots, this) : single(chosen.run, this)) };
  }

  open(id) {
    state.set({ run: id, view: null, new: null, grid: null }, { push: true });
    this.show();
    if (!matchMedia("(min-width: 861px)").matches) scrollTo({ top: 0 });
  }

  overlay(id, on) {
    const slots = slotsOf(state.get("with"));
    const free = [...Array(SLOTS).keys()].find((slot) => ![...slots.values()].includes(slot));
    if (on && free !== undefined) slots.set(id, free);
    else slots.delete(id);
    state.set({ with: [...slots].map(([name, slot]) => `${slot}:${name}`).join(",") || null, view: slots.size > 1 ? "compare" : null, new: null });
    this.show();
  }

  compare() {
    state.set({ view: state.get("view") === "compare" ? null : "compare", new: null }, { push: true });
    this.show();
  }

  create() {
    state.set({ new: state.get("new") || "gan", view: null }, { push: true });
    this.draw();
  }

  leaveForm() {
    state.set({ new: null }, { push: true });
    this.show();
  }

  started(id) {
    state.set({ new: null, run: id, view: null, tab: null }, { push: true });
    this.app.toast(t("The training is being started."));
    this.look();
  }

  back() {
    state.set({ run: null, view: null }, { push: true });
    this.draw();
  }

  async act(path, body, said) {
    try {
      await postJSON(path, body, { signal: this.abort.signal });
      this.app.toast(said);
      await this.look();
    } catch (error) {
      if (error.name !== "AbortError") this.app.toast(error.message, { kind: "bad", seconds: 8 });
    }
  }
}

/** The tabs of a view: {node, shown()}. Only the one that is seen is kept up to date (shown), and it is the one that the address names. */
function tabbed(views, labels, onChange) {
  const tools = curveTools(onChange);
  const parts = Object.entries(views).map(([id, view]) => ({ id, label: labels[id](), node: id === "curves" ? el("div", {}, tools.node, view.node) : view.node }));
  const wanted = () => (state.get("tab") in views ? state.get("tab") : "curves");
  const made = tabs({ label: t("About this run"), tabs: parts, value: wanted(), onChange: (id) => (state.set({ tab: id === "curves" ? null : id }), onChange()) });
  const shown = () => {
    tools.sync();
    if (made.get() !== wanted()) made.set(wanted());
    return views[made.get()];
  };
  return { node: made.node, shown };
}

const TABS = { curves: () => t("Curves"), samples: () => t("Samples"), metrics: () => t("Measured"), settings: () => t("Settings"), events: () => t("Events") };

function single(id, room) {
  const badge = stateBadge();
  const title = el("h1", { class: "run-title" });
  const under = el("p", { class: "hint" });
  const back = button({ label: t("All runs"), icon: "back", kind: "quiet", className: "back", onClick: () => room.back() });
  const path = `/api/research/runs/${encodeURIComponent(id)}`;
  const stop = button({ label: t("Stop"), icon: "stop", testid: `stop-${id}`, title: t("Saves and leaves; it can be resumed."), onClick: () => room.act(`${path}/stop`, {}, t("It saves and stops.")) });
  const resume = button({ label: t("Resume"), icon: "play", testid: `resume-${id}`, onClick: () => room.act(`${path}/resume`, {}, t("The training is being resumed.")) });
  const further = button({ label: t("Train further"), icon: "play", testid: `further-${id}`, onClick: () => askFurther(id, room) });
  const facts = el("dl", { class: "facts" });
  const health = healthBox();
  const trouble = el("div", { class: "stack" });
  const views = { curves: curves(), samples: samples(), metrics: measures(), settings: settings(room.app), events: happenings() };
  const made = tabbed(views, TABS, () => update());
  const head = el("header", { class: "run-header" }, back.node, el("div", { class: "run-heading" }, el("div", { class: "run-naming" }, title, badge.node), el("div", { class: "toolbar" }, stop.node, resume.node, further.node)), under, facts);
  const node = el("article", { class: "stack run-detail" }, head, trouble, health.node, made.node);

  function update() {
    const row = store.row(id);
    if (!row) return;
    const detail = store.details.get(id);
    set(title, row.name);
    badge.update(row);
    set(under, [row.game, row.data, row.preset && t("preset {name}", { name: row.preset }), row.game && t("seed {seed}", { seed: row.seed })].filter(Boolean).join(" · "));
    drawFacts(facts, row);
    stop.node.hidden = !row.ours && row.state !== "training";
    stop.disable(!row.ours || row.stopping);
    stop.node.title = row.ours ? t("Saves and leaves; it can be resumed.") : t("It was not started from this page: stop it where it was started, with Ctrl-C.");
    resume.node.hidden = !(["stopped", "stale", "failed"].includes(row.state) && row.total > 0) || row.ours;
    further.node.hidden = row.state !== "finished" || !row.total;
    drawTrouble(trouble, row);
    health.update(row, detail);
    const run = { id, name: row.name, colour: null, log: store.log(id), events: detail?.events ?? [], grids: detail?.grids ?? [], detail };
    made.shown().update([run]);
  }

  return { node, update, destroy: () => Object.values(views).forEach((one) => one.destroy()) };
}

function drawFacts(node, row) {
  const left = row.state === "training" && row.speed > 0 && row.total > row.images ? duration((row.total - row.images) / row.speed) : "";
  const facts = [
    [t("images"), row.total ? `${count(row.images)} / ${count(row.total)}` : count(row.images)],
    [t("steps"), count(row.steps)],
    [t("training time"), duration(row.seconds)],
    [t("images/s"), row.speed ? count(row.speed) : "–"],
    left ? [t("time left"), left] : null,
  ].filter(Boolean);
  const key = facts.map(([name]) => name).join();
  if (node.dataset.key !== key) append(clear(node), facts.map(([name]) => el("div", {}, el("dt", { text: name }), el("dd", { class: "number" }))));
  node.dataset.key = key;
  facts.forEach(([, value], i) => set(node.children[i].lastChild, value));
}

function drawTrouble(node, row) {
  const words = [...row.problems.map((text) => ["warn", text]), ...(row.why && row.state !== "waiting" ? [[row.state === "failed" ? "bad" : "warn", row.why]] : []), ...(row.state === "waiting" ? [["", row.why]] : [])];
  const key = JSON.stringify(words);
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  node.hidden = words.length === 0;
  append(clear(node), words.map(([kind, text]) => el("p", { class: `note ${kind}`, text })));
}

function healthBox() {
  const sentence = el("p", { class: "health-words" });
  const advice = el("p", { class: "hint" });
  const strip = el("div", { class: "health-strip", role: "img" });
  const node = el("section", { class: "health", "aria-label": t("Health") }, sentence, advice, strip);

  function update(row, detail) {
    node.hidden = !row.health;
    if (!row.health) return;
    node.dataset.tone = row.health.tone;
    set(sentence, row.health.sentence);
    set(advice, row.health.advice);
    advice.hidden = !row.health.advice;
    const spans = detail?.spans ?? [];
    const key = JSON.stringify([spans, row.images]);
    if (strip.dataset.key === key) return;
    strip.dataset.key = key;
    const end = Math.max(row.images, 1);
    const parts = spans.map((span, i) => {
      const to = spans[i + 1]?.images ?? end;
      return el("i", { "data-tone": span.tone, title: `${healthWord(span.state)}: ${count(span.images)} – ${count(to)}`, style: { "flex-grow": String(Math.max(to - span.images, end / 400)) } });
    });
    append(clear(strip), parts);
    strip.setAttribute("aria-label", t("Health over time: {states}", { states: spans.map((span) => healthWord(span.state)).join(", ") }));
  }

  return { node, update };
}

function askFurther(id, room) {
  const row = store.row(id);
  const images = number({ label: t("Images in all"), min: row.images + 1, step: 1, value: row.total * 2, testid: "further-images" });
  const go = button({ label: t("Train further"), kind: "primary", testid: "further-start", onClick: () => {
    asked.close();
    room.act(`/api/research/runs/${encodeURIComponent(id)}/resume`, { images: images.get() }, t("The training is being resumed."));
  } });
  const asked = dialog({ title: t("Train further"), body: [el("p", { text: t("The run has seen {count} images. Schedules that follow the length of a run go on at their end.", { count: count(row.images) }) }), images.node], actions: [go.node] });
  asked.open();
}

function comparison(slots, room) {
  const title = el("h1", { text: t("{count} runs compared", { count: slots.size }) });
  const legend = el("ul", { class: "compare-legend" });
  const back = button({ label: t("All runs"), icon: "back", kind: "quiet", className: "back", onClick: () => room.back() });
  const views = { curves: curves(), samples: samples(), metrics: measures(), settings: settings(room.app) };
  const made = tabbed(views, TABS, () => update());
  append(legend, [...slots].map(([id, slot]) => el("li", {}, el("span", { class: "swatch", "aria-hidden": "true", style: { "--swatch": `var(--run-${slot})` } }), el("button", { type: "button", class: "link", text: store.row(id)?.name ?? id, on: { click: () => room.open(id) } }))));
  const node = el("article", { class: "stack run-detail" }, el("header", { class: "run-header" }, back.node, title, legend), made.node);

  function update() {
    const runs = [...slots].map(([id, slot]) => {
      const detail = store.details.get(id);
      return { id, name: store.row(id)?.name ?? id, colour: `--run-${slot}`, log: store.log(id), events: [], grids: detail?.grids ?? [], detail };
    });
    made.shown().update(runs);
  }

  return { node, update, destroy: () => Object.values(views).forEach((one) => one.destroy()) };
}

/** What is shown where there is no run yet. */
function welcome(create) {
  const start = button({ label: t("Start a training"), icon: "play", kind: "primary", onClick: create });
  return el(
    "div",
    { class: "panel welcome", testid: "no-runs" },
    el("h1", { text: t("No runs yet") }),
    el("p", { text: t("A run is what a training leaves: curves, samples, numbers and checkpoints in one folder. Start one here: eight Gaussians on a circle take a minute on any machine.") }),
    start.node,
    el("p", { class: "hint" }, t("Or in a terminal; it appears here at once:"), " ", el("code", { text: "agon train gan --data toy:ring8 --steps 2000" })),
  );
}
