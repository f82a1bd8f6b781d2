// Numbers, times and names as the research room says them.

import { plain, t } from "../core/i18n.js";

/** Each state's word and how it is coloured. */
export const STATES = {
  training: { word: () => t("training"), tone: "live" },
  waiting: { word: () => t("waiting"), tone: "live" },
  finished: { word: () => t("finished"), tone: "good" },
  stopped: { word: () => t("stopped"), tone: "warn" },
  stale: { word: () => t("stale"), tone: "bad" },
  failed: { word: () => t("failed"), tone: "bad" },
};

export const LIVE = new Set(["training", "waiting"]);

const HEALTH = {
  "warming up": () => t("warming up"),
  balanced: () => t("balanced"),
  "discriminator winning": () => t("discriminator winning"),
  "discriminator losing": () => t("discriminator losing"),
  "diversity falling": () => t("diversity falling"),
  "collapse suspected": () => t("collapse suspected"),
};

export function healthWord(state) {
  return HEALTH[state]?.() ?? state;
}

const EVENTS = {
  started: () => t("started"),
  resumed: () => t("resumed"),
  finished: () => t("finished"),
  stopped: () => t("stopped"),
  saved: () => t("saved"),
  health: () => t("health"),
  measured: () => t("measured"),
  "not measured": () => t("not measured"),
  best: () => t("best so far"),
  nonfinite: () => t("not finite"),
  "rolled back": () => t("rolled back"),
  damaged: () => t("damaged"),
  precision: () => t("precision"),
};

export function eventWord(kind) {
  return EVENTS[kind]?.() ?? String(kind);
}

/** 12,800 -> "12.8k". */
export function count(value) {
  if (!Number.isFinite(value)) return "–";
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (value >= 10 * size || (value >= size && size > 1e3)) return `${Number((value / size).toPrecision(3))}${unit}`;
  return Math.round(value).toLocaleString("en-US");
}

export function whole(value) {
  return Math.round(value).toLocaleString("en-US");
}

/** Seconds as "0:42", "12:05", "3:02:05". */
export function duration(seconds) {
  const all = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** How long ago a time (seconds since 1970) was. */
export function ago(time) {
  const seconds = Date.now() / 1000 - time;
  if (time <= 0) return "";
  if (seconds < 10) return t("just now");
  if (seconds < 60) return t("{count} s ago", { count: Math.round(seconds) });
  if (seconds < 3600) return t("{count} min ago", { count: Math.round(seconds / 60) });
  if (seconds < 86400) return t("{count} h ago", { count: Math.round(seconds / 3600) });
  return t("{count} days ago", { count: Math.round(seconds / 86400) });
}

/** A value of a configuration as text. */
export function valueText(value) {
  if (value === null || value === undefined) return "none";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return value === "" ? "–" : value;
  if (Array.isArray(value)) return value.length ? value.map(valueText).join(", ") : "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A measured number with its standard error. */
export function measured(result) {
  const error = result.standard_error;
  return Number.isFinite(error) && error !== null ? `${plain(result.value)} ± ${plain(error)}` : plain(result.value);
}

/** The colour of a player: who discriminates is violet, all else belongs to the generator. */
export function playerColour(name) {
  const player = name.split("/")[0];
  if (/^(discriminator|critic)/.test(player) || /(^|\/)accuracy$/.test(name)) return "--critic";
  if (/^(generator|mapping|encoder)/.test(player) || name === "diversity") return "--fake";
  return "--accent";
}
