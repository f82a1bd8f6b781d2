// One polite live region for the whole page, and short messages that are also seen.

import { el } from "./dom.js";

let region = null;
let shown = null;
let timer = 0;

function made() {
  if (region?.isConnected) return region;
  region = el("div", { class: "sr-only", role: "status", "aria-live": "polite", testid: "announcer" });
  document.body.append(region);
  return region;
}

/** Says a text to screen readers, after what they are saying now. */
export function announce(text) {
  const node = made();
  node.textContent = "";
  // The same text twice is said twice only if it was away in between.
  requestAnimationFrame(() => (node.textContent = text));
}

/** Shows a text for some seconds at the foot of the page, and says it. kind: "plain" | "bad". */
export function toast(text, { kind = "plain", seconds = 5 } = {}) {
  shown?.remove();
  clearTimeout(timer);
  shown = el("div", { class: `toast ${kind}`, text, testid: "toast", "aria-hidden": "true" });
  document.body.append(shown);
  announce(text);
  const mine = shown;
  timer = setTimeout(() => mine.remove(), seconds * 1000);
}
