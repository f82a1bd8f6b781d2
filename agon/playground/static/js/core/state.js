// The state of a room lives in the address, #room?key=value&key=value, so that a copied address shows the same thing.

const ROOMS = ["learn", "create", "research"];
const listeners = new Set();
const routers = new Set();
let seen = parse(location.hash);

function parse(hash) {
  const text = hash.replace(/^#/, "");
  const at = text.indexOf("?");
  const name = at < 0 ? text : text.slice(0, at);
  const values = new Map();
  if (at >= 0) for (const [key, value] of new URLSearchParams(text.slice(at + 1))) values.set(key, value);
  return { room: ROOMS.includes(name) ? name : "", values };
}

function written({ room, values }) {
  // What is legible in an address stays legible.
  const code = (text) => encodeURIComponent(text).replace(/%(2C|3A|2F|40|7C|3B|20)/gi, (whole) => (whole === "%20" ? "+" : decodeURIComponent(whole)));
  const parts = [...values].map(([key, value]) => `${code(key)}=${code(value)}`);
  return `#${room}${parts.length ? `?${parts.join("&")}` : ""}`;
}

/** The room of the address; "" where it names none. */
export function room() {
  return seen.room;
}

/** A value of the address (a string), or the fallback. */
export function get(key, fallback = "") {
  return seen.values.get(key) ?? fallback;
}

/** All values, as a plain object of strings. */
export function all() {
  return Object.fromEntries(seen.values);
}

/** The address's part behind the page, "#room?…", as it is copied and stored in exports. */
export function text() {
  return written(seen);
}

/**
 * Changes values (null takes a key away). Replaces the entry in the browser's history unless push. Does not call the listeners of onChange: who sets
 * knows. Keys not named stay.
 */
export function set(values, { push = false } = {}) {
  const before = written(seen);
  for (const [key, value] of Object.entries(values)) {
    if (value === null || value === undefined) seen.values.delete(key);
    else seen.values.set(key, String(value));
  }
  const after = written(seen);
  if (after === before) return;
  write(after, push);
}

let due = null;
let lastWrite = 0;

// Browsers refuse more than about 100 changes of the address in 10 s (Safari throws); a slider makes more, so late ones are gathered.
function write(hash, push) {
  clearTimeout(due);
  const wait = push ? 0 : Math.max(0, 150 - (performance.now() - lastWrite));
  const now = () => {
    lastWrite = performance.now();
    due = null;
    history[push ? "pushState" : "replaceState"](null, "", `${location.pathname}${location.search}${hash}`);
  };
  if (wait === 0) now();
  else due = setTimeout(now, wait);
}

/** Writes what is still waiting to be written. */
export function flush() {
  if (due === null) return;
  clearTimeout(due);
  due = null;
  history.replaceState(null, "", `${location.pathname}${location.search}${written(seen)}`);
}

/** Goes to a whole address, "#room?key=value": a link, or what an export carried. Calls the listeners. */
export function go(hash, { push = true } = {}) {
  flush();
  history[push ? "pushState" : "replaceState"](null, "", `${location.pathname}${location.search}${hash}`);
  arrived();
}

/** fn() after the address was changed from outside within the room: back, forward, a link, go(). Gives back what takes it away again. */
export function onChange(fn) {
  listeners.add(fn);
  return () => listeners.delete(fn);
}

/** fn(room) after the room of the address changed. For the shell. */
export function onRoom(fn) {
  routers.add(fn);
  return () => routers.delete(fn);
}

function arrived() {
  clearTimeout(due); // an address that was typed or followed is newer than what is still waiting to be written
  due = null;
  const before = written(seen);
  const old = seen.room;
  seen = parse(location.hash);
  if (written(seen) === before) return;
  const called = seen.room === old ? listeners : routers;
  for (const fn of [...called]) fn(seen.room);
}

addEventListener("hashchange", arrived);
addEventListener("popstate", arrived);
addEventListener("pagehide", flush);
// A click on a link must find the address as it is now.
addEventListener("click", flush, { capture: true });
