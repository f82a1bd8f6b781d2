// Columns into what a chart takes: an axis, smoothing, several runs on one axis.

export const AXES = { images: "num_images", steps: "step", seconds: "seconds" };

/** The rows of a run's columns whose x is a number not below the one before, as {x: [], rows: [indices]}. */
export function along(columns, axis) {
  const given = columns.get(AXES[axis]) ?? [];
  const x = [];
  const rows = [];
  let before = -Infinity;
  for (let i = 0; i < given.length; i += 1) {
    const value = given[i];
    if (value === null || value < before) continue;
    x.push(value);
    rows.push(i);
    before = value;
  }
  return { x, rows };
}

/** Exponential smoothing without a bias to zero at the beginning; a gap stays a gap, and the average goes on behind it. */
export function smooth(values, weight) {
  if (!weight) return values;
  let [sum, mass] = [0, 0];
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return sum / mass;
  });
}

/** Several lines on one axis: every x of any of them; between its own points a line is straight, and in its gaps and beyond its ends there is nothing. */
export function together(lines) {
  if (lines.length === 1) return { x: lines[0].x, values: [lines[0].y] };
  const x = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  return { x, values: lines.map((line) => at(line, x)) };
}

function at(line, wanted) {
  const found = new Array(wanted.length).fill(null);
  let j = 0;
  for (let i = 0; i < wanted.length; i += 1) {
    while (j < line.x.length && line.x[j] < wanted[i]) j += 1;
    if (j === line.x.length) break;
    if (line.x[j] === wanted[i]) found[i] = line.y[j];
    else if (j > 0 && line.y[j - 1] !== null && line.y[j] !== null) {
      const part = (wanted[i] - line.x[j - 1]) / (line.x[j] - line.x[j - 1]);
      found[i] = line.y[j - 1] + part * (line.y[j] - line.y[j - 1]);
    }
  }
  return found;
}

/** Where on the axis so many images were seen. */
export function placeOf(images, columns, axis) {
  if (axis === "images") return images;
  const from = columns.get("num_images") ?? [];
  const to = columns.get(AXES[axis]) ?? [];
  for (let i = 0; i < from.length; i += 1) {
    if (from[i] < images || to[i] === null) continue;
    if (i === 0 || from[i] === from[i - 1] || to[i - 1] === null) return to[i];
    return to[i - 1] + ((images - from[i - 1]) / (from[i] - from[i - 1])) * (to[i] - to[i - 1]);
  }
  return to.at(-1) ?? null;
}
