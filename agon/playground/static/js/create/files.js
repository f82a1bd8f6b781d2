// Pictures in and out: strips of cells from the server, files to the reader's disk.

/** Offers a file to the browser's downloads. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A strip (cells below each other in one PNG) -> its cells, each {width, height, draw(canvas)}. */
export async function cellsOf({ blob, headers }) {
  const [width, height] = headers.get("x-agon-cell").split("x").map(Number);
  const bitmap = await createImageBitmap(blob);
  const count = Math.round(bitmap.height / height);
  const draw = (index) => (canvas) => {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.getContext("2d").drawImage(bitmap, 0, index * height, width, height, 0, 0, width, height);
  };
  return { width, height, close: () => bitmap.close(), cells: Array.from({ length: count }, (_, index) => ({ width, height, draw: draw(index) })) };
}

/** A run's name and what else tells files apart, as a file name. */
export function fileName(name, what, suffix) {
  const plain = `${name}-${what}`.replace(/[^A-Za-z0-9_.-]+/g, "-").replace(/^[-.]+|[-.]+$/g, "");
  return `${plain.slice(0, 80) || "agon"}.${suffix}`;
}

/** Cell i of a room with this seed, whatever else is in the room. */
export function seedOf(seed, index) {
  return (seed * 1_000_003 + index * 7919) % 2 ** 31;
}
