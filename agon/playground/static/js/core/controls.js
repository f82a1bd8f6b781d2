// Inputs with their labels tied to them. Each is {node, input, set(value), get(), disable(bool)}; set does not call the listener.
// Common options: label, value, testid (on the input), hint (text below, tied by aria-describedby), hideLabel (for screen readers only), disabled.

import { clear, el, uid } from "./dom.js";
import { t } from "./i18n.js";
import { icon } from "./icons.js";

function field({ label, hint, hideLabel = false, className = "" }, input, beside = null) {
  const id = input.id || (input.id = uid("field"));
  const help = hint ? el("p", { class: "hint", id: `${id}-hint`, text: hint }) : null;
  if (help) input.setAttribute("aria-describedby", help.id);
  const name = el("label", { for: id, class: hideLabel ? "sr-only" : null, text: label });
  const head = beside ? el("div", { class: "field-head" }, name, beside) : name;
  return el("div", { class: `field ${className}` }, head, input, help);
}

const disabler =
  (...inputs) =>
  (off = true) =>
    inputs.forEach((input) => (input.disabled = off));

/** A slider. log: equal steps multiply (min > 0; step is then the number of steps a decade, default 20). format(value) gives the words beside it. */
export function slider(options) {
  const { min, max, step = "any", log = false, value = min, format = defaultFormat, onInput, onChange, testid } = options;
  const to = log ? Math.log10 : (x) => x;
  const from = log ? (x) => Number((10 ** x).toPrecision(3)) : (x) => x;
  const shown = el("output", { class: "field-value" });
  const input = el("input", {
    type: "range",
    min: to(min),
    max: to(max),
    step: log ? 1 / (step === "any" ? 20 : step) : step,
    testid,
    disabled: options.disabled,
  });
  const get = () => Math.min(max, Math.max(min, from(Number(input.value))));
  const say = () => {
    const words = format(get());
    shown.textContent = words;
    input.setAttribute("aria-valuetext", words);
    input.style.setProperty("--filled", `${(100 * (Number(input.value) - to(min))) / (to(max) - to(min) || 1)}%`);
  };
  const set = (next) => {
    input.value = String(to(Math.min(max, Math.max(min, Number(next)))));
    say();
  };
  input.addEventListener("input", () => {
    say();
    onInput?.(get());
  });
  input.addEventListener("change", () => onChange?.(get()));
  const node = field(options, input, shown);
  shown.setAttribute("for", input.id);
  set(value);
  return { node, input, set, get, disable: disabler(input) };
}

function defaultFormat(value) {
  return String(Number(Number(value).toPrecision(4)));
}

/** A drop-down. options: [{value, label, disabled?, group?}]; setOptions(list) changes them. */
export function select({ options = [], value, onChange, testid, disabled, ...rest }) {
  const input = el("select", { testid, disabled });
  const fill = (list) => {
    clear(input);
    const groups = new Map();
    for (const one of list) {
      const option = el("option", { value: String(one.value), text: one.label, disabled: one.disabled });
      if (one.group && !groups.has(one.group)) groups.set(one.group, input.appendChild(el("optgroup", { label: one.group })));
      (one.group ? groups.get(one.group) : input).append(option);
    }
  };
  fill(options);
  const set = (next) => (input.value = String(next));
  if (value !== undefined) set(value);
  input.addEventListener("change", () => onChange?.(input.value));
  const setOptions = (list, next = input.value) => {
    fill(list);
    set(next);
  };
  return { node: field(rest, input), input, set, get: () => input.value, setOptions, disable: disabler(input) };
}

/** A check box drawn as a switch. */
export function toggle({ label, checked = false, value = checked, onChange, testid, disabled, hint, colour }) {
  const input = el("input", { type: "checkbox", checked: Boolean(value), testid, disabled, id: uid("field") });
  input.addEventListener("change", () => onChange?.(input.checked));
  const swatch = colour ? el("span", { class: "swatch", "aria-hidden": "true", style: { "--swatch": `var(${colour})` } }) : null;
  const help = hint ? el("p", { class: "hint", id: `${input.id}-hint`, text: hint }) : null;
  if (help) input.setAttribute("aria-describedby", help.id);
  const node = el(
    "div",
    { class: "field toggle" },
    el("label", {}, input, el("span", { class: "track", "aria-hidden": "true" }), swatch, el("span", { text: label })),
    help,
  );
  return { node, input, set: (next) => (input.checked = Boolean(next)), get: () => input.checked, disable: disabler(input) };
}

/** A button. kind: primary | plain | quiet; iconOnly keeps the label for screen readers and as a tooltip. set(label) changes its words. */
export function button({ label, icon: picture, kind = "plain", onClick, testid, iconOnly = false, disabled, title, className = "" }) {
  const words = el("span", { class: iconOnly ? "sr-only" : null, text: label });
  const input = el("button", {
    type: "button",
    class: `button ${kind} ${iconOnly ? "icon-only" : ""} ${className}`.trim(),
    testid,
    disabled,
    title: title ?? (iconOnly ? label : null),
  });
  const draw = (name) => input.replaceChildren(...(name ? [icon(name)] : []), words);
  draw(picture);
  if (onClick) input.addEventListener("click", onClick);
  const set = (next, nextIcon = picture) => {
    words.textContent = next;
    if (iconOnly) input.title = next;
    draw(nextIcon);
  };
  return { node: input, input, set, get: () => words.textContent, disable: disabler(input) };
}

/** A number that is typed. Calls onChange with a number inside its bounds; what is no number is marked and not passed on. */
export function number({ min, max, step = "any", value, onChange, onInput, testid, disabled, ...rest }) {
  const input = el("input", { type: "number", min, max, step, value: value ?? "", testid, disabled, inputmode: step === 1 ? "numeric" : "decimal" });
  const get = () => (input.value === "" ? null : Number(input.value));
  const checked = (fn, fix) => () => {
    const given = get();
    const good = given !== null && Number.isFinite(given);
    input.setAttribute("aria-invalid", String(!good));
    if (!good) return;
    const inside = Math.min(max ?? Infinity, Math.max(min ?? -Infinity, step === 1 ? Math.round(given) : given));
    if (fix && inside !== given) input.value = inside;
    fn?.(inside);
  };
  input.addEventListener("input", checked(onInput, false));
  input.addEventListener("change", checked(onChange, true));
  return { node: field(rest, input), input, set: (next) => (input.value = next ?? ""), get, disable: disabler(input) };
}

/** A line of text, or several (rows). */
export function textField({ value = "", rows = 0, placeholder, onInput, onChange, testid, disabled, spellcheck = false, ...rest }) {
  const input = el(rows ? "textarea" : "input", {
    type: rows ? null : "text",
    rows: rows || null,
    placeholder,
    testid,
    disabled,
    spellcheck: String(spellcheck),
    autocomplete: "off",
  });
  input.value = value;
  input.addEventListener("input", () => onInput?.(input.value));
  input.addEventListener("change", () => onChange?.(input.value));
  return { node: field(rest, input), input, set: (next) => (input.value = next), get: () => input.value, disable: disabler(input) };
}

/** One of a few, side by side: radio buttons that look like one control. options: [{value, label, testid?, title?}]. */
export function segmented({ label, options, value, onChange, testid, hideLabel = false }) {
  const name = uid("group");
  const inputs = options.map((one) =>
    el("input", { type: "radio", name, value: String(one.value), testid: one.testid, checked: String(one.value) === String(value) }),
  );
  const parts = options.map((one, i) => el("label", { title: one.title }, inputs[i], el("span", { text: one.label })));
  inputs.forEach((input) => input.addEventListener("change", () => input.checked && onChange?.(input.value)));
  const node = el(
    "fieldset",
    { class: "field segmented", testid },
    el("legend", { class: hideLabel ? "sr-only" : null, text: label }),
    el("div", { class: "segments" }, parts),
  );
  const set = (next) => inputs.forEach((input) => (input.checked = input.value === String(next)));
  return { node, input: inputs[0], set, get: () => inputs.find((input) => input.checked)?.value, disable: disabler(...inputs) };
}

/** Tabs. tabs: [{id, label, node}]. */
export function tabs({ label, tabs: list, value = list[0]?.id, onChange, testid }) {
  const base = uid("tabs");
  let current = value;
  const buttons = list.map((one) =>
    el("button", {
      type: "button",
      role: "tab",
      id: `${base}-${one.id}`,
      "aria-controls": `${base}-${one.id}-panel`,
      testid: `tab-${one.id}`,
      text: one.label,
      on: { click: () => choose(one.id) },
    }),
  );
  const panels = list.map((one) =>
    el("div", { role: "tabpanel", id: `${base}-${one.id}-panel`, "aria-labelledby": `${base}-${one.id}`, tabindex: "-1" }, one.node),
  );
  const set = (id) => {
    current = id;
    list.forEach((one, i) => {
      buttons[i].setAttribute("aria-selected", String(one.id === id));
      buttons[i].tabIndex = one.id === id ? 0 : -1;
      panels[i].hidden = one.id !== id;
    });
  };
  const choose = (id) => {
    set(id);
    onChange?.(id);
  };
  const bar = el("div", { role: "tablist", class: "tablist", "aria-label": label, testid }, buttons);
  bar.addEventListener("keydown", (event) => {
    const at = list.findIndex((one) => one.id === current);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: list.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + list.length) % list.length;
    choose(list[next].id);
    buttons[next].focus();
  });
  set(value);
  return { node: el("div", { class: "tabs" }, bar, panels), input: buttons[0], set, get: () => current, disable: disabler(...buttons) };
}

/** A modal dialog: {node, open(), close()}. body: a node or list of nodes; actions: nodes at its foot. Leaves the page when closed. */
export function dialog({ title, body, actions = [], wide = false, testid, onClose }) {
  const id = uid("dialog");
  const close = button({ label: t("Close"), icon: "close", kind: "quiet", iconOnly: true, testid: "dialog-close", onClick: () => node.close() });
  const foot = actions.length ? el("footer", { class: "toolbar" }, actions) : null;
  const node = el(
    "dialog",
    { class: wide ? "wide" : null, "aria-labelledby": id, testid },
    el("header", {}, el("h2", { id, text: title }), close.node),
    el("div", { class: "dialog-body" }, body),
    foot,
  );
  let before = null;
  node.addEventListener("click", (event) => event.target === node && node.close()); // beside it
  node.addEventListener("close", () => {
    node.remove();
    if (before?.isConnected) before.focus();
    onClose?.();
  });
  const open = () => {
    before = document.activeElement;
    document.body.append(node);
    node.showModal();
  };
  return { node, open, close: () => node.close() };
}
