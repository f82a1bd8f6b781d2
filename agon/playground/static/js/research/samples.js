// The sample grids of a run over time: the same latents in every picture, so that one can be followed.

import { button } from "../core/controls.js";
import { append, clear, el, uid } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { calm } from "../core/theme.js";
import * as state from "../core/state.js";
import { count, whole } from "./words.js";

const FRAME = 350;

/** {node, update(runs), destroy()}. runs: [{id, name, colour, grids: [images]}]. */
export function samples() {
  const figures = new Map();
  let runs = [];
  let moments = []; // the images of all grids of all runs, in order
  let at = 0;
  let timer = 0;
  const node = el("div", { class: "samples" });
  const empty = el("p", { class: "hint", text: t("No samples have been drawn yet.") });
  const pictures = el("div", { class: "sample-grid" });
  const time = timeSlider((index) => choose(index, true));
  const play = button({ label: t("Play"), icon: "play", iconOnly: true, testid: "grid-play", onClick: () => (timer ? pause() : run()) });
  const note = el("p", { class: "hint", text: t("The latents are the same in every picture, so a place can be followed through the training.") });
  const bar = el("div", { class: "sample-bar" }, play.node, time.node);
  append(node, [empty, bar, pictures, note]);

  function words(index) {
    return moments.length ? t("{count} images", { count: whole(moments[Math.min(index, moments.length - 1)] ?? 0) }) : "";
  }

  function update(next) {
    runs = next;
    const before = moments;
    const atEnd = at >= before.length - 1 && !state.get("grid");
    moments = [...new Set(runs.flatMap((run) => run.grids))].sort((a, b) => a - b);
    const some = moments.length > 0;
    empty.hidden = some;
    for (const part of [bar, pictures, note]) part.hidden = !some;
    time.fit(moments.length);
    const asked = Number(state.get("grid", ""));
    const kept = asked ? moments.findIndex((images) => images >= asked) : before.length ? moments.indexOf(before[at]) : -1;
    choose(atEnd || kept < 0 ? moments.length - 1 : kept, false);
  }

  function choose(index, remember) {
    at = Math.max(0, Math.min(index, moments.length - 1));
    time.set(at, words(at));
    if (remember) state.set({ grid: at === moments.length - 1 ? null : moments[at] });
    draw();
  }

  function draw() {
    const wanted = new Set(runs.map((run) => run.id));
    for (const id of [...figures.keys()]) if (!wanted.has(id)) {
      figures.get(id).node.remove();
      figures.delete(id);
    }
    for (const run of runs) {
      if (!figures.has(run.id)) {
        figures.set(run.id, figure());
        pictures.append(figures.get(run.id).node);
      }
      figures.get(run.id).show(run, latest(run.grids, moments[at]), runs.length > 1);
    }
    pictures.classList.toggle("several", runs.length > 1);
  }

  function run() {
    if (at >= moments.length - 1) choose(0, true);
    play.set(t("Pause"), "pause");
    timer = setInterval(() => (at >= moments.length - 1 ? pause() : choose(at + 1, true)), calm() ? 1000 : FRAME);
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    play.set(t("Play"), "play");
  }

  return { node, update, destroy: pause };
}

/** A slider over moments whose number grows while a training runs: {node, fit(count), set(index, words)}. */
function timeSlider(onInput) {
  const id = uid("time");
  const shown = el("output", { class: "field-value", for: id });
  const input = el("input", { type: "range", id, min: 0, max: 1, step: 1, testid: "grid-slider", on: { input: () => onInput(Number(input.value)) } });
  const node = el("div", { class: "field" }, el("div", { class: "field-head" }, el("label", { for: id, text: t("After so many images") }), shown), input);
  const fit = (many) => {
    input.max = String(Math.max(1, many - 1));
    input.disabled = many < 2;
  };
  const set = (index, words) => {
    input.value = String(index);
    shown.textContent = words;
    input.setAttribute("aria-valuetext", words);
    input.style.setProperty("--filled", `${(100 * index) / Number(input.max)}%`);
  };
  return { node, fit, set };
}

/** The grid that a run had drawn last when so many images were seen. */
function latest(grids, images) {
  return grids.filter((one) => one <= images).at(-1) ?? null;
}

function figure() {
  const picture = el("img", { alt: "", class: "pixels" });
  const missing = el("p", { class: "hint", text: t("No picture this early.") });
  const caption = el("figcaption", {});
  const node = el("figure", {}, picture, missing, caption);
  let wanted = "";

  async function show(run, images, named) {
    append(clear(caption), [named && el("span", { class: "swatch", "aria-hidden": "true", style: { "--swatch": `var(${run.colour})` } }), named && `${run.name} `, images === null ? "" : el("span", { class: "hint number", text: t("{count} images", { count: count(images) }) })]);
    missing.hidden = images !== null;
    picture.hidden = images === null;
    if (images === null) return;
    const source = `/api/research/runs/${encodeURIComponent(run.id)}/samples/${images}.png`;
    if (source === wanted) return;
    wanted = source;
    // Swapped only once it is there, so that nothing flickers.
    const next = new Image();
    next.src = source;
    try {
      await next.decode();
    } catch {
      return;
    }
    if (wanted !== source) return;
    picture.src = source;
    picture.alt = t("Samples of {name} after {count} images", { name: run.name, count: whole(images) });
  }

  return { node, show };
}
