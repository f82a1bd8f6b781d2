// Drawing on the stages: the discriminator's map, its boundary, points, the generator's grid, arrows.

import { colour, rgb, shownTheme } from "../core/theme.js";

const SHADES = 256;
let table = null;
let tableFor = "";

/** 256 colours from the fake's over the paper to the real's, evenly spaced to the eye (in OKLab), as [r, g, b, r, g, b, …] of 0 to 255. */
export function shades() {
  if (tableFor === shownTheme()) return table;
  tableFor = shownTheme();
  const strength = { light: 0.62, dark: 0.66, contrast: 0.5 }[tableFor];
  const [paper, fake, real] = ["--panel", "--fake", "--real"].map((name) => toLab(rgb(name)));
  table = new Uint8ClampedArray(SHADES * 3);
  for (let i = 0; i < SHADES; i += 1) {
    const side = (2 * i) / (SHADES - 1) - 1;
    const end = side < 0 ? fake : real;
    const weight = strength * Math.abs(side) ** 0.85;
    table.set(fromLab(paper.map((value, j) => value + weight * (end[j] - value))), 3 * i);
  }
  return table;
}

function toLab([r, g, b]) {
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const [x, y, z] = [linear(r), linear(g), linear(b)];
  const l = Math.cbrt(0.4122214708 * x + 0.5363325363 * y + 0.0514459929 * z);
  const m = Math.cbrt(0.2119034982 * x + 0.6806995451 * y + 0.1073969566 * z);
  const s = Math.cbrt(0.0883024619 * x + 0.2817188376 * y + 0.6299787005 * z);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function fromLab([lightness, a, b]) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return linear.map((value) => 255 * (value <= 0.0031308 ? 12.92 * value : 1.055 * Math.max(0, value) ** (1 / 2.4) - 0.055));
}

/** The map of one stage as a small picture, kept and drawn into again. */
export class HeatPicture {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.side = 0;
  }

  draw(context, heat, size) {
    const side = Math.sqrt(heat.length);
    if (side !== this.side) {
      this.side = this.canvas.width = this.canvas.height = side;
      this.context = this.canvas.getContext("2d");
      this.image = this.context.createImageData(side, side);
    }
    const colours = shades();
    const pixels = this.image.data;
    for (let row = 0; row < side; row += 1) {
      for (let column = 0; column < side; column += 1) {
        const shade = 3 * Math.max(0, Math.min(SHADES - 1, Math.round(heat[row * side + column] * (SHADES - 1))));
        const at = 4 * ((side - 1 - row) * side + column); // the first row of the heat map lies lowest
        pixels[at] = colours[shade];
        pixels[at + 1] = colours[shade + 1];
        pixels[at + 2] = colours[shade + 2];
        pixels[at + 3] = 255;
      }
    }
    this.context.putImageData(this.image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    const half = size / (side - 1) / 2; // values stand at the corners of the cells, pixels at their middles
    context.drawImage(this.canvas, -half, -half, size + 2 * half, size + 2 * half);
  }
}

/** The line where the discriminator is undecided (marching squares at 0.5). */
export function drawBoundary(context, heat, size) {
  const side = Math.sqrt(heat.length);
  const cell = size / (side - 1);
  context.beginPath();
  for (let row = 0; row < side - 1; row += 1) {
    for (let column = 0; column < side - 1; column += 1) {
      const at = row * side + column;
      crossings(context, [heat[at], heat[at + 1], heat[at + side + 1], heat[at + side]], column, row, cell, size);
    }
  }
  context.strokeStyle = colour("--critic");
  context.lineWidth = 1.5;
  context.stroke();
}

// The points where the line cuts the four edges of a cell, joined in pairs.
function crossings(context, [a, b, c, d], column, row, cell, size) {
  const above = (a >= 0.5) + (b >= 0.5) + (c >= 0.5) + (d >= 0.5);
  if (above === 0 || above === 4) return;
  let open = false;
  const visit = (from, to, x0, y0, x1, y1) => {
    if (from >= 0.5 === to >= 0.5) return;
    const along = (0.5 - from) / (to - from);
    const x = (column + x0 + along * (x1 - x0)) * cell;
    const y = size - (row + y0 + along * (y1 - y0)) * cell;
    if (open) context.lineTo(x, y);
    else context.moveTo(x, y);
    open = !open;
  };
  visit(a, b, 0, 0, 1, 0);
  visit(b, c, 1, 0, 1, 1);
  visit(c, d, 1, 1, 0, 1);
  visit(d, a, 0, 1, 0, 0);
}

/** Where the data's units lie on a square canvas of `size`. */
export class View {
  constructor([left, bottom, right, top], size) {
    this.left = left;
    this.bottom = bottom;
    this.scale = size / (right - left);
    this.rise = size / (top - bottom);
    this.size = size;
  }

  x(value) {
    return (value - this.left) * this.scale;
  }

  y(value) {
    return this.size - (value - this.bottom) * this.rise;
  }
}

/** Real points: discs. */
export function drawReal(context, points, view, radius = 2.3) {
  context.beginPath();
  for (let i = 0; i < points.length; i += 2) {
    const [x, y] = [view.x(points[i]), view.y(points[i + 1])];
    context.moveTo(x + radius, y);
    context.arc(x, y, radius, 0, 2 * Math.PI);
  }
  context.fillStyle = colour("--real");
  context.globalAlpha = 0.72;
  context.fill();
  context.globalAlpha = 1;
}

/** Fake points: triangles with an edge in the colour of the paper. Gives how many lie outside. */
export function drawFake(context, points, view, radius = 4) {
  let outside = 0;
  context.beginPath();
  for (let i = 0; i < points.length; i += 2) {
    const [x, y] = [view.x(points[i]), view.y(points[i + 1])];
    if (!(x >= 0 && y >= 0 && x <= view.size && y <= view.size)) {
      outside += 1;
      continue;
    }
    context.moveTo(x, y - radius);
    context.lineTo(x + 0.87 * radius, y + 0.6 * radius);
    context.lineTo(x - 0.87 * radius, y + 0.6 * radius);
    context.closePath();
  }
  context.lineWidth = 1.2;
  context.strokeStyle = colour("--panel");
  context.stroke();
  context.fillStyle = colour("--fake");
  context.fill();
  return outside;
}

/** What the generator makes of a grid of latents: (n, n, 2), or (n, 2) of a line. */
export function drawManifold(context, points, shape, view) {
  const [rows, columns] = shape.length === 3 ? shape : [1, shape[0]];
  const to = (row, column, first) => {
    const at = 2 * (row * columns + column);
    if (first) context.moveTo(view.x(points[at]), view.y(points[at + 1]));
    else context.lineTo(view.x(points[at]), view.y(points[at + 1]));
  };
  context.beginPath();
  for (let row = 0; row < rows; row += 1) for (let column = 0; column < columns; column += 1) to(row, column, column === 0);
  if (rows > 1) for (let column = 0; column < columns; column += 1) for (let row = 0; row < rows; row += 1) to(row, column, row === 0);
  context.strokeStyle = colour("--fake");
  context.globalAlpha = 0.75;
  context.lineWidth = rows > 1 ? 0.9 : 2;
  context.stroke();
  context.globalAlpha = 1;
}

/** The largest length among arrows (rows of x, y, dx, dy). */
export function longest(arrows) {
  let most = 0;
  for (let i = 0; i < arrows.length; i += 4) most = Math.max(most, Math.hypot(arrows[i + 2], arrows[i + 3]) || 0);
  return most;
}

/** Where each fake is pushed. `largest` (of all stages) is drawn an eighth of the stage long. */
export function drawArrows(context, arrows, view, largest) {
  const scale = largest > 0 ? view.size / 8 / largest : 0;
  context.strokeStyle = context.fillStyle = colour("--ink");
  context.lineWidth = 1.3;
  context.beginPath();
  for (let i = 0; i < arrows.length; i += 4) {
    const [x, y] = [view.x(arrows[i]), view.y(arrows[i + 1])];
    const [dx, dy] = [arrows[i + 2] * scale, -arrows[i + 3] * scale];
    const length = Math.hypot(dx, dy);
    if (!(length > 0.5)) {
      context.moveTo(x - 1, y);
      context.lineTo(x + 1, y);
      continue;
    }
    const [ux, uy, head] = [dx / length, dy / length, Math.min(5, 0.45 * length)];
    context.moveTo(x, y);
    context.lineTo(x + dx, y + dy);
    context.moveTo(x + dx - head * (ux + 0.55 * uy), y + dy - head * (uy - 0.55 * ux));
    context.lineTo(x + dx, y + dy);
    context.lineTo(x + dx - head * (ux - 0.55 * uy), y + dy - head * (uy + 0.55 * ux));
  }
  context.stroke();
}
