// Two pictures of the same thing: beside each other, or one over the other with an edge that is moved.

import { segmented, slider } from "../core/controls.js";
import { append, el } from "../core/dom.js";
import { t } from "../core/i18n.js";

export class Compare {
  /** value: "beside" or "wipe"; tool: what stands beside the second caption. */
  constructor({ value, tool, onChange }) {
    this.value = value;
    this.before = el("img", { alt: t("Input"), testid: "before", draggable: "false" });
    this.after = el("img", { alt: t("Output"), testid: "after", draggable: "false" });
    this.edge = el("div", { class: "edge", "aria-hidden": "true" });
    this.pair = el("div", { class: "pair" },
      el("figure", {}, this.before, el("figcaption", { text: t("Input") })),
      el("figure", {}, this.after, el("figcaption", { text: t("Output") })), this.edge);
    const views = [{ value: "beside", label: t("Side by side"), testid: "view-beside" }, { value: "wipe", label: t("Wipe"), testid: "view-wipe" }];
    this.view = segmented({ label: t("Input and output"), hideLabel: true, value, options: views, onChange: (next) => (this.set(next), onChange(next)) });
    this.cut = slider({ label: t("Input up to here"), testid: "wipe", min: 0, max: 100, step: 1, value: 50, format: (at) => `${at} %`, onInput: () => this.draw() });
    this.cut.node.classList.add("wipe-field");
    this.node = el("div", { class: "stack compare", hidden: true, testid: "result" });
    append(this.node, [el("div", { class: "toolbar spread" }, this.view.node, tool), this.pair, this.cut.node]);
    this.pair.addEventListener("pointerdown", (event) => this.drag(event));
    this.pair.addEventListener("pointermove", (event) => event.buttons && this.drag(event));
    this.set(value);
  }

  set(value) {
    this.value = value;
    this.pair.classList.toggle("wipe", value === "wipe");
    this.cut.node.hidden = value !== "wipe";
    this.draw();
  }

  draw() {
    this.pair.style.setProperty("--cut", `${this.cut.get()}%`);
  }

  drag(event) {
    if (this.value !== "wipe" || event.button > 0) return;
    if (event.type === "pointerdown") this.pair.setPointerCapture(event.pointerId);
    const { left, width } = this.after.getBoundingClientRect();
    this.cut.set(Math.round((100 * (event.clientX - left)) / width));
    this.draw();
  }

  /** Shows both at once, so that no picture ever stands beside another's. */
  show(before, after) {
    this.before.src = before;
    this.after.src = after;
    this.node.hidden = false;
  }

  /** The width of a picture in CSS pixels. */
  zoom(pixels) {
    this.pair.style.setProperty("--shown", `${pixels}px`);
  }
}
