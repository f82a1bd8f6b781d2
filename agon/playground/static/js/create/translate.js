// A translator: a picture goes in, its translation comes out beside it.

import { getBlob, upload } from "../core/api.js";
import { button, number, select, slider, toggle } from "../core/controls.js";
import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import * as state from "../core/state.js";
import { Compare } from "./compare.js";
import { chooser, fileName, save, whole } from "./files.js";

const EXAMPLES = 6;

export class TranslateView {
  constructor({ run, fields, stage, app, open }) {
    Object.assign(this, { run, fields, stage, app, open });
    this.addresses = new Map();
    this.given = null;
    this.derive = state.get("derive") === "1";
    this.seed = whole(state.get("seed"), 0, 999_999);
    this.label = run.classes.includes(state.get("class")) ? state.get("class") : (run.classes[0] ?? null);
    this.direction = run.directions.includes(state.get("direction")) ? state.get("direction") : (run.directions[0] ?? null);
    this.view = state.get("view") === "wipe" ? "wipe" : "beside";
  }

  async start() {
    const input = el("input", { type: "file", accept: "image/*", id: "create-file", testid: "file", on: { change: () => input.files[0] && this.take(input.files[0]) } });
    const drop = el("div", { class: "drop", testid: "drop" }, el("label", { for: "create-file", text: t("Drop a picture anywhere, or choose one:") }), input);
    this.examples = el("div", { class: "examples toolbar", role: "group", "aria-label": t("Inputs from the run's own data") });
    this.status = el("p", { class: "hint", role: "status", testid: "translate-status" });
    this.problem = el("p", { class: "note bad", role: "alert", hidden: true, testid: "translate-problem" });
    const keep = button({ label: t("Save picture"), icon: "download", testid: "save-picture", onClick: () => this.keep() });
    this.compare = new Compare({ value: this.view, tool: keep.node, onChange: (view) => (this.view = view, this.write()) });
    this.drawFields();
    append(this.stage, el("section", { class: "panel stack" }, drop, this.examples, this.status, this.problem, this.compare.node));
    this.write();
    await this.loadExamples();
  }

  drawFields() {
    const { run } = this;
    const named = (names) => names.map((name) => ({ value: name, label: name }));
    const fields = [];
    if (run.classes.length) fields.push(select({ label: t("Class"), testid: "class", value: this.label, options: named(run.classes), onChange: (label) => this.change({ label }) }));
    if (run.directions.length > 1) fields.push(select({ label: t("Direction"), testid: "direction", value: this.direction, options: named(run.directions), onChange: (direction) => this.change({ direction }) }));
    if (run.derive) fields.push(toggle({ label: t("a photograph: make the input of it first"), testid: "derive", checked: this.derive, onChange: (derive) => this.change({ derive }) }));
    fields.push(number({ label: t("Seed"), testid: "seed", min: 0, max: 999_999, step: 1, value: this.seed, onChange: (seed) => this.change({ seed }) }));
    fields.push(slider({ label: t("Size of the pictures"), min: 120, max: 720, step: 20, value: 360, format: (value) => t("{count} px", { count: value }), onInput: (value) => this.compare.zoom(value) }));
    const back = chooser({ label: t("Open a saved file"), testid: "restore-file", onFile: this.open });
    append(clear(this.fields), [fields.map((field) => field.node), el("div", {}, back)]);
  }

  write() {
    const { run } = this;
    state.set({
      run: run.id, seed: this.seed || null, class: run.classes.length ? this.label : null, direction: run.directions.length > 1 ? this.direction : null,
      derive: this.derive ? "1" : null, view: this.view === "wipe" ? "wipe" : null,
    });
  }

  change(values) {
    Object.assign(this, values);
    this.write();
    if (this.given) this.translate();
  }

  /** Inputs of the run's own data, where they are still there. */
  async loadExamples() {
    for (let index = 0; index < EXAMPLES; index += 1) {
      try {
        const { blob } = await getBlob("/api/create/inputs", { params: { run: this.run.id, index } });
        if (this.left) return;
        const picture = el("img", { src: this.addressOf(`example-${index}`, blob), alt: "" });
        const take = () => this.take(blob, true);
        append(this.examples, el("button", { type: "button", class: "example", testid: `example-${index}`, "aria-label": t("Example {number}", { number: index + 1 }), on: { click: take } }, picture));
      } catch (error) {
        append(this.examples, el("p", { class: "hint", text: error.message }));
        return;
      }
    }
  }

  /** A picture from the reader; example: one of the data's, which is an input already. */
  take(file, example = false) {
    this.given = { file, example };
    this.translate();
  }

  async translate() {
    this.request?.abort();
    const mine = (this.request = new AbortController());
    const { given } = this;
    this.status.textContent = t("Translating ...");
    this.problem.hidden = true;
    try {
      const { blob } = await upload("/api/translate", given.file, this.asked(), { signal: mine.signal });
      if (mine !== this.request) return;
      this.compare.show(this.addressOf("before", given.file), this.addressOf("after", blob));
      this.status.textContent = t("Done.");
    } catch (error) {
      if (error.name !== "AbortError" && mine === this.request) this.complain(error);
    }
  }

  complain(error) {
    this.status.textContent = "";
    this.problem.textContent = error.message;
    this.problem.hidden = false;
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
      this.complain(error);
    }
  }

  addressOf(name, blob) {
    if (this.addresses.has(name)) URL.revokeObjectURL(this.addresses.get(name));
    this.addresses.set(name, URL.createObjectURL(blob));
    return this.addresses.get(name);
  }

  leave() {
    this.left = true;
    this.request?.abort();
    for (const address of this.addresses.values()) URL.revokeObjectURL(address);
  }
}
