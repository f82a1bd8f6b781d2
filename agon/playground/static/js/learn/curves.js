// What the server measured along the way, and its charts.

import { chart } from "../core/plot.js";
import { el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { stageLetter } from "./stage.js";

const COLOURS = ["--stage-0", "--stage-1", "--stage-2", "--stage-3"];
const DASHES = [undefined, [6, 3], [2, 3], [8, 3, 2, 3]];
const REDRAW_MS = 250;
const MOST_ROWS = 4000; // of a curve; then every second one goes

/** {node, reset(count, floors), take(frames), draw(force)}. */
export class Curves {
  constructor() {
    this.holders = ["losses", "js", "w1", "modes"].map((name) => el("div", { testid: `chart-${name}`, class: "curve" }));
    this.node = el("section", { class: "curves panel", "aria-label": t("Curves") }, el("h2", { text: t("Curves") }), this.holders);
    this.charts = [];
    this.reset(1, {});
  }

  /** Begins anew. chosen: the stage whose losses are shown. */
  reset(count, floors, { hasModes = true } = {}) {
    this.rows = Array.from({ length: count }, () => []);
    this.floors = floors;
    this.step = 0;
    this.chosen = Math.min(this.chosen ?? 0, count - 1);
    this.holders[3].hidden = !hasModes;
    this.thinned = 0;
    this.draw(true);
  }

  choose(index) {
    this.chosen = index;
    this.draw(true);
  }

  take(frames) {
    for (const frame of frames) {
      frame.stages.forEach((stage, i) => this.add(this.rows[i], stage));
      this.step = frame.step;
    }
    this.draw(false);
  }

  add(rows, { curve = [], measured = [], curve_from: from }) {
    if (!curve.length && !measured.length) return;
    const first = curve[0]?.[0] ?? measured[0][0];
    // Where the game took another way, the server tells from where on; steps grow along a curve, so that is also where the new rows begin.
    if (from === 0) rows.length = 0;
    while (rows.length && rows[rows.length - 1].step >= first) rows.pop();
    curve.forEach(([step, d, g], i) => rows.push({ step, d, g, js: measured[i]?.[1] ?? null, w1: measured[i]?.[2] ?? null, modes: measured[i]?.[3] ?? null }));
    if (rows.length > MOST_ROWS) for (let i = 1, kept = rows.length >> 1; i <= kept; i += 1) rows.splice(i, 1);
  }

  draw(force) {
    const now = performance.now();
    clearTimeout(this.due);
    if (!force && now - (this.drawn ?? 0) < REDRAW_MS) {
      this.due = setTimeout(() => this.draw(true), REDRAW_MS);
      return;
    }
    this.drawn = now;
    this.data().forEach((data, i) => {
      if (this.charts[i]) this.charts[i].update(data);
      else this.charts[i] = chart(this.holders[i], data);
    });
  }

  data() {
    const one = this.rows[this.chosen] ?? [];
    const several = this.rows.length > 1;
    const losses = {
      title: several ? t("Losses of stage {letter}", { letter: stageLetter(this.chosen) }) : t("Losses"),
      height: 132,
      x: one.map((row) => row.step),
      marks: this.marks(one),
      series: [
        { label: t("discriminator"), colour: "--critic", values: one.map((row) => row.d) },
        { label: t("generator"), colour: "--fake", dash: [6, 3], values: one.map((row) => row.g) },
      ],
    };
    return [
      losses,
      this.measure("js", t("Jensen-Shannon divergence")),
      this.measure("w1", t("Wasserstein distance")),
      this.measure("modes", t("Modes covered")),
    ];
  }

  measure(name, title) {
    const x = [...new Set(this.rows.flatMap((rows) => rows.map((row) => row.step)))].sort((a, b) => a - b);
    const series = this.rows.map((rows, i) => {
      const at = new Map(rows.map((row) => [row.step, row[name]]));
      const label = this.rows.length > 1 ? stageLetter(i) : t("fakes");
      return { label, colour: this.rows.length > 1 ? COLOURS[i] : "--accent", dash: DASHES[i], values: x.map((step) => at.get(step) ?? null) };
    });
    const floor = this.floors[name];
    const levels = Number.isFinite(floor) ? [{ y: floor, label: t("perfect sampler"), colour: "--good" }] : [];
    return { title, height: 112, x, series, levels, marks: this.marks(this.rows[0] ?? []) };
  }

  /** Where the history stands, once it was gone back. */
  marks(rows) {
    const last = rows[rows.length - 1]?.step ?? 0;
    return this.step < last ? [{ x: this.step, label: "", colour: "--accent" }] : [];
  }

  destroy() {
    clearTimeout(this.due);
    for (const one of this.charts) one.destroy();
  }
}
