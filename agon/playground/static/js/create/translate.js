// A translator: a picture goes in, its translation comes out beside it.

import { getBlob, upload } from "../core/api.js";
import { button, number, select, slider, toggle } from "../core/controls.js";
import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import * as state from "../core/state.js";
import { fileName, save } from "./files.js";

const EXAMPLES = 6;

export class TranslateView {
  constructor({ run, fields, stage, app }) {
    Object.assign(this, { run, fields, stage, app });
    this.addresses = new Map();
    this.given = null;
    this.derive = state.get("derive") === "1";
    this.seed = Number(state.get("seed")) || 0;
    this.label = run.classes.includes(state.get("class")) ? state.get("class") : (run.classes[0] ?? null);
    this.direction = run.directions.includes(state.get("direction")) ? state.get("direction") : (run.directions[0] ?? null);
  }

  async start() {
    this.drawFields();
    const input = el("input", { type: "file", accept: "image/*", id: "create-file", testid: "file", on: { change: () => input.files[0] && this.take(input.files[0]) } });
    const drop = el("div", { class: "drop", testid: "drop" }, el("label", { for: "create-file", text: t("Drop a picture anywhere, or choose one:") }), input);
    this.examples = el("div", { class: "examples toolbar", role: "group", "aria-label": t("Inputs from the run's own data") });
    this.status = el("p", { class: "hint", role: "status", testid: "translate-status" });
    this.problem = el("p", { class: "note bad", role: "alert", hidden: true, testid: "translate-problem" });
    this.before = el("img", { alt: t("Input"), testid: "before" });
    this.after = el("img", { alt: t("Output"), testid: "after" });
    const keep = button({ label: t("Save picture"), icon: "download", testid: "save-picture", onClick: () => this.keep() });
    this.pair = el("div", { class: "pair", hidden: true, testid: "result" },
      el("figure", {}, this.before, el("figcaption", { text: t("Input") })),
      el("figure", {}, this.after, el("figcaption", { class: "spread" }, el("span", { text: t("Output") }), keep.node)));
    append(this.stage, el("section", { class: "panel stack" }, drop, this.examples, this.status, this.problem, this.pair));
    this.write();
    await this.loadExamples();
  }

  drawFields() {
    const { run } = this;
    const fields = [];
    if (run.classes.length) fields.push(select({ label: t("Class"), testid: "class", value: this.label, options: run.classes.map((name) => ({ value: name, label: name })), onChange: (label) => this.change({ label }) }).node);
    if (run.directions.length > 1) fields.push(select({ label: t("Direction"), testid: "direction", value: this.direction, options: run.directions.map((name) => ({ value: name, label: name })), onChange: (direction) => this.change({ direction }) }).node);
    if (run.derive) fields.push(toggle({ label: t("a photograph: make the input of it first"), testid: "derive", checked: this.derive, onChange: (derive) => this.change({ derive }) }).node);
    fields.push(number({ label: t("Seed"), testid: "seed", min: 0, max: 999_999, step: 1, value: this.seed, onChange: (seed) => this.change({ seed }) }).node);
    this.zoom = slider({ label: t("Size of the pictures"), min: 120, max: 720, step: 20, value: 360, format: (value) => t("{count} px", { count: value }), onInput: (value) => this.pair.style.setProperty("--shown", `${value}px`) });
    append(clear(this.fields), [...fields, this.zoom.node]);
  }

  write() {
    state.set({ run: this.run.id, seed: this.seed || null, class: this.run.classes.length ? this.label : null, direction: this.run.directions.length > 1 ? this.direction : null, derive: this.derive ? "1" : null });
  }

  change(values) {
    Object.assign(this, values);
    this.write();
    if (this.given) this.translate();
  }

  /** Inputs of the run's own data, where they are still there. */
  async loadExamples() {
    const names = Array.from({ length: EXAMPLES }, (_, index) => index);
    for (const index of names) {
      try {
        const { blob } = await getBlob("/api/create/inputs", { params: { run: this.run.id, index } });
        const shown = el("button", { type: "button", class: "example", testid: `example-${index}`, "aria-label": t("Example {number}", { number: index + 1 }), on: { click: () => this.take(blob, true) } }, el("img", { src: this.addressOf(`example-${index}`, blob), alt: "" }));
        append(this.examples, shown);
      } catch (error) {
        append(this.examples, el("p", { class: "hint", text: error.message }));
        return;
      }
    }
  }

  /** A picture from the reader; example: one of the data's, which is an input already. */
  take(file, example = false) {
    this.given = { file, example };
    this.before.src = this.addressOf("before", file);
    this.translate();
  }

  async translate() {
    this.request?.abort();
    const mine = (this.request = new AbortController());
    this.status.textContent = t("Translating ...");
    this.problem.hidden = true;
    try {
      const { blob } = await upload("/api/translate", this.given.file, this.asked(), { signal: mine.signal });
      if (mine !== this.request) return;
      this.after.src = this.addressOf("after", blob);
      this.pair.hidden = false;
      this.status.textContent = t("Done.");
    } catch (error) {
      if (error.name === "AbortError") return;
      this.status.textContent = "";
      this.problem.textContent = error.message;
      this.problem.hidden = false;
    }
  }

  asked() {
    const { run } = this;
    const derive = this.derive && !this.given.example ? "1" : null;
    return { run: run.id, seed: this.seed, label: run.classes.length ? this.label : null, direction: run.directions.length > 1 ? this.direction : null, derive };
  }

  /** The same picture as a file that says with which settings it was made. */
  async keep() {
    if (!this.given) return;
    this.write();
    state.flush();
    try {
      const { blob } = await upload("/api/translate", this.given.file, { ...this.asked(), state: state.text() });
      save(blob, fileName(this.run.name, "translated", "png"));
    } catch (error) {
      this.status.textContent = error.message;
    }
  }

  addressOf(name, blob) {
    if (this.addresses.has(name)) URL.revokeObjectURL(this.addresses.get(name));
    this.addresses.set(name, URL.createObjectURL(blob));
    return this.addresses.get(name);
  }

  leave() {
    this.request?.abort();
    for (const address of this.addresses.values()) URL.revokeObjectURL(address);
  }
}
