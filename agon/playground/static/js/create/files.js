// Pictures in and out: strips of cells from the server, files to the reader's disk.

import { button } from "../core/controls.js";
import { el } from "../core/dom.js";

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

/** A whole number of the address from 0 to `most`; the fallback for anything else. */
export function whole(text, fallback, most) {
  return /^\d+$/.test(text) && Number(text) <= most ? Number(text) : fallback;
}

/** A button that asks for a file. The same file may be given twice. */
export function chooser({ label, testid, accept, onFile }) {
  const input = el("input", {
    type: "file", class: "sr-only", testid, accept, tabindex: "-1", "aria-label": label, "aria-hidden": "true",
    on: {
      change: () => {
        const [file] = input.files;
        if (file) onFile(file);
        input.value = "";
      },
    },
  });
  const open = button({ label, icon: "upload", kind: "quiet", onClick: () => input.click() });
  return el("div", { class: "chooser" }, input, open.node);
}
