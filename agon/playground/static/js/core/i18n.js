// Words. The page's strings are English templates with {fields}; the catalogue of the server gives their Chinese.

const KEY = "agon-language";
const catalogues = { en: {} };
const listeners = new Set();
let current = "en";

/** "en" or "zh". */
export function language() {
  return current;
}

/** Chooses the language of the first visit (address, stored choice, browser) and loads its words. Awaited once, before anything is shown. */
export async function start() {
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = asked || stored() || navigator.language || "en";
  await use(wanted.toLowerCase().startsWith("zh") ? "zh" : "en");
  if (asked) store(current);
}

/** Changes the language and tells the listeners; the shell mounts the room anew. */
export async function setLanguage(name) {
  if (name !== "en" && name !== "zh") return;
  store(name);
  await use(name);
  for (const fn of [...listeners]) fn(name);
}

/** fn(language) after each change; gives back what takes it away again. */
export function onLanguage(fn) {
  listeners.add(fn);
  return () => listeners.delete(fn);
}

async function use(name) {
  if (!catalogues[name]) {
    try {
      const answer = await fetch(`/api/strings?lang=${name}`, { credentials: "same-origin" });
      catalogues[name] = answer.ok ? await answer.json() : {};
    } catch {
      catalogues[name] = {}; // English is better than nothing
    }
  }
  current = name;
  document.documentElement.lang = name === "zh" ? "zh-CN" : "en";
}

/** The template in the current language, with its {fields} filled. Numbers are shown with at most three significant digits behind the point. */
export function t(template, values = {}) {
  const words = catalogues[current]?.[template] ?? template;
  return words.replace(/\{\{|\}\}|\{(\w+)\}/g, (whole, name) => {
    if (whole === "{{") return "{";
    if (whole === "}}") return "}";
    return name in values ? plain(values[name]) : whole;
  });
}

/** A number as a reader wants it: 3 significant digits, whole numbers whole; other values as text. */
export function plain(value) {
  if (typeof value !== "number") return String(value);
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return Math.abs(value) >= 10000 ? value.toLocaleString("en-US") : String(value);
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  if (size < 1e-4) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function store(name) {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // private windows may refuse; the choice then lasts until the page is closed
  }
}
