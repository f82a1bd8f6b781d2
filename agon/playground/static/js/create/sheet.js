// The contact sheet: a cell for each seed, locks, controls, exports. The picture of a cell depends on its seed, its class and the controls alone.

import { postForBlob } from "../core/api.js";
import { button, number, select, slider } from "../core/controls.js";
import { append, clear, el, uid } from "../core/dom.js";
import { t } from "../core/i18n.js";
import * as state from "../core/state.js";
import { Cells } from "./cells.js";
import { cellsOf, chooser, fileName, save, seedOf, whole } from "./files.js";
import { closeMenu } from "./menu.js";
import { WalkPanel } from "./walk.js";

const COUNTS = [4, 9, 16, 25, 36, 64];
const MOST_CHOSEN = 12;
const MOST_OPTIONS = 100;
const PATIENCE = 1500; // ms that a request may be under way before a newer one takes its place

export class SheetView {
  constructor({ run, fields, stage, app, open }) {
    Object.assign(this, { run, fields, stage, app, open });
    this.request = null;
    this.read();
    this.keys = (event) => this.key(event);
    document.addEventListener("keydown", this.keys);
  }

  read() {
    const { classes } = this.run;
    this.seed = whole(state.get("seed"), 0, 999_999);
    this.count = COUNTS.includes(Number(state.get("n"))) ? Number(state.get("n")) : 16;
    this.label = classes.length ? whole(state.get("class"), null, classes.length - 1) : null;
    this.locked = new Map(pairs(state.get("locked")).filter(([index]) => index < this.count));
    this.chosen = pairs(state.get("chosen"))
      .slice(0, MOST_CHOSEN)
      .map(([seed, label]) => ({ seed, label: label < 0 || label >= classes.length ? null : label }));
    this.controls = {};
    for (const control of this.run.controls) {
      const value = within(control, state.get(`c_${control.name}`));
      if (value !== null) this.controls[control.name] = value;
    }
  }

  write() {
    const list = (entries) => entries.map((pair) => pair.join(":")).join(",") || null;
    const controls = Object.fromEntries(this.run.controls.map(({ name }) => [`c_${name}`, this.controls[name] ?? null]));
    state.set({
      run: this.run.id, seed: this.seed || null, n: this.count === 16 ? null : this.count, class: this.label, locked: list([...this.locked]),
      chosen: list(this.chosen.map(({ seed, label }) => [seed, label ?? -1])), ...controls,
    });
  }

  /** The whole address of this moment, as exports keep it. */
  kept() {
    this.write();
    state.flush();
    return state.text();
  }

  cell(index) {
    return { seed: this.locked.get(index) ?? seedOf(this.seed, index), label: this.label };
  }

  /** Where in the walk a cell is; -1 for one that is not chosen. */
  placeOf(index) {
    const { seed, label } = this.cell(index);
    return this.chosen.findIndex((one) => one.seed === seed && one.label === label);
  }

  all() {
    return Array.from({ length: this.count }, (_, index) => this.cell(index));
  }

  async start() {
    this.drawFields();
    this.cells = new Cells(this);
    this.problem = el("p", { class: "note bad", role: "alert", hidden: true });
    this.walk = new WalkPanel(this);
    append(this.stage, [this.problem, this.cells.node, this.walk.node]);
    this.cells.draw(this.count);
    this.write();
    await this.paint();
  }

  drawFields() {
    const { run } = this;
    const classes = [{ value: "", label: t("any") }, ...run.classes.map((name, value) => ({ value, label: name }))];
    const label = select({ label: t("Class"), testid: "class", value: this.label ?? "", options: classes, onChange: (value) => this.change({ label: value === "" ? null : Number(value) }) });
    this.seedField = number({ label: t("Seed"), testid: "seed", min: 0, max: 999_999, step: 1, value: this.seed, onChange: (seed) => this.change({ seed }) });
    const promise = el("p", { class: "hint", id: uid("seed-hint"), text: t("The same seed gives the same pictures, on every machine of this kind.") });
    this.seedField.input.setAttribute("aria-describedby", promise.id);
    const count = select({ label: t("Cells"), testid: "count", value: this.count, options: COUNTS.map((value) => ({ value, label: String(value) })), onChange: (value) => this.change({ count: Number(value) }, true) });
    const reroll = button({ label: t("Re-roll"), icon: "dice", kind: "primary", testid: "reroll", title: t("New seeds for all cells that are not locked"), onClick: () => this.reroll() });
    append(clear(this.fields), [
      run.classes.length ? label.node : null, run.controls.map((control) => this.controlField(control)),
      el("div", { class: "field-pair" }, this.seedField.node, count.node), promise, el("div", { class: "toolbar" }, reroll.node), this.exports(),
    ]);
  }

  /** Files: the sheet as it is seen, one of those back, and what the command line would write. */
  exports() {
    const keep = (label, testid, form) => button({ label, icon: "download", testid, onClick: () => this.export(form) }).node;
    const back = chooser({ label: t("Open a saved file"), testid: "restore-file", onFile: this.open });
    this.command = el("code", { class: "command", text: this.commandText() });
    return el("div", { class: "stack exports" },
      el("div", { class: "toolbar" }, keep(t("Save sheet"), "save-sheet", "sheet"), back),
      el("p", { class: "hint", text: t("A saved file says how it was made: open it here, or drop it anywhere, to come back to this.") }),
      el("h2", { text: t("As the command line") }),
      el("p", { class: "hint", text: t("New samples, all from the one seed: the very file that this command writes.") }), this.command,
      el("div", { class: "toolbar" }, this.run.forms.map((form) => keep(form.toUpperCase(), `save-${form}`, form))));
  }

  commandText() {
    const words = [`-n ${this.count}`, `--seed ${this.seed}`];
    if (this.label !== null) words.push(`--class ${this.run.classes[this.label]}`);
    for (const [name, value] of Object.entries(this.controls)) words.push(`--${name} ${value}`);
    return `agon sample RUN ${words.join(" ")}`;
  }

  controlField(control) {
    const { name, min, max, step, choices } = control;
    const change = (value) => {
      if (value === control.default) delete this.controls[name];
      else this.controls[name] = value;
      this.change({});
    };
    const label = t(control.label);
    const testid = `control-${name}`;
    const value = this.controls[name] ?? control.default;
    if (choices) return select({ label, testid, value, options: choices.map((one) => ({ value: one, label: one })), onChange: change }).node;
    if (control.default !== null) return slider({ label, testid, min, max, step, value, onInput: change }).node;
    const steps = (max - min) / step;
    if (step === 1 && steps < MOST_OPTIONS) {
      // Numbers that are names: one is not more than another, and none of them may be asked for.
      const options = [{ value: "", label: t("any") }, ...Array.from({ length: steps + 1 }, (_, i) => ({ value: min + i, label: String(min + i) }))];
      return select({ label, testid, value: value ?? "", options, onChange: (one) => change(one === "" ? null : Number(one)) }).node;
    }
    const format = (shown) => (this.controls[name] === undefined ? t("off") : String(Number(shown.toPrecision(4))));
    const made = slider({ label, testid, min, max, step, value: value ?? max, format, onInput: (given) => (change(given), made.set(given)) });
    const off = button({ label: t("Off"), kind: "quiet", testid: `${testid}-off`, onClick: () => (change(null), made.set(max)) });
    return el("div", { class: "with-off" }, made.node, off.node);
  }

  change(values, redraw = false) {
    Object.assign(this, values);
    this.command.textContent = this.commandText();
    if (redraw) {
      this.locked = new Map([...this.locked].filter(([index]) => index < this.count));
      this.cells.draw(this.count);
    }
    this.write();
    this.cells.mark();
    this.paint();
  }

  reroll() {
    this.change({ seed: (this.seed + 1) % 1_000_000 });
    this.seedField.set(this.seed);
    this.app.announce(t("New pictures, seed {seed}", { seed: String(this.seed) }));
  }

  lock(index) {
    const locking = !this.locked.has(index);
    if (locking) this.locked.set(index, this.cell(index).seed);
    else this.locked.delete(index);
    this.write();
    this.cells.mark();
    this.app.announce(locking ? t("Picture {number} is locked", { number: index + 1 }) : t("Picture {number} is free", { number: index + 1 }));
    if (!locking) this.paint();
  }

  pick(index) {
    const place = this.placeOf(index);
    if (place < 0 && this.chosen.length >= MOST_CHOSEN) return this.app.toast(t("A walk passes at most {count} pictures.", { count: MOST_CHOSEN }));
    if (place >= 0) this.choose(this.chosen.filter((_, at) => at !== place));
    else this.choose([...this.chosen, this.cell(index)]);
  }

  /** Makes a cell the first or the last of the walk; one that is full loses the one at that end. */
  place(index, where) {
    const mine = this.placeOf(index);
    const others = this.chosen.filter((_, at) => at !== mine);
    if (where === "start") this.choose([this.cell(index), ...others.slice(-MOST_CHOSEN + 1)]);
    else this.choose([...others.slice(0, MOST_CHOSEN - 1), this.cell(index)]);
  }

  choose(cells) {
    this.chosen = cells;
    this.write();
    this.cells.mark();
    this.walk.show();
    this.app.announce(t("{count} chosen for the walk", { count: cells.length }));
  }

  /**
   * Draws the sheet anew; the old pictures stay until the new ones are there. While a slider moves, a request that is young is let finish and the
   * newest follows it: were each given up for the next, nothing would be seen until the slider rests. One that is long under way is given up.
   */
  async paint() {
    this.stale = true;
    if (this.request && performance.now() - this.begun < PATIENCE) return;
    this.request?.abort();
    while (this.stale) {
      this.stale = false;
      this.begun = performance.now();
      const mine = (this.request = new AbortController());
      try {
        const strip = await cellsOf(await postForBlob("/api/create/cells", { run: this.run.id, cells: this.all(), controls: this.controls }, { signal: mine.signal }));
        if (mine === this.request) this.show(strip);
        strip.close();
      } catch (error) {
        if (mine === this.request) this.complain(error);
      }
      if (mine !== this.request) return;
    }
    this.request = null;
  }

  show(strip) {
    this.cells.paint(strip);
    this.problem.hidden = true;
    this.walk.show();
  }

  complain(error) {
    this.problem.textContent = error.message;
    this.problem.hidden = false;
  }

  async export(form) {
    const { run, seed, label, controls, count } = this;
    const sheet = { run: run.id, cells: this.all(), controls, columns: this.cells.columns, state: this.kept() };
    const samples = { run: run.id, n: count, seed, label, controls, form, ...(form === "png" ? {} : { plain: false, state: this.kept() }) };
    const [path, body, suffix] = form === "sheet" ? ["/api/create/sheet", sheet, "png"] : ["/api/sample", samples, form];
    await this.keep(path, body, fileName(run.name, form === "sheet" ? `sheet-seed${seed}` : `seed${seed}`, suffix));
  }

  async saveOne(index) {
    const cell = this.cell(index);
    await this.keep("/api/create/sheet", { run: this.run.id, cells: [cell], controls: this.controls, columns: 0, state: this.kept() }, fileName(this.run.name, `seed${cell.seed}`, "png"));
  }

  async keep(path, body, name) {
    try {
      save((await postForBlob(path, body)).blob, name);
      this.app.announce(t("Saved as {file}", { file: name }));
    } catch (error) {
      this.complain(error);
    }
  }

  async copySeed(index) {
    const seed = String(this.cell(index).seed);
    const copied = await navigator.clipboard?.writeText(seed).then(() => true, () => false);
    this.app.toast(copied ? t("Copied: seed {seed}", { seed }) : t("Seed {seed}", { seed }));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea, dialog, [role=menu]")) return;
    if (this.cells?.key(event)) event.preventDefault();
    else if (event.key.toLowerCase() === "r") {
      event.preventDefault();
      this.reroll();
    }
  }

  leave() {
    closeMenu();
    const last = this.request;
    this.request = null;
    this.stale = false;
    last?.abort();
    this.walk?.leave();
    document.removeEventListener("keydown", this.keys);
  }
}

/** A control's value as the address has it; null for one that is missing or does not fit. */
function within({ choices, min, max }, text) {
  if (choices) return choices.includes(text) ? text : null;
  return text !== "" && Number(text) >= min && Number(text) <= max ? Number(text) : null;
}

/** "0:77,3:5" -> [[0, 77], [3, 5]]; what does not fit is left out. */
function pairs(text) {
  const fits = (pair) => pair.length === 2 && pair.every(Number.isInteger) && pair[0] >= 0 && pair[0] < 2 ** 31 && pair[1] >= -1 && pair[1] < 2 ** 31;
  return text.split(",").map((part) => part.split(":").map(Number)).filter(fits);
}
