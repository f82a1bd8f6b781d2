// The shell: header, rooms, language, theme, help. A room is a module with `async mount(root, app)` that gives back what takes it away.

import { announce, toast } from "./core/announce.js";
import { getJSON } from "./core/api.js";
import { button, dialog, select } from "./core/controls.js";
import { append, clear, el, svg } from "./core/dom.js";
import * as i18n from "./core/i18n.js";
import * as state from "./core/state.js";
import * as theme from "./core/theme.js";

const { t } = i18n;
const ROOMS = {
  learn: { label: "Learn", load: () => import("./learn/room.js") },
  create: { label: "Create", load: () => import("./create/room.js") },
  research: { label: "Research", load: () => import("./research/room.js") },
};
const main = document.getElementById("main");
const header = document.getElementById("shell");
const remembered = new Map(); // room -> its address when it was left
let unmount = null;
let turn = 0;
let help = [];
let leaving = null;

/** What a room gets: the launch's facts, and the shell's services. */
const app = {
  about: { version: "", first: null, waiting: 0 },
  announce,
  toast,
  /** The room's part of the help: a list of [keys, words]. */
  setHelp: (rows) => (help = rows),
  /** fn() is called before another room is entered: the last moment to bring the address up to date. */
  onLeave: (fn) => (leaving = fn),
};

function brand() {
  const mark = svg(
    "svg",
    { viewBox: "0 0 32 32", class: "mark", "aria-hidden": "true" },
    svg("circle", { cx: 11.5, cy: 16, r: 8.5 }),
    svg("path", { d: "M20.5 6.5L30 25H11z" }),
  );
  return el("a", { class: "brand", href: "#learn", "aria-label": t("Agon, playground") }, mark, el("span", { text: "Agon" }));
}

function drawHeader() {
  const links = Object.entries(ROOMS).map(([name, room]) =>
    el("a", {
      href: remembered.get(name) ?? `#${name}`,
      testid: `room-${name}`,
      "data-room": name,
      text: t(room.label),
      "aria-current": state.room() === name ? "page" : null,
      on: { click: (event) => enter(event, name) },
    }),
  );
  const languages = select({
    label: t("Language"),
    hideLabel: true,
    testid: "language",
    value: i18n.language(),
    options: [
      { value: "en", label: "English" },
      { value: "zh", label: "简体中文" },
    ],
    onChange: (value) => i18n.setLanguage(value),
  });
  const themes = select({
    label: t("Theme"),
    hideLabel: true,
    testid: "theme",
    value: theme.theme(),
    onChange: theme.setTheme,
    options: [
      { value: "auto", label: t("System theme") },
      { value: "light", label: t("Light") },
      { value: "dark", label: t("Dark") },
      { value: "contrast", label: t("High contrast") },
    ],
  });
  const helper = button({ label: t("Help"), icon: "help", kind: "quiet", iconOnly: true, testid: "help", onClick: showHelp });
  append(clear(header), [
    brand(),
    el("nav", { "aria-label": t("Rooms") }, links),
    el("div", { class: "shell-tools" }, languages.node, themes.node, helper.node),
  ]);
  const skip = document.querySelector("[data-skip]");
  skip.textContent = t("Skip to the content");
  skip.onclick = (event) => {
    event.preventDefault();
    main.focus();
  };
}

/** A room is entered where it was left. */
function enter(event, name) {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  if (name === state.room()) return;
  leaving?.();
  remembered.set(state.room(), state.text());
  state.go(remembered.get(name) ?? `#${name}`);
}

function showHelp() {
  const rooms = el("ul", { class: "help-rooms" }, [
    el("li", {}, el("b", { text: t("Learn") }), " ", t("Watch a generator and a discriminator play against each other, step by step.")),
    el("li", {}, el("b", { text: t("Create") }), " ", t("Make pictures with a trained generator.")),
    el("li", {}, el("b", { text: t("Research") }), " ", t("Follow, compare and start trainings.")),
  ]);
  const keys = help.length
    ? [
        el("h3", { text: t("Keys") }),
        el(
          "dl",
          { class: "keys" },
          help.map(([key, words]) => [
            el(
              "dt",
              {},
              key.split(" ").map((one) => el("kbd", { text: one })),
            ),
            el("dd", { text: words }),
          ]),
        ),
      ]
    : [];
  const note = el("p", { class: "hint", text: t("Agon {version}. Nothing leaves this machine.", { version: app.about.version }) });
  dialog({ title: t("The playground"), testid: "help-dialog", body: [rooms, keys, note] }).open();
}

async function show() {
  const mine = (turn += 1);
  const name = state.room() || "learn";
  const old = unmount;
  unmount = null;
  await old?.();
  help = [];
  leaving = null;
  dress(name);
  drawHeader();
  document.title = `${t(ROOMS[name].label)} · Agon`;
  const root = el("div", { class: `room room-${name}` });
  append(clear(main), root);
  try {
    const room = await ROOMS[name].load();
    if (mine !== turn) return;
    const leave = await room.mount(root, app);
    if (mine === turn) unmount = leave;
    else await leave?.();
  } catch (error) {
    if (mine === turn) failed(root, error);
  }
}

/** A room's style sheet holds for that room alone, so that rooms need not agree on names. */
function dress(name) {
  for (const sheet of document.querySelectorAll("link[data-sheet]")) sheet.media = sheet.dataset.sheet === name ? "all" : "not all";
}

function failed(root, error) {
  console.error(error);
  const again = button({ label: t("Try again"), kind: "primary", onClick: show });
  append(
    clear(root),
    el("div", { class: "note bad", role: "alert" }, el("p", { text: t("This room could not be opened: {why}", { why: error.message }) }), again.node),
  );
}

async function begin() {
  theme.start();
  ROOMS[state.room() || "learn"].load().catch(() => {}); // it arrives while the words do; show() tells what went wrong
  const [, about] = await Promise.allSettled([i18n.start(), getJSON("/api/about")]);
  if (about.status === "fulfilled") Object.assign(app.about, about.value);
  if (!state.room()) state.go(`#${app.about.first ? "create" : "learn"}`, { push: false });
  i18n.onLanguage(show);
  state.onRoom(show); // from here on: whoever changes the room while the first one is still being mounted must be heard
  await show();
}

begin();
