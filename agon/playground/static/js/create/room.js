// Create: pictures of a trained run. A generator gives a contact sheet, a translator takes a picture.

import { getJSON, upload } from "../core/api.js";
import { button, select } from "../core/controls.js";
import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import * as state from "../core/state.js";
import { SheetView } from "./sheet.js";
import { TranslateView } from "./translate.js";

const SLOW = 250; // ms after which it is said that a run is being opened

/** The shell's entry. */
export async function mount(root, app) {
  const room = new Room(root, app);
  await room.start();
  return () => room.leave();
}

class Room {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.view = null;
    this.turn = 0;
    this.off = [state.onChange(() => this.open())];
    this.watchDrops();
  }

  async start() {
    const { runs } = await getJSON("/api/create/runs");
    this.runs = runs;
    append(this.root, el("h1", { class: "sr-only", text: t("Create") }));
    this.side = el("div", { class: "create-side stack" });
    this.stage = el("div", { class: "create-main" });
    this.note = el("p", { class: "note", role: "status", hidden: true, testid: "restore-note" });
    const some = runs.some((run) => !run.error);
    append(this.root, [this.note, el("div", { class: some ? "create" : "" }, some ? this.side : null, this.stage)]);
    this.app.setHelp?.([
      ["R", t("New seeds for all cells that are not locked")],
      ["L", t("Lock or unlock the cell")],
      ["Space", t("Choose the cell for a walk")],
      ["← → ↑ ↓", t("Go from cell to cell")],
      ["M", t("More for the cell: start or end of the walk, save it, copy its seed")],
    ]);
    if (!some) return this.nothing();
    this.picker = select({
      label: t("Run"),
      testid: "run-picker",
      options: runs.map((run) => ({ value: run.id, label: run.error ? t("{name} (cannot be opened)", { name: run.name }) : `${run.name} · ${run.game}`, disabled: Boolean(run.error) })),
      value: this.wanted(),
      onChange: (id) => this.choose(id),
    });
    this.about = el("p", { class: "hint", testid: "run-about" });
    this.fields = el("section", { class: "panel stack create-fields", "aria-label": t("What to make"), hidden: true });
    append(this.side, [el("div", { class: "panel stack create-run" }, this.picker.node, this.about), this.fields, this.broken()]);
    await this.open();
  }

  /** The runs that cannot be opened, and why. */
  broken() {
    return this.runs.filter((run) => run.error).map((run) => el("p", { class: "hint problem", text: `${run.name}: ${run.error}` }));
  }

  /** The run of the address, else the one the launch named, else the first that can be opened. */
  wanted() {
    const known = (id) => this.runs.some((run) => run.id === id && !run.error);
    return [state.get("run"), this.app.about.first].find(known) ?? this.runs.find((run) => !run.error).id;
  }

  choose(id) {
    // What belongs to the old run alone goes; the seed stays.
    const others = Object.keys(state.all()).filter((key) => key !== "seed" && key !== "n");
    state.set({ ...Object.fromEntries(others.map((key) => [key, null])), run: id }, { push: true });
    this.note.hidden = true;
    this.open();
  }

  async open() {
    const mine = (this.turn += 1);
    if (!this.picker) return;
    const id = this.wanted();
    this.picker.set(id);
    const known = this.view?.run.id === id ? this.view.run : null; // back and forward within a run
    this.view?.leave();
    this.view = null;
    this.stage.inert = this.fields.inert = true; // the old pictures stay until the run is there, or is long in coming
    const slow = setTimeout(() => append(clear(this.stage), el("p", { class: "create-wait hint", role: "status", text: t("Opening the run …") })), SLOW);
    try {
      const run = known ?? (await getJSON(`/api/create/runs/${encodeURIComponent(id)}`));
      if (mine !== this.turn) return;
      clearTimeout(slow);
      await this.show(run);
    } catch (error) {
      if (mine === this.turn) this.failed(error);
    } finally {
      clearTimeout(slow);
      if (mine === this.turn) this.stage.inert = false; // where it failed, the way to try again
    }
  }

  async show(run) {
    this.about.textContent = describe(run);
    clear(this.stage);
    this.stage.inert = this.fields.inert = this.fields.hidden = false;
    const View = run.needs_input ? TranslateView : SheetView;
    this.view = new View({ run, fields: this.fields, stage: this.stage, app: this.app, open: (file) => this.take(file) });
    await this.view.start();
  }

  failed(error) {
    this.fields.hidden = true;
    const again = button({ label: t("Try again"), onClick: () => this.open() });
    append(clear(this.stage), el("div", { class: "note bad stack", role: "alert" }, el("p", { text: error.message }), el("div", {}, again.node)));
  }

  nothing() {
    append(clear(this.stage), el("section", { class: "panel create-empty stack" },
      el("h2", { text: t("There is no trained run yet") }),
      el("p", { text: t("Train one from the terminal, which takes about a minute, or start it from the Research room:") }),
      el("pre", {}, el("code", { text: "agon train r3gan --data digits" })),
      el("p", {}, el("a", { href: "#research", class: "button primary", text: t("Open Research") })), this.broken()));
  }

  /** An exported file that is dropped anywhere brings its state back; a translator takes any other picture. */
  watchDrops() {
    const over = (event) => {
      if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
      event.preventDefault();
      this.root.classList.toggle("dropping", event.type === "dragover");
    };
    const drop = (event) => {
      over(event);
      const file = event.dataTransfer?.files[0];
      if (file) this.take(file);
    };
    const list = [["dragover", over], ["dragleave", over], ["drop", drop]];
    for (const [name, fn] of list) document.addEventListener(name, fn);
    this.off.push(() => list.forEach(([name, fn]) => document.removeEventListener(name, fn)));
  }

  async take(file) {
    try {
      const { blob } = await upload("/api/create/restore", file);
      const kept = JSON.parse(await blob.text());
      if (!kept.state) return this.view?.take ? this.view.take(file) : this.say(kept.why, true);
      const words = kept.run ? t("Restored from {file}.", { file: file.name }) : t("{file} was made with {name}, which is not here.", { file: file.name, name: kept.name });
      this.say(words, !kept.run);
      if (kept.run) {
        const [, query] = kept.state.split("?");
        const values = new URLSearchParams(query ?? "");
        values.set("run", kept.run);
        state.go(`#create?${String(values).replace(/%(3A|2C)/gi, decodeURIComponent)}`); // as legible as the page writes it
      }
    } catch (error) {
      this.say(error.message, true);
    }
  }

  say(words, bad = false) {
    this.note.textContent = words;
    this.note.classList.toggle("bad", bad);
    this.note.hidden = false;
  }

  leave() {
    this.turn += 1;
    this.view?.leave();
    this.off.forEach((off) => off());
  }
}

function describe(run) {
  const size = run.kind === "image" ? t("{width} × {height} pixels", { width: run.shape[2], height: run.shape[1] }) : t("points in {count} dimensions", { count: run.shape[0] });
  const count = run.images.toLocaleString("en-US");
  return `${size} · ${run.kind === "image" ? t("{count} images seen", { count }) : t("{count} points seen", { count })}`;
}
