// The cells of a sheet: a picture each, its marks, its lock and its menu. One of them is in the order of Tab; arrow keys go to the others.

import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { icon } from "../core/icons.js";
import { openMenu } from "./menu.js";

export class Cells {
  /** view: the sheet, which knows seeds, locks and choices, and does what is asked for. */
  constructor(view) {
    this.view = view;
    this.cells = [];
    this.current = 0;
    this.node = el("div", { class: `sheet ${view.run.kind}`, role: "group", "aria-label": t("Contact sheet"), testid: "sheet", "data-painted": "0" });
  }

  get columns() {
    return Math.round(Math.sqrt(this.cells.length));
  }

  draw(count) {
    this.cells = Array.from({ length: count }, (_, index) => this.one(index));
    this.current = Math.min(this.current, count - 1);
    append(clear(this.node), this.cells.map((cell) => cell.node));
    this.node.style.setProperty("--columns", String(this.columns));
    this.mark();
  }

  one(index) {
    const canvas = el("canvas", { width: 8, height: 8, "aria-hidden": "true" });
    const order = el("span", { class: "cell-order", "aria-hidden": "true" });
    const pick = el("button", { type: "button", class: "cell-pick", testid: `cell-${index}`, "aria-keyshortcuts": "L M", on: { click: () => this.view.pick(index) } }, canvas, order);
    const lock = el("button", { type: "button", class: "cell-lock", testid: `lock-${index}`, on: { click: () => this.view.lock(index) } }, icon("unlock"));
    const more = el("button", {
      type: "button", class: "cell-more", testid: `more-${index}`, title: t("More"), "aria-label": t("More for picture {number}", { number: index + 1 }),
      "aria-haspopup": "menu", "aria-expanded": "false", on: { click: () => this.menu(index, more) },
    }, icon("more"));
    const node = el("div", { class: "cell", on: { focusin: () => this.arrive(index), contextmenu: (event) => (event.preventDefault(), this.menu(index)) } }, pick, el("div", { class: "cell-tools" }, more, lock));
    return { node, canvas, pick, lock, more, order };
  }

  arrive(index) {
    this.current = index;
    this.cells.forEach((cell, i) => [cell.pick, cell.lock, cell.more].forEach((one) => (one.tabIndex = i === index ? 0 : -1)));
  }

  /** What the cells say of themselves. */
  mark() {
    const { view } = this;
    this.cells.forEach((cell, index) => {
      const { seed } = view.cell(index);
      const place = view.placeOf(index);
      const locked = view.locked.has(index);
      cell.node.classList.toggle("locked", locked);
      cell.node.classList.toggle("chosen", place >= 0);
      cell.order.textContent = place >= 0 ? String(place + 1) : "";
      cell.pick.setAttribute("aria-pressed", String(place >= 0));
      cell.pick.setAttribute("aria-label", t("Picture {number}, seed {seed}", { number: index + 1, seed: String(seed) }));
      cell.pick.title = t("Seed {seed}: choose it for a walk", { seed: String(seed) });
      cell.lock.setAttribute("aria-pressed", String(locked));
      cell.lock.setAttribute("aria-label", t("Lock picture {number}", { number: index + 1 }));
      cell.lock.title = locked ? t("Locked: it stays when the others are re-rolled") : t("Lock it");
      cell.lock.replaceChildren(icon(locked ? "lock" : "unlock"));
    });
    this.arrive(this.current);
  }

  /** Shows the pictures of a strip; the count of paintings is for those who wait for one. */
  paint(strip) {
    this.node.style.setProperty("--cell", `${strip.width} / ${strip.height}`);
    strip.cells.forEach((cell, index) => this.cells[index] && cell.draw(this.cells[index].canvas));
    this.node.dataset.painted = String(Number(this.node.dataset.painted) + 1);
  }

  menu(index, at = this.cells[index].pick) {
    const { view } = this;
    const locked = view.locked.has(index);
    const walks = view.run.can_walk;
    openMenu({
      at, host: view.stage, back: this.cells[index].pick, label: t("Picture {number}, seed {seed}", { number: index + 1, seed: String(view.cell(index).seed) }),
      items: [
        { label: locked ? t("Unlock it") : t("Lock it"), icon: locked ? "unlock" : "lock", testid: "menu-lock", onClick: () => view.lock(index) },
        walks && { label: t("Start the walk here"), icon: "play", testid: "menu-start", onClick: () => view.place(index, "start") },
        walks && { label: t("End the walk here"), icon: "stop", testid: "menu-end", onClick: () => view.place(index, "end") },
        { label: t("Save picture"), icon: "download", testid: "save-picture", onClick: () => view.saveOne(index) },
        { label: t("Copy the seed"), icon: "link", testid: "copy-seed", onClick: () => view.copySeed(index) },
      ],
    });
  }

  /** A key of the page, if it is one for the cell that has the focus. */
  key(event) {
    const at = this.cells.findIndex((cell) => cell.node.contains(document.activeElement));
    if (at < 0) return false;
    const name = event.key.toLowerCase();
    if (name === "l") this.view.lock(at);
    else if (name === "m") this.menu(at);
    else return this.step(at, event.key);
    return true;
  }

  step(at, key) {
    const last = this.cells.length - 1;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + this.columns, ArrowUp: at - this.columns, Home: 0, End: last }[key];
    if (to === undefined) return false;
    this.cells[to]?.pick.focus();
    return true;
  }
}
