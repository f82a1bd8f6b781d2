// Light, dark, contrast, or what the system says; and whether the reader wants things to keep still.

const KEY = "agon-theme";
const NAMES = ["auto", "light", "dark", "contrast"];
const listeners = new Set();
const dark = matchMedia("(prefers-color-scheme: dark)");
const strong = matchMedia("(prefers-contrast: more)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const cache = new Map();
let chosen = "auto";

/** The reader's choice: auto | light | dark | contrast. */
export function theme() {
  return chosen;
}

/** What is shown: light | dark | contrast. */
export function shownTheme() {
  if (chosen !== "auto") return chosen;
  if (strong.matches) return "contrast";
  return dark.matches ? "dark" : "light";
}

export function setTheme(name) {
  chosen = NAMES.includes(name) ? name : "auto";
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // the choice lasts until the page is closed
  }
  apply();
}

/** Applies the stored choice, and follows the system where that is the choice. */
export function start() {
  try {
    chosen = localStorage.getItem(KEY) ?? "auto";
  } catch {
    chosen = "auto";
  }
  if (!NAMES.includes(chosen)) chosen = "auto";
  dark.addEventListener("change", apply);
  strong.addEventListener("change", apply);
  apply();
}

function apply() {
  document.documentElement.dataset.theme = shownTheme();
  cache.clear();
  for (const fn of [...listeners]) fn(shownTheme());
}

/** fn(shown theme) after each change; gives back what takes it away again. */
export function onTheme(fn) {
  listeners.add(fn);
  return () => listeners.delete(fn);
}

/** Whether the reader asked for less motion. */
export function calm() {
  return still.matches;
}

/** A colour for a canvas: "--fake" is looked up in the theme, anything else is given back. */
export function colour(name) {
  if (!name.startsWith("--")) return name;
  if (!cache.has(name)) cache.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim() || "#888");
  return cache.get(name);
}

/** A theme colour as [red, green, blue], 0 to 255. */
export function rgb(name) {
  const key = `rgb:${name}`;
  if (!cache.has(key)) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = colour(name);
    context.fillRect(0, 0, 1, 1);
    cache.set(key, [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)]);
  }
  return cache.get(key);
}
