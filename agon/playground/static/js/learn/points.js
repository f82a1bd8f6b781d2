// Data that the learner gives: drawn, typed, or from a CSV file; and its text in the address.

import { button, textField } from "../core/controls.js";
import { el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { colour, onTheme } from "../core/theme.js";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LEVELS = 4095; // 12 bits a coordinate: four letters a point
export const HALF = 2; // the drawing board reaches from -2 to 2

/** Points as "left,bottom,right,top~letters". Quantised: what is packed once stays the same ever after. */
export function packPoints(points) {
  const box = boxOf(points);
  const place = (value, low, high) => Math.max(0, Math.min(LEVELS, Math.round(((value - low) / (high - low || 1)) * LEVELS)));
  let letters = "";
  for (const [x, y] of points) {
    const [a, b] = [place(x, box[0], box[2]), place(y, box[1], box[3])];
    letters += LETTERS[a >> 6] + LETTERS[a & 63] + LETTERS[b >> 6] + LETTERS[b & 63];
  }
  return `${box.join(",")}~${letters}`;
}

/** The points of such a text; [] for what is none. */
export function unpackPoints(text) {
  const [head, letters = ""] = text.split("~");
  const box = head.split(",").map(Number);
  if (box.length !== 4 || !box.every(Number.isFinite) || letters.length % 4) return [];
  const found = [];
  for (let i = 0; i < letters.length; i += 4) {
    const [a, b, c, d] = [0, 1, 2, 3].map((j) => LETTERS.indexOf(letters[i + j]));
    if (Math.min(a, b, c, d) < 0) return [];
    found.push([rounded(box[0] + ((a * 64 + b) / LEVELS) * (box[2] - box[0])), rounded(box[1] + ((c * 64 + d) / LEVELS) * (box[3] - box[1]))]);
  }
  return found;
}

function boxOf(points) {
  const board = [-HALF, -HALF, HALF, HALF];
  if (!points.length) return board;
  const [[left, right], [bottom, top]] = [span(points, 0), span(points, 1)];
  const wide = Math.max(right - left, top - bottom);
  if (Math.min(left, bottom) >= -HALF && Math.max(right, top) <= HALF && wide > 0.2) return board;
  return [left, bottom, right, top].map(rounded);
}

function span(points, axis) {
  let [low, high] = [Infinity, -Infinity];
  for (const point of points) {
    low = Math.min(low, point[axis]);
    high = Math.max(high, point[axis]);
  }
  return [low, high];
}

function rounded(value) {
  return Number(value.toPrecision(6));
}

/** Rounds points as the address will hold them, so that a copied address plays the very same game. */
export function quantised(points) {
  return points.length ? unpackPoints(packPoints(points)) : [];
}

/** Lines of "x, y" -> points. Throws an Error with the first line that is none. */
export function parseLines(text) {
  const found = [];
  text.split(/\r?\n/).forEach((line, i) => {
    if (!line.trim()) return;
    const parts = line
      .trim()
      .split(/[\s,;]+/)
      .map(Number);
    if (parts.length !== 2 || !parts.every(Number.isFinite))
      throw new Error(t("Line {line} is not a point. Expected two numbers, as in 0.5, -1.2.", { line: i + 1 }));
    found.push(parts);
  });
  return found;
}

/** The first two columns of numbers of a CSV text. {points, columns: names or numbers of the two, skipped: lines that had no two numbers}. */
export function parseTable(text, most) {
  const rows = text
    .split(/\r?\n/)
    .filter((line) => line.trim())
    .map((line) => line.split(/[,;\t]|\s{2,}/).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1")));
  const value = (cell) => (cell === undefined || cell === "" ? NaN : Number(cell));
  const width = Math.max(0, ...rows.slice(0, 200).map((row) => row.length));
  const share = (column) => rows.filter((row) => Number.isFinite(value(row[column]))).length / (rows.length || 1);
  const columns = Array.from({ length: width }, (_, i) => i)
    .filter((i) => share(i) > 0.5)
    .slice(0, 2);
  if (columns.length < 2) throw new Error(t("The file has no two columns of numbers. Expected a CSV file with an x and a y in each line."));
  const all = rows.map((row) => columns.map((column) => value(row[column])));
  const good = all.filter((pair) => pair.every((one) => Number.isFinite(one) && Math.abs(one) <= 1e6));
  const every = Math.max(1, good.length / most);
  const kept = Array.from({ length: Math.min(most, good.length) }, (_, i) => good[Math.floor(i * every)]);
  const headed = rows.length && columns.some((column) => !Number.isFinite(value(rows[0][column])));
  return {
    points: quantised(kept),
    columns: columns.map((column) => (headed ? rows[0][column] : String(column + 1))),
    skipped: all.length - good.length - (headed ? 1 : 0),
    left: good.length - kept.length,
  };
}

/** A heart, so that the board is not empty. */
export function firstDrawing() {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647 - 0.5;
  return quantised(
    Array.from({ length: 240 }, (_, i) => {
      const angle = (i / 240) * 2 * Math.PI;
      const x = Math.sin(angle) ** 3;
      const y = (13 * Math.cos(angle) - 5 * Math.cos(2 * angle) - 2 * Math.cos(3 * angle) - Math.cos(4 * angle)) / 16 + 0.15;
      return [1.4 * x + 0.08 * random(), 1.4 * y + 0.08 * random()];
    }),
  );
}

/** The drawing board: {node, set(points)}. onPoints(points) when a stroke or the text is finished. */
export function board({ most, onPoints }) {
  return new Board(most, onPoints);
}

class Board {
  constructor(most, onPoints) {
    Object.assign(this, { most, onPoints, points: [], strokes: [], pressed: false });
    this.canvas = el("canvas", {
      width: 480,
      height: 480,
      class: "draw-board",
      testid: "draw-board",
      role: "img",
      "aria-label": t("Drawing board: press and drag to spray points. The field below takes coordinates instead."),
    });
    this.count = el("p", { class: "hint", role: "status" });
    this.text = textField({
      label: t("Points, one x, y a line"),
      rows: 5,
      testid: "draw-text",
      hint: t("From -2 to 2, as 0.5, -1.2. This does the same as drawing."),
      onChange: (text) => this.typed(text),
    });
    this.why = el("p", { class: "hint problem", role: "alert" });
    const undo = button({ label: t("Undo"), testid: "draw-undo", onClick: () => this.undo() });
    const empty = button({ label: t("Clear"), testid: "draw-clear", onClick: () => this.replace([], false) });
    this.node = el(
      "div",
      { class: "stack" },
      this.canvas,
      el("div", { class: "toolbar" }, undo.node, empty.node, this.count),
      el("details", {}, el("summary", { text: t("Type coordinates instead") }), this.text.node, this.why),
    );
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.canvas.addEventListener("pointermove", (event) => this.pressed && this.spray(event));
    this.canvas.addEventListener("pointerup", () => this.release());
    this.canvas.addEventListener("pointercancel", () => this.release());
    this.offTheme = onTheme(() => this.draw());
  }

  set(points) {
    this.points = points.slice();
    this.show();
  }

  destroy() {
    this.offTheme();
  }

  press(event) {
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.pressed = true;
    this.strokes.push(this.points.length);
    this.spray(event);
  }

  spray(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width - 0.5) * 2 * HALF;
    const y = (0.5 - (event.clientY - box.top) / box.height) * 2 * HALF;
    for (let i = 0; i < 4 && this.points.length < this.most; i += 1) {
      const [radius, angle] = [0.07 * Math.sqrt(-2 * Math.log(1 - Math.random())), 2 * Math.PI * Math.random()];
      const inside = (value) => Math.max(-HALF, Math.min(HALF, value));
      this.points.push([inside(x + radius * Math.cos(angle)), inside(y + radius * Math.sin(angle))]);
    }
    this.draw();
  }

  release() {
    if (!this.pressed) return;
    this.pressed = false;
    this.replace(this.points, true);
  }

  undo() {
    this.replace(this.points.slice(0, this.strokes.pop() ?? 0), true);
  }

  typed(text) {
    try {
      this.replace(parseLines(text).slice(0, this.most), true);
      this.why.textContent = "";
    } catch (error) {
      this.why.textContent = error.message;
    }
  }

  replace(points, play) {
    this.points = quantised(points);
    if (!points.length) this.strokes = [];
    this.show();
    if (play) this.onPoints(this.points);
  }

  show() {
    this.text.set(this.points.map(([x, y]) => `${Number(x.toFixed(3))}, ${Number(y.toFixed(3))}`).join("\n"));
    this.draw();
  }

  draw() {
    this.count.textContent = t("{count} points", { count: this.points.length });
    const context = this.canvas.getContext("2d");
    const size = this.canvas.width;
    context.clearRect(0, 0, size, size);
    context.strokeStyle = colour("--line");
    context.lineWidth = 2;
    context.beginPath();
    for (const at of [0.25, 0.5, 0.75]) {
      context.moveTo(at * size, 0);
      context.lineTo(at * size, size);
      context.moveTo(0, at * size);
      context.lineTo(size, at * size);
    }
    context.stroke();
    context.fillStyle = colour("--real");
    context.beginPath();
    for (const [x, y] of this.points) {
      const [px, py] = [(x / (2 * HALF) + 0.5) * size, (0.5 - y / (2 * HALF)) * size];
      context.moveTo(px + 5, py);
      context.arc(px, py, 5, 0, 2 * Math.PI);
    }
    context.fill();
  }
}
