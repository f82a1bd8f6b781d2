// Line icons on a 20 x 20 grid, in the colour of the text around them.

import { svg } from "./dom.js";

const PATHS = {
  play: "M6 4l10 6-10 6z",
  pause: "M6 4v12M14 4v12",
  restart: "M4 10a6 6 0 1 0 2-4.5M4 3v4h4",
  step: "M5 4l7 6-7 6zM15 4v12",
  plus: "M10 4v12M4 10h12",
  close: "M5 5l10 10M15 5L5 15",
  check: "M4 10.5l4 4 8-9",
  link: "M8.5 11.5l3-3M7 9l-2 2a3 3 0 0 0 4 4l2-2M13 11l2-2a3 3 0 0 0-4-4l-2 2",
  code: "M7 5l-5 5 5 5M13 5l5 5-5 5",
  download: "M10 3v10M6 9l4 4 4-4M4 17h12",
  upload: "M10 13V3M6 7l4-4 4 4M4 17h12",
  lock: "M5 9h10v8H5zM7 9V6.5a3 3 0 0 1 6 0V9",
  unlock: "M5 9h10v8H5zM7 9V6.5a3 3 0 0 1 5.8-1",
  dice: "M4 4h12v12H4zM7.5 7.5h.01M12.5 7.5h.01M7.5 12.5h.01M12.5 12.5h.01M10 10h.01",
  more: "M4 10h.01M10 10h.01M16 10h.01",
  help: "M10 2a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM7.8 7.8a2.3 2.3 0 1 1 3.2 2.1c-.7.4-1 .8-1 1.5M10 14.2h.01",
  book: "M10 5c-2-1.3-4-1.5-7-1.5v12c3 0 5 .2 7 1.5 2-1.3 4-1.5 7-1.5v-12c-3 0-5 .2-7 1.5zM10 5v12",
  cube: "M10 2.5l6.5 3.7v7.6L10 17.5l-6.5-3.7V6.2zM3.5 6.2L10 10l6.5-3.8M10 10v7.5",
  back: "M12 4l-6 6 6 6",
  forward: "M8 4l6 6-6 6",
  down: "M4 7l6 6 6-6",
  film: "M3 4h14v12H3zM7 4v12M13 4v12M3 10h14",
  image: "M3 4h14v12H3zM3 14l4-4 3 3 3-3 4 4M7.5 7.5h.01",
  stop: "M5 5h10v10H5z",
  search: "M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM13 13l4 4",
  filter: "M3 4h14l-5.5 7v5l-3-1.5V11z",
  chart: "M3 3v14h14M6 13l3-4 3 2 4-6",
  pen: "M4 16l1-4 8.5-8.5 3 3L8 15z",
  grid: "M3 3h6v6H3zM11 3h6v6h-6zM3 11h6v6H3zM11 11h6v6h-6z",
};
const FILLED = new Set(["play", "stop"]);

/** An icon that says nothing to a screen reader: the button's label does. */
export function icon(name) {
  const path = svg("path", { d: PATHS[name] ?? PATHS.more });
  return svg("svg", { viewBox: "0 0 20 20", class: FILLED.has(name) ? "icon filled" : "icon", "aria-hidden": "true", focusable: "false" }, path);
}
