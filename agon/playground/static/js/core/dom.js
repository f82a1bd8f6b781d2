// Elements without markup strings: whatever comes from a run, a file or the server is a text node and never HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. Props: class, text, value/checked/disabled and other properties of inputs, on: {click: fn}, style: {name: value}, any attribute
 * (aria-*, data-*, testid is short for data-testid). false, null and undefined leave a prop out; true gives an empty attribute. Children: nodes, strings,
 * numbers, arrays of them; null and false are left out.
 */
export function el(tag, props = {}, ...children) {
  return filled(document.createElement(tag), props ?? {}, children);
}

/** The same for SVG elements. */
export function svg(tag, props = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), props ?? {}, children);
}

const PROPERTIES = new Set(["value", "checked", "disabled", "selected", "indeterminate", "open", "hidden", "readOnly"]);

function filled(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "on") for (const [event, fn] of Object.entries(value)) node.addEventListener(event, fn);
    else if (name === "style")
      for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one); // an attribute would meet the CSP
    else if (name === "text") node.textContent = value;
    else if (name === "class") node.setAttribute("class", value);
    else if (name === "testid") node.setAttribute("data-testid", value);
    else if (PROPERTIES.has(name) && name in node) node[name] = value;
    else if (/^on/i.test(name)) throw new Error(`el(): listeners go into on: {}, not ${name}`);
    else if (value !== false || name.startsWith("aria-")) node.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
  append(node, children);
  // A select takes its value only once its options are there.
  if (node instanceof HTMLSelectElement && props.value !== undefined) node.value = props.value;
  return node;
}

/** Appends nodes, strings, numbers and arrays of them. */
export function append(node, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === true) continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

/** Empties a node and gives it back. */
export function clear(node) {
  node.replaceChildren();
  return node;
}

let counter = 0;

/** An id that no other element of the page has. */
export function uid(prefix = "id") {
  counter += 1;
  return `${prefix}-${counter}`;
}
