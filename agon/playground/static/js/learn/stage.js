// One stage: its picture, its objective, its numbers, and the sentence on what has just happened.

import { button, select } from "../core/controls.js";
import { el } from "../core/dom.js";
import { plain, t } from "../core/i18n.js";
import { onTheme } from "../core/theme.js";
import { HeatPicture, View, drawArrows, drawBoundary, drawFake, drawManifold, drawReal } from "./paint.js";

const LETTERS = ["A", "B", "C", "D"];
const SENTENCE_MS = 1000; // a sentence stays at least this long while playing, so that it can be read

export function stageLetter(index) {
  return LETTERS[index];
}

/** data-testid of a value of a stage: "js" of the first, "js-1" of the second. */
export function stageId(name, index) {
  return index ? `${name}-${index}` : name;
}

/**
 * {node, draw(frame), settle(), …}. hooks: onObjective(index, id), onRemove(index), onCode(index), options, critic words.
 */
export class Stage {
  constructor(index, hooks) {
    Object.assign(this, {
      index,
      hooks,
      heat: new HeatPicture(),
      floors: {},
      said: 0,
      template: "",
      frame: null,
      bounds: [-1, -1, 1, 1],
      real: new Float32Array(0),
      layers: new Set(),
      largest: 0,
    });
    this.canvas = el("canvas", {
      role: "img",
      testid: stageId("canvas", index),
      "aria-label": t("Stage {letter}: real and fake points in the plane", { letter: LETTERS[index] }),
    });
    this.readout = el("p", { class: "stage-readout", "aria-hidden": "true" });
    this.outside = el("p", { class: "stage-outside" });
    this.curtain = el("p", { class: "stage-curtain", hidden: true });
    this.keyLow = el("span");
    this.keyHigh = el("span");
    this.key = el("p", { class: "heat-key" }, this.keyLow, el("span", { class: "heat-bar", "aria-hidden": "true" }), this.keyHigh);
    this.stack = el("div", { class: "stage-canvas" }, this.canvas, this.key, this.readout, this.outside, this.curtain);
    this.narrator = el("p", { class: "narrator", testid: stageId("narrator", index) });
    this.buildHead();
    this.buildNumbers();
    this.node = el(
      "section",
      { class: "stage", testid: `stage-${index}`, "aria-label": t("Stage {letter}", { letter: LETTERS[index] }) },
      this.head,
      this.stack,
      this.narrator,
      this.numbers,
    );
    this.offTheme = onTheme(() => this.paint());
    this.resize = new ResizeObserver(() => this.paint());
    this.resize.observe(this.stack);
    this.canvas.addEventListener("pointermove", (event) => this.read(event));
    this.canvas.addEventListener("pointerleave", () => (this.readout.textContent = ""));
  }

  buildHead() {
    const { index, hooks } = this;
    this.letter = el("span", { class: `stage-letter stage-${index}`, "aria-hidden": "true", text: LETTERS[index] });
    this.objective = select({
      label: t("Objective of stage {letter}", { letter: LETTERS[index] }),
      hideLabel: true,
      testid: stageId("objective", index),
      options: hooks.options.objectives.map((one) => ({ value: one.id, label: t(one.label) })),
      onChange: (id) => hooks.onObjective(index, id),
    });
    const code = button({ label: t("Show me the code"), icon: "code", kind: "quiet", testid: stageId("code", index), onClick: () => hooks.onCode(index) });
    this.remove = button({
      label: t("Take stage {letter} away", { letter: LETTERS[index] }),
      icon: "close",
      kind: "quiet",
      iconOnly: true,
      testid: `remove-${index}`,
      onClick: () => hooks.onRemove(index),
    });
    this.head = el("header", { class: "stage-head" }, this.letter, this.objective.node, code.node, this.remove.node);
  }

  buildNumbers() {
    const item = (name, label, title) => {
      const [value, floor] = [el("b", { testid: stageId(name, this.index) }), el("span", { class: "floor" })];
      this[`${name}Value`] = value;
      this[`${name}Floor`] = floor;
      return el("div", { class: "measure", title }, el("dt", { text: label }), el("dd", {}, value, floor));
    };
    this.numbers = el("dl", { class: "measures" }, [
      item(
        "js",
        t("JS divergence"),
        t("Jensen-Shannon divergence between real and fake, in nats: 0 is the same, 0.693 is nothing in common. In brackets: what a perfect sampler reads."),
      ),
      item(
        "w1",
        t("Wasserstein"),
        t("Wasserstein-1 distance between samples: how far, on average, fakes have to be carried. In brackets: what a perfect sampler reads."),
      ),
      item("modes", t("Modes"), t("How many of the data's clusters get at least a fifth of their share.")),
      item("real", t("D on real"), t("What the discriminator says about real points, on average.")),
      item("fake", t("D on fake"), t("What the discriminator says about fakes, on average.")),
    ]);
  }

  /** After a new game began. */
  opened({ bounds, floors, modes }, choice, count) {
    Object.assign(this, { bounds, floors, frame: null, template: "", said: 0, modes: modes?.length ?? 0 });
    this.show(choice, count);
    const floor = (value) => (value === null || value === undefined ? "" : ` (${plain(value)})`);
    this.jsFloor.textContent = floor(floors.js);
    this.w1Floor.textContent = floor(floors.w1);
    this.modesValue.parentNode.parentNode.hidden = !this.modes;
    this.modesFloor.textContent = this.modes ? ` ${t("of {all}", { all: this.modes })}` : "";
  }

  /** The choices, before the server has answered. */
  show(choice, count) {
    this.objective.set(choice.objective);
    const critic = this.hooks.isScore(this.index);
    this.keyLow.textContent = critic ? t("low score") : t("fake");
    this.keyHigh.textContent = critic ? t("high score") : t("real");
    this.letter.hidden = count < 2;
    this.remove.node.hidden = count < 2;
  }

  /** A text over the picture, or none. stays: until the game goes on. */
  cover(text, stays = false) {
    this.stays = stays;
    this.curtain.textContent = text;
    this.curtain.hidden = !text;
  }

  /** Takes a frame in. `view` = {layers, largest, playing}. */
  draw(frame, part, { layers, largest, playing }) {
    this.frame = { part, array: (name) => (part.arrays[name] ? frame.array(part.arrays[name]) : null) };
    Object.assign(this, { layers, largest, playing });
    if (!this.stays || frame.step > 0 || playing) this.cover("");
    this.paint();
    this.tell(part, playing);
    const { measures, numbers } = part;
    if (measures) {
      this.jsValue.textContent = plain(measures.js);
      this.w1Value.textContent = measures.w1 === null ? "–" : plain(measures.w1);
      this.modesValue.textContent = measures.modes ?? "–";
    }
    if (numbers) {
      this.realValue.textContent = brief(numbers.d_real);
      this.fakeValue.textContent = brief(numbers.d_fake);
    }
  }

  tell({ narration }, playing) {
    if (!narration?.template) return;
    const now = performance.now();
    const live = playing ? "off" : "polite"; // many sentences a second would flood a screen reader
    if (this.narrator.getAttribute("aria-live") !== live) this.narrator.setAttribute("aria-live", live);
    if (playing && now - this.said < SENTENCE_MS) return;
    const text = t(narration.template, narration.values);
    if (this.narrator.textContent === text) return;
    this.said = now;
    this.narrator.textContent = text;
  }

  paint() {
    const size = this.stack.clientWidth;
    if (!size) return;
    const ratio = Math.min(3, devicePixelRatio || 1);
    const pixels = Math.round(size * ratio);
    if (this.canvas.width !== pixels || this.canvas.height !== pixels) this.canvas.width = this.canvas.height = pixels; // a new canvas is 300 x 150
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, size, size);
    const view = new View(this.bounds, size);
    const layers = this.layers;
    const array = (name) => (layers.has(name) || name === "fake" ? this.frame?.array(name) : null);
    const [heat, manifold, arrows, fake] = [array("heat"), array("manifold"), array("gradients"), array("fake")];
    this.key.hidden = !heat;
    if (heat) this.heat.draw(context, heat, size);
    const grow = size > 420 ? 1.15 : size < 240 ? 0.8 : 1;
    if (layers.has("real")) drawReal(context, this.real, view, 2.2 * grow);
    if (heat) drawBoundary(context, heat, size);
    if (manifold) drawManifold(context, manifold, this.frame.part.arrays.manifold.shape, view);
    let outside = 0;
    if (fake && layers.has("fake")) outside = drawFake(context, fake, view, 4 * grow);
    if (arrows) drawArrows(context, arrows, view, this.largest);
    const words = outside ? t("fakes outside: {count}", { count: outside }) : "";
    if (this.outside.textContent !== words) this.outside.textContent = words;
    this.surface?.draw(this, { heat, fake: layers.has("fake") ? fake : null, real: layers.has("real") ? this.real : null });
  }

  /** What the discriminator says where the pointer is. */
  read(event) {
    const heat = this.layers.has("heat") ? this.frame?.array("heat") : null;
    if (!heat) return;
    const box = this.canvas.getBoundingClientRect();
    const side = Math.sqrt(heat.length);
    const column = Math.round(((event.clientX - box.left) / box.width) * (side - 1));
    const row = Math.round((1 - (event.clientY - box.top) / box.height) * (side - 1));
    const value = heat[Math.max(0, Math.min(side - 1, row)) * side + Math.max(0, Math.min(side - 1, column))];
    const critic = this.hooks.isScore(this.index);
    this.readout.textContent = critic ? t("score here: {value} of its range", { value: brief(value) }) : t("D here: {value}", { value: brief(value) });
  }

  /** The map as a surface in space, or flat again. */
  setSurface(surface) {
    this.surface?.destroy();
    this.surface = surface;
    this.canvas.hidden = Boolean(surface);
    if (surface) this.stack.append(surface.node);
    this.paint();
  }

  destroy() {
    this.surface?.destroy();
    this.offTheme();
    this.resize.disconnect();
    this.node.remove();
  }
}

function brief(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return Math.abs(value) < 100 ? value.toFixed(2) : plain(value);
}
