// Lessons that check themselves.

import { button } from "../core/controls.js";
import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { icon } from "../core/icons.js";

const KEY = "agon-lessons";
const OPS = {
  "<": (a, b) => a < b,
  ">": (a, b) => a > b,
  "<=": (a, b) => a <= b,
  ">=": (a, b) => a >= b,
  "==": (a, b) => a === b,
  "!=": (a, b) => a !== b,
};

/** acts: {open(lesson), leave(), announce(text)}. {node, show(id), check(frame, context)}. */
export class Lessons {
  constructor(lessons, acts) {
    this.lessons = lessons;
    this.acts = acts;
    this.finished = stored();
    this.current = null;
    this.node = el("div", { class: "lessons" });
    this.drawList();
  }

  get(id) {
    return this.lessons.find((lesson) => lesson.id === id);
  }

  /** The list, or one lesson from its first task on. */
  show(id) {
    this.current = this.get(id) ?? null;
    this.done = new Set();
    if (this.current) this.drawLesson();
    else this.drawList();
  }

  /** The first lesson that was not finished; the first of all after the last. */
  next() {
    return this.lessons.find((lesson) => !this.finished.has(lesson.id)) ?? this.lessons[0];
  }

  drawList() {
    const rows = this.lessons.map((lesson, i) => {
      const finished = this.finished.has(lesson.id);
      const mark = el("span", { class: `lesson-mark ${finished ? "done" : ""}`, "aria-hidden": "true" }, finished ? icon("check") : String(i + 1));
      const words = el(
        "span",
        { class: "lesson-words" },
        el("b", { text: t(lesson.title) }),
        el("span", { text: t(lesson.summary) }),
        finished ? el("span", { class: "sr-only", text: t("(finished)") }) : null,
      );
      return el(
        "li",
        {},
        el("button", { type: "button", class: "lesson-row", testid: `lesson-${lesson.id}`, on: { click: () => this.acts.open(lesson) } }, mark, words),
      );
    });
    const empty = el("p", { class: "hint", text: t("There are no lessons in this version.") });
    append(clear(this.node), rows.length ? el("ol", { class: "lesson-list" }, rows) : empty);
  }

  drawLesson() {
    const lesson = this.current;
    const at = this.lessons.indexOf(lesson);
    const back = button({ label: t("All lessons"), icon: "back", kind: "quiet", testid: "lesson-back", onClick: () => this.acts.leave() });
    const again = button({ label: t("Start over"), icon: "restart", kind: "quiet", testid: "lesson-restart", onClick: () => this.acts.open(lesson) });
    this.tasks = new Map(lesson.tasks.map((task) => [task.id, this.task(task)]));
    const following = this.lessons[at + 1];
    const next = following
      ? button({
          label: t("Next: {title}", { title: t(following.title) }),
          icon: "forward",
          kind: "primary",
          testid: "lesson-next",
          onClick: () => this.acts.open(following),
        }).node
      : null;
    const reading = (lesson.reading ?? []).map(({ label, url }) => el("li", {}, link(label, url)));
    this.after = el("div", { class: "note good lesson-after", hidden: true, testid: "lesson-after" }, el("p", { text: t(lesson.after) }), next);
    append(
      clear(this.node),
      el(
        "article",
        { class: "lesson stack", testid: "lesson-open", "aria-label": t(lesson.title) },
        el("div", { class: "spread lesson-bar" }, back.node, again.node),
        el("p", { class: "hint", text: t("Lesson {number} of {count}", { number: at + 1, count: this.lessons.length }) }),
        el("h2", { text: t(lesson.title), tabindex: "-1" }),
        lesson.text.map((paragraph) => el("p", { text: t(paragraph) })),
        el(
          "ol",
          { class: "tasks" },
          [...this.tasks.values()].map((one) => one.node),
        ),
        this.after,
        reading.length ? el("details", {}, el("summary", { text: t("Reading") }), el("ul", { class: "reading" }, reading)) : null,
      ),
    );
    this.mark();
  }

  task(task) {
    const sign = el("span", { class: "task-mark", "aria-hidden": "true" });
    const state = el("span", { class: "sr-only" });
    const hint = task.hint ? el("details", {}, el("summary", { text: t("Hint") }), el("p", { text: t(task.hint) })) : null;
    const shown = task.check.all.filter((condition) => condition.value in VALUES && !condition.than_value);
    const values = shown.map((condition) => ({ condition, node: el("b", { class: "number", text: "–" }) }));
    const several = new Set(shown.map(({ stage }) => stage ?? 0)).size > 1 || shown.some(({ stage }) => stage > 0);
    const rows = values.map(({ condition: { value, op, than, stage = 0 }, node }) => {
      const name = several ? t("{value}, stage {letter}", { value: VALUES[value](), letter: "ABCD"[stage] }) : VALUES[value]();
      return el("li", {}, name, ": ", node, el("span", { class: "hint", text: ` ${SIGNS[op] ?? op} ${than}` }));
    });
    const list = rows.length ? el("ul", { class: "task-values", "aria-hidden": "true" }, rows) : null;
    return {
      state,
      sign,
      values,
      node: el("li", { class: "task", testid: `task-${task.id}`, "data-done": "false" }, sign, el("div", {}, state, el("p", { text: t(task.text) }), list, hint)),
    };
  }

  /** The numbers that the task at hand is waiting for, as they are now. */
  watch(value) {
    const now = this.current?.tasks.find((task) => !this.done.has(task.id));
    for (const { condition, node } of now ? this.tasks.get(now.id).values : []) {
      const found = value(condition.stage ?? 0, condition.value);
      node.textContent = typeof found === "number" ? String(Number(found.toPrecision(3))) : "–";
    }
  }

  mark() {
    const now = this.current.tasks.find((task) => !this.done.has(task.id));
    for (const [id, one] of this.tasks) {
      const done = this.done.has(id);
      one.node.dataset.done = String(done);
      one.node.classList.toggle("now", now?.id === id);
      append(clear(one.sign), done ? icon("check") : null);
      one.state.textContent = done ? t("Done:") : now?.id === id ? t("To do now:") : t("To do:");
    }
    this.after.hidden = Boolean(now);
  }

  /** Tasks are done in their order; one that is done stays done. value(stage, name) gives what a check compares. */
  check(value) {
    this.watch(value);
    const before = this.done?.size ?? 0;
    let last = null;
    for (const task of this.current?.tasks ?? []) {
      if (this.done.has(task.id)) continue;
      if (!task.check.all.every((condition) => holds(condition, value))) break;
      this.done.add(task.id);
      last = task;
    }
    if (!this.current || this.done.size === before) return;
    this.mark();
    const whole = this.done.size === this.current.tasks.length;
    this.acts.announce(whole ? t("Lesson finished. {text}", { text: t(this.current.after) }) : t("Task done: {task}", { task: t(last.text) }));
    if (!whole) return;
    this.finished.add(this.current.id);
    store(this.finished);
  }
}

const SIGNS = { "<": "<", ">": ">", "<=": "≤", ">=": "≥", "==": "=" };
const VALUES = {
  js: () => t("JS divergence"),
  d_js: () => t("divergence by D's loss"),
  w1: () => t("Wasserstein"),
  modes: () => t("Modes"),
  accuracy: () => t("pairs told apart"),
  gradient: () => t("generator's gradient"),
  gap: () => t("gap between real and fake"),
  slope: () => t("slope of the discriminator"),
  d_real: () => t("D on real"),
  d_fake: () => t("D on fake"),
  step: () => t("Step"),
};

function holds({ stage = 0, value: name, op, than, than_value: other }, value) {
  const found = value(stage ?? 0, name);
  const bound = other ? value(other.stage ?? 0, other.value) : than;
  if (found === null || found === undefined || bound === null || bound === undefined) return false;
  return OPS[op]?.(found, bound) ?? false;
}

function link(label, url) {
  const good = /^https?:\/\//.test(url);
  return good ? el("a", { href: url, target: "_blank", rel: "noopener noreferrer", text: t(label) }) : el("span", { text: t(label) });
}

function stored() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return new Set(Array.isArray(found) ? found : []);
  } catch {
    return new Set();
  }
}

function store(finished) {
  try {
    localStorage.setItem(KEY, JSON.stringify([...finished]));
  } catch {
    // the marks then last until the page is closed
  }
}
