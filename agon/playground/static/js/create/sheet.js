// The contact sheet: a cell for each seed, locks, controls, exports. The picture of a cell depends on its seed, its class and the controls alone.

import { postForBlob } from "../core/api.js";
import { button, number, select, slider } from "../core/controls.js";
import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { icon } from "../core/icons.js";
import * as state from "../core/state.js";
import { cellsOf, fileName, save, seedOf } from "./files.js";
import { WalkPanel } from "./walk.js";

const COUNTS = [4, 9, 16, 25, 36, 64];

export class SheetView {
  constructor({ run, fields, stage, app }) {
    Object.assign(this, { run, fields, stage, app });
    this.painted = 0;
    this.request = null;
    this.read();
    this.keys = (event) => this.key(event);
    document.addEventListener("keydown", this.keys);
  }

  read() {
    const whole = (text, fallback, most) => (/^\d+$/.test(text) && Number(text) <= most ? Number(text) : fallback);
    this.seed = whole(state.get("seed"), 0, 999_999);
    this.count = COUNTS.includes(Number(state.get("n"))) ? Number(state.get("n")) : 16;
    const label = whole(state.get("class"), -1, this.run.classes.length - 1);
    this.label = label < 0 ? null : label;
    this.locked = new Map(pairs(state.get("locked")));
    this.chosen = pairs(state.get("chosen")).map(([seed, cls]) => ({ seed, label: cls < 0 ? null : cls }));
    this.controls = {};
    for (const control of this.run.controls) {
      const text = state.get(`c_${control.name}`, null);
      if (text === null) continue;
      if (control.choices ? control.choices.includes(text) : text !== "" && Number(text) >= control.min && Number(text) <= control.max) this.controls[control.name] = control.choices ? text : Number(text);
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

  all() {
    return Array.from({ length: this.count }, (_, index) => this.cell(index));
  }

  async start() {
    this.drawFields();
    this.sheet = el("div", { class: `sheet ${this.run.kind}`, role: "group", "aria-label": t("Contact sheet"), testid: "sheet", "data-painted": "0" });
    this.problem = el("p", { class: "note bad", role: "alert", hidden: true });
    this.walk = new WalkPanel(this);
    append(this.stage, [this.problem, this.sheet, this.walk.node]);
    this.drawCells();
    this.write();
    await this.paint();
  }

  drawFields() {
    const seed = number({ label: t("Seed"), testid: "seed", min: 0, max: 999_999, step: 1, value: this.seed, hint: t("The same seed gives the same pictures, on every machine of this kind."), onChange: (value) => this.change({ seed: value }) });
    this.seedField = seed;
    const reroll = button({ label: t("Re-roll"), icon: "dice", kind: "primary", testid: "reroll", onClick: () => this.reroll() });
    const count = select({ label: t("Cells"), testid: "count", value: this.count, options: COUNTS.map((value) => ({ value, label: String(value) })), onChange: (value) => this.change({ count: Number(value) }, true) });
    const classes = this.run.classes.length
      ? select({ label: t("Class"), testid: "class", value: this.label ?? "", options: [{ value: "", label: t("any") }, ...this.run.classes.map((name, value) => ({ value, label: name }))], onChange: (value) => this.change({ label: value === "" ? null : Number(value) }) }).node
      : null;
    const file = (label, testid, form) => button({ label, icon: "download", testid, onClick: () => this.export(form) }).node;
    this.command = el("p", { class: "hint", text: this.commandText() });
    const plain = this.run.forms.map((form) => button({ label: form.toUpperCase(), icon: "download", testid: `save-${form}`, onClick: () => this.export(form) }).node);
    const exports = el("div", { class: "stack" }, el("div", {}, file(t("Save sheet"), "save-sheet", "sheet")), this.command, el("div", { class: "toolbar" }, plain));
    append(clear(this.fields), [classes, ...this.run.controls.map((control) => this.controlField(control)), seed.node, count.node, el("div", { class: "toolbar" }, reroll.node), exports]);
    append(this.fields, el("p", { class: "hint", text: t("A saved sheet carries its state: drop it here to come back to it.") }));
  }

  /** The other exports are those of the command line, which draws all samples of one seed. */
  commandText() {
    const words = [`-n ${this.count}`, `--seed ${this.seed}`];
    if (this.label !== null) words.push(`--class ${this.run.classes[this.label]}`);
    for (const [name, value] of Object.entries(this.controls)) words.push(`--${name} ${value}`);
    return t("The samples of: agon sample RUN {options}", { options: words.join(" ") });
  }

  controlField(control) {
    const change = (value) => {
      if (value === control.default) delete this.controls[control.name];
      else this.controls[control.name] = value;
      this.change({});
    };
    const label = t(control.label);
    const testid = `control-${control.name}`;
    if (control.choices) {
      return select({ label, testid, value: this.controls[control.name] ?? control.default, options: control.choices.map((value) => ({ value, label: value })), onChange: change }).node;
    }
    const made = slider({ label, testid, min: control.min, max: control.max, step: control.step, value: this.controls[control.name] ?? control.default ?? control.max, onInput: change });
    if (control.default !== null) return made.node;
    const off = button({ label: t("Off"), kind: "quiet", onClick: () => change(null) });
    return el("div", { class: "with-off" }, made.node, off.node);
  }

  drawCells() {
    this.cells = Array.from({ length: this.count }, (_, index) => this.drawCell(index));
    append(clear(this.sheet), this.cells.map((cell) => cell.node));
    this.sheet.style.setProperty("--columns", String(Math.round(Math.sqrt(this.count))));
    this.mark();
  }

  drawCell(index) {
    const canvas = el("canvas", { width: 8, height: 8, "aria-hidden": "true" });
    const order = el("span", { class: "cell-order", "aria-hidden": "true" });
    const pick = el("button", { type: "button", class: "cell-pick", testid: `cell-${index}`, on: { click: () => this.pick(index) } }, canvas, order);
    const lock = el("button", { type: "button", class: "cell-lock", testid: `lock-${index}`, on: { click: () => this.lock(index) } }, icon("unlock"));
    const keep = el("button", { type: "button", class: "cell-save", testid: `save-picture-${index}`, title: t("Save this picture"), "aria-label": t("Save picture {number}", { number: index + 1 }), on: { click: () => this.saveOne(index) } }, icon("download"));
    return { node: el("div", { class: "cell" }, pick, el("div", { class: "cell-tools" }, lock, keep)), canvas, pick, lock, order };
  }

  /** What the cells say of themselves. */
  mark() {
    this.cells.forEach((cell, index) => {
      const { seed, label } = this.cell(index);
      const place = this.chosen.findIndex((one) => one.seed === seed && one.label === label);
      const locked = this.locked.has(index);
      cell.node.classList.toggle("locked", locked);
      cell.node.classList.toggle("chosen", place >= 0);
      cell.order.textContent = place >= 0 ? String(place + 1) : "";
      cell.pick.setAttribute("aria-pressed", String(place >= 0));
      cell.pick.setAttribute("aria-label", t("Picture {number}, seed {seed}", { number: index + 1, seed }));
      cell.pick.title = t("Seed {seed}: choose it for a walk", { seed });
      cell.lock.setAttribute("aria-pressed", String(locked));
      cell.lock.setAttribute("aria-label", t("Lock picture {number}", { number: index + 1 }));
      cell.lock.title = locked ? t("Locked: it stays when the others are re-rolled") : t("Lock it");
      cell.lock.replaceChildren(icon(locked ? "lock" : "unlock"));
    });
  }

  change(values, redraw = false) {
    Object.assign(this, values);
    this.command.textContent = this.commandText();
    if (redraw) {
      this.locked = new Map([...this.locked].filter(([index]) => index < this.count));
      this.drawCells();
    }
    this.write();
    this.mark();
    this.paint();
  }

  reroll() {
    this.change({ seed: (this.seed + 1) % 1_000_000 });
    this.seedField.set(this.seed);
    this.app.announce(t("New pictures, seed {seed}", { seed: this.seed }));
  }

  lock(index) {
    if (this.locked.has(index)) this.locked.delete(index);
    else this.locked.set(index, this.cell(index).seed);
    this.write();
    this.mark();
    this.app.announce(this.locked.has(index) ? t("Picture {number} is locked", { number: index + 1 }) : t("Picture {number} is free", { number: index + 1 }));
    if (!this.locked.has(index)) this.paint();
  }

  pick(index) {
    const cell = this.cell(index);
    const place = this.chosen.findIndex((one) => one.seed === cell.seed && one.label === cell.label);
    if (place >= 0) this.chosen.splice(place, 1);
    else if (this.chosen.length < 12) this.chosen.push(cell);
    this.write();
    this.mark();
    this.walk.show();
  }

  /** Draws the sheet anew; a request under way is given up, and the old picture stays until the new one is there. */
  async paint() {
    this.request?.abort();
    const mine = (this.request = new AbortController());
    try {
      const strip = await cellsOf(await postForBlob("/api/create/cells", { run: this.run.id, cells: this.all(), controls: this.controls }, { signal: mine.signal }));
      if (mine !== this.request) return strip.close();
      this.sheet.style.setProperty("--cell", `${strip.width} / ${strip.height}`);
      strip.cells.forEach((cell, index) => this.cells[index] && cell.draw(this.cells[index].canvas));
      strip.close();
      this.problem.hidden = true;
      this.painted += 1;
      this.sheet.dataset.painted = String(this.painted);
      this.walk.show();
    } catch (error) {
      if (error.name !== "AbortError" && mine === this.request) this.complain(error);
    }
  }

  complain(error) {
    this.problem.textContent = error.message;
    this.problem.hidden = false;
  }

  async export(form) {
    const columns = Math.round(Math.sqrt(this.count));
    const sheet = { run: this.run.id, cells: this.all(), controls: this.controls, columns, state: this.kept() };
    const numbers = { run: this.run.id, n: this.count, seed: this.seed, label: this.label, controls: this.controls, form, ...(form === "png" ? {} : { plain: false, state: this.kept() }) };
    try {
      const { blob } = form === "sheet" ? await postForBlob("/api/create/sheet", sheet) : await postForBlob("/api/sample", numbers);
      save(blob, fileName(this.run.name, `seed${this.seed}`, form === "sheet" ? "png" : form));
    } catch (error) {
      this.complain(error);
    }
  }

  async saveOne(index) {
    try {
      const cell = this.cell(index);
      const { blob } = await postForBlob("/api/create/sheet", { run: this.run.id, cells: [cell], controls: this.controls, columns: 0, state: this.kept() });
      save(blob, fileName(this.run.name, `seed${cell.seed}`, "png"));
    } catch (error) {
      this.complain(error);
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
    const at = this.cells.findIndex((cell) => cell.node.contains(document.activeElement));
    const columns = Math.round(Math.sqrt(this.count));
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (event.key.toLowerCase() === "r") this.reroll();
    else if (at < 0) return;
    else if (event.key.toLowerCase() === "l") this.lock(at);
    else if (step && this.cells[at + step]) this.cells[at + step].pick.focus();
    else return;
    event.preventDefault();
  }

  leave() {
    this.request?.abort();
    this.walk?.leave();
    document.removeEventListener("keydown", this.keys);
  }
}

/** "0:77,3:5" -> [[0, 77], [3, 5]]; what does not fit is left out. */
function pairs(text) {
  return text.split(",").map((part) => part.split(":").map(Number)).filter((pair) => pair.length === 2 && pair.every(Number.isInteger) && pair[0] >= 0 && pair[1] < 2 ** 31);
}
