// A small menu at a button: arrow keys, Home and End, Escape; it closes when the focus goes elsewhere.

import { el } from "../core/dom.js";
import { icon } from "../core/icons.js";

let shown = null;

/** Opens a menu at an element, inside `host`. items: [{label, icon, testid, onClick, disabled}]; null ones are left out. `back` gets the focus at the end. */
export function openMenu({ at, host, label, items, back = at }) {
  closeMenu();
  const buttons = items.filter(Boolean).map((item) =>
    el("button", { type: "button", role: "menuitem", tabindex: "-1", testid: item.testid, disabled: item.disabled, on: { click: () => done(item.onClick) } }, icon(item.icon), el("span", { text: item.label })),
  );
  const node = el("div", { class: "menu", role: "menu", "aria-label": label, testid: "menu" }, buttons);
  const done = (fn) => {
    closeMenu();
    back.focus();
    fn();
  };
  node.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape" || event.key === "Tab") {
      closeMenu();
      back.focus();
      if (event.key === "Escape") event.preventDefault();
      return;
    }
    const open = buttons.filter((one) => !one.disabled);
    const place = open.indexOf(document.activeElement);
    const to = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: open.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    open[(to + open.length) % open.length].focus();
  });
  node.addEventListener("focusout", (event) => !node.contains(event.relatedTarget) && shown?.node === node && closeMenu());
  const outside = (event) => node.contains(event.target) || closeMenu();
  const moved = () => closeMenu();
  document.addEventListener("pointerdown", outside, true);
  window.addEventListener("scroll", moved, { passive: true });
  shown = { node, at, off: () => (document.removeEventListener("pointerdown", outside, true), window.removeEventListener("scroll", moved)) };
  at.setAttribute("aria-expanded", "true");
  host.append(node);
  place(node, at.getBoundingClientRect());
  buttons.find((one) => !one.disabled)?.focus({ preventScroll: true });
}

export function closeMenu() {
  const old = shown;
  shown = null; // first: taking the node away moves the focus, which asks for closing again
  old?.off();
  old?.at.setAttribute("aria-expanded", "false");
  old?.node.remove();
}

// Below the button, or above it where there is no room; inside the window in any case.
function place(node, at) {
  const { width, height } = node.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.right - width, innerWidth - width - 8));
  const below = at.bottom + 4;
  const top = below + height <= innerHeight - 8 ? below : Math.max(8, at.top - height - 4);
  node.style.left = `${left}px`;
  node.style.top = `${top}px`;
}
