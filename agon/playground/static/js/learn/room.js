// The Learn room: a live game on points in the plane. The state is the address; the server plays; this page draws and asks.

import { announce } from "../core/announce.js";
import { getJSON } from "../core/api.js";
import { button, tabs, toggle } from "../core/controls.js";
import { append, clear, el, svg } from "../core/dom.js";
import { t } from "../core/i18n.js";
import * as state from "../core/state.js";
import { calm } from "../core/theme.js";
import { showCode } from "./code.js";
import { Curves } from "./curves.js";
import { Lessons } from "./lessons.js";
import { LAYERS, courseText, cutCourse, firstConfig, firstStage, opening, read, readCourse, withObjective, written } from "./link.js";
import { longest } from "./paint.js";
import { Settings } from "./settings.js";
import { Stage } from "./stage.js";
import { Transport } from "./transport.js";
import { Wire } from "./wire.js";

const OPEN_MS = 60; // a slider is dragged: games are begun at most so often
const ADDRESS_MS = 1000; // while playing, the address is brought up to date so often
const MOST_RUNS = 500; // of a course that the server plays again
const INTRO = "agon-learn-intro";
const LETTERS = "agon-letter-keys";
const LAYER_WORDS = { real: "Real points", fake: "Fakes", heat: "Discriminator", manifold: "Generator's grid", gradients: "Gradients" };
let left = { playing: false, at: 0 }; // when the room was last left: a change of language goes on playing

export async function mount(root, app) {
  const wire = new Wire(); // it connects while the rest arrives
  wire.connect();
  const [options, lessons] = await Promise.all([getJSON("/api/learn/options"), getJSON("/api/learn/lessons")]);
  const room = new Room(root, app, wire, options, lessons);
  room.begin();
  return () => room.end();
}

class Room {
  constructor(root, app, wire, options, lessons) {
    Object.assign(this, { root, app, wire, options, stages: [], chosen: 0, course: [], last: null, step: 0, counts: {} });
    this.letters = remembered(LETTERS) !== "off";
    this.fresh = Object.keys(state.all()).length === 0;
    this.config = read(state, options);
    this.transport = new Transport(
      {
        play: () => this.togglePlay(),
        step: (who) => this.stepOnce(who),
        restart: () => this.restart(),
        seek: (step) => this.seek(step),
        speed: (n) => this.setSpeed(n),
        copy: () => this.copyLink(),
      },
      this.config.speed,
    );
    this.curves = new Curves();
    this.settings = new Settings(options, this.config, {
      shared: (values) => this.change(() => Object.assign(this.config.shared, values)),
      stage: (i, values) => this.change(() => Object.assign(this.config.stages[i], values)),
      choose: (i) => this.choose(i),
      add: () => this.addStage(),
      letters: (on) => this.setLetters(on),
      lettersOn: () => this.letters,
    });
    this.lessons = new Lessons(lessons, { open: (lesson) => this.openLesson(lesson), leave: () => this.leaveLesson(), announce });
    wire.hears = {
      onOpened: (message) => this.opened(message),
      onFrames: (frames) => this.framed(frames),
      onError: (text, whileOpening) => this.failed(text, whileOpening),
      onState: (name, text) => this.wired(name, text),
      again: () => this.order(this.shownCourse()),
    };
    this.build();
  }

  // --- the page --------------------------------------------------------------------------------------------------------------------

  build() {
    this.holder = el("div", { class: "stages", "data-count": "1" });
    this.problem = el("div", { class: "note bad", role: "alert", hidden: true, testid: "problem" });
    this.tabs = tabs({
      label: t("Beside the stage"),
      value: "lessons",
      tabs: [
        { id: "lessons", label: t("Lessons"), node: this.lessons.node },
        { id: "settings", label: t("Settings"), node: this.settings.node },
      ],
    });
    const side = el("aside", { class: "side panel", "aria-label": t("Lessons and settings") }, this.tabs.node);
    const middle = el("div", { class: "middle" }, this.transport.node, this.problem, this.layerBar(), el("div", { class: "arena" }, this.holder));
    append(this.root, [
      el("h1", { class: "sr-only", text: t("Learn: two networks at play") }),
      this.intro(),
      el("div", { class: "learn-grid" }, side, middle, this.curves.node),
    ]);
    this.syncStages();
    this.keys = (event) => this.pressed(event);
    this.hide = () => this.hidden();
    addEventListener("keydown", this.keys);
    document.addEventListener("visibilitychange", this.hide);
    this.app.onLeave(() => this.address());
    this.app.setHelp([
      ["Space", t("play or pause")],
      ["d", t("one step of the discriminator")],
      ["g", t("one step of the generator")],
      ["b", t("one turn of both")],
      ["r", t("restart")],
      ["← →", t("one step back or forth in the history (with Shift: ten)")],
      ["1 … 5", t("show or hide a layer")],
    ]);
  }

  intro() {
    const word = (name, text) => el("b", { class: `word-${name}`, text });
    const sentence = rich(
      t("The {generator} turns noise into points. The {discriminator} learns to tell them from {real}. Step by step, each makes the other better."),
      {
        generator: word("fake", t("generator")),
        discriminator: word("critic", t("discriminator")),
        real: word("real", t("real data")),
      },
    );
    const next = this.lessons.next();
    const start = next
      ? button({
          label: t("Start lesson: {title}", { title: t(next.title) }),
          icon: "book",
          kind: "primary",
          testid: "start-lesson",
          onClick: () => this.openLesson(next),
        }).node
      : null;
    const close = button({
      label: t("Hide this"),
      icon: "close",
      kind: "quiet",
      iconOnly: true,
      testid: "intro-close",
      onClick: () => {
        keep(INTRO, "hidden");
        this.welcome.remove();
      },
    });
    this.welcome = el(
      "section",
      { class: "intro", "aria-label": t("What you see") },
      el("p", { testid: "intro" }, sentence),
      el("div", { class: "toolbar" }, start, close.node),
    );
    if (remembered(INTRO) === "hidden" || this.config.lesson) return null;
    return this.welcome;
  }

  layerBar() {
    this.layerInputs = LAYERS.map((name, i) => {
      const input = el("input", {
        type: "checkbox",
        checked: this.config.layers.has(name),
        testid: `layer-${name}`,
        on: { change: () => this.setLayer(name, input.checked) },
      });
      return {
        name,
        input,
        node: el("label", { class: "layer", title: t("Key {key}", { key: i + 1 }) }, input, sign(name), el("span", { text: t(LAYER_WORDS[name]) })),
      };
    });
    this.surface = toggle({ label: t("3-D"), checked: this.config.surface, testid: "surface", onChange: (on) => this.setSurface(on) });
    return el(
      "div",
      { class: "layer-bar" },
      el(
        "fieldset",
        { class: "layers" },
        el("legend", { class: "sr-only", text: t("Layers") }),
        this.layerInputs.map((one) => one.node),
      ),
      this.surface.node,
    );
  }

  /** As many stages on the page as in the configuration. */
  syncStages() {
    const { stages: choices } = this.config;
    const hooks = {
      options: this.options,
      onObjective: (i, id) => this.setObjective(i, id),
      onRemove: (i) => this.removeStage(i),
      onCode: (i) => showCode(this.objective(i)),
      isScore: (i) => this.objective(i).critic,
    };
    while (this.stages.length > choices.length) this.stages.pop().destroy();
    while (this.stages.length < choices.length) {
      const stage = new Stage(this.stages.length, hooks);
      this.stages.push(stage);
      this.holder.append(stage.node);
      if (this.config.surface) this.makeSurface(stage);
    }
    this.holder.dataset.count = choices.length;
    this.stages.forEach((stage, i) => stage.show(choices[i], choices.length));
  }

  objective(index) {
    return this.options.objectives.find((one) => one.id === this.config.stages[index].objective);
  }

  // --- beginning and changing games ------------------------------------------------------------------------------------------------

  begin() {
    this.off = state.onChange(() => this.arrived());
    const course = readCourse(state.get("course"));
    this.at = state.get("at", null);
    this.wantPlay = (this.fresh && !calm()) || (left.playing && performance.now() - left.at < 3000);
    if (this.config.lesson) this.lessons.show(this.config.lesson);
    else if (!this.fresh) this.tabs.set("settings");
    this.start(course);
    if (this.fresh && calm()) this.stages[0].cover(t("Press Play (or the space bar) to begin."), true);
  }

  /** The address was changed from outside: back, forward, a pasted link. */
  arrived() {
    this.config = read(state, this.options);
    this.wantPlay = false;
    this.at = state.get("at", null);
    this.settings.show(this.config);
    this.lessons.show(this.config.lesson);
    this.transport.setSpeed(this.config.speed);
    this.showLayers();
    if (this.surface.get() !== this.config.surface) this.setSurface(this.config.surface);
    this.start(readCourse(state.get("course")));
  }

  order(course) {
    return { ...opening(this.config), ...(course.length ? { course } : {}) };
  }

  /** Begins the configured game, where a course is given at its end. */
  start(course = []) {
    clearTimeout(this.due);
    this.due = 0;
    this.course = course;
    this.step = course.reduce((sum, [, times]) => sum + times, 0);
    this.syncStages();
    this.wire.open(this.order(course), this.serverLayers());
    if (this.step > 200) this.stages.forEach((stage) => stage.cover(t("Playing {count} steps again…", { count: this.step })));
  }

  /** A choice was changed: the game begins anew, soon. */
  change(make) {
    make();
    this.course = [];
    this.at = null;
    this.address({ course: null, at: null });
    this.syncStages();
    this.holder.classList.add("stale");
    this.wantPlay ||= this.transport.playing;
    if (!this.due) this.due = setTimeout(() => this.start(), OPEN_MS);
  }

  setObjective(index, id) {
    this.change(() => (this.config.stages[index] = withObjective(this.config.stages[index], id)));
    this.choose(index);
  }

  choose(index) {
    this.chosen = index;
    this.settings.choose(index);
    this.curves.choose(index);
  }

  addStage() {
    const taken = new Set(this.config.stages.map((stage) => stage.objective));
    const other = this.options.objectives.find((one) => !taken.has(one.id)) ?? this.options.objectives[0];
    this.change(() => this.config.stages.push(withObjective({ ...(this.config.stages[this.chosen] ?? firstStage(this.options)) }, other.id)));
    this.choose(this.config.stages.length - 1);
    this.count("compare");
    announce(t("Stage added. There are {count}.", { count: this.config.stages.length }));
  }

  removeStage(index) {
    if (this.config.stages.length < 2) return;
    this.change(() => this.config.stages.splice(index, 1));
    this.choose(Math.min(this.chosen, this.config.stages.length - 1));
    this.stages[0].objective.input.focus();
  }

  openLesson(lesson) {
    const first = firstConfig(this.options);
    const { shared = {}, stages = [{}] } = lesson.setup ?? {};
    const layers = new Set(["real", "fake", ...(lesson.layers ?? ["heat"])]);
    this.config = {
      ...first,
      shared: { ...first.shared, ...shared },
      stages: stages.map((one) => ({ ...firstStage(this.options), ...one })),
      layers,
      lesson: lesson.id,
      speed: this.config.speed,
      surface: this.config.surface,
    };
    this.counts = {};
    this.wantPlay = false;
    this.chosen = 0;
    this.settings.show(this.config);
    this.showLayers();
    this.tabs.set("lessons");
    this.lessons.show(lesson.id);
    this.welcome.remove();
    this.address({ course: null, at: null }, { push: true });
    this.start();
    this.lessons.node.querySelector("h2")?.focus({ preventScroll: true });
    this.lessons.node.closest(".side").scrollTop = 0;
  }

  leaveLesson() {
    this.config.lesson = "";
    this.address();
    this.lessons.show("");
    this.lessons.node.querySelector("button")?.focus();
  }

  // --- orders ----------------------------------------------------------------------------------------------------------------------

  togglePlay() {
    if (this.transport.playing) this.pause();
    else this.go();
  }

  go() {
    this.count("play");
    this.paused = false;
    this.transport.setPlaying(true);
    if (this.wire.state === "open" && !this.due) this.wire.send({ do: "play", speed: this.config.speed });
    else this.wantPlay = true;
  }

  pause() {
    this.count("pause");
    this.wantPlay = false;
    this.paused = true;
    this.transport.setPlaying(false);
    this.wire.send({ do: "pause" });
    this.address();
  }

  stepOnce(who) {
    if (this.transport.playing) this.pause();
    this.wire.send({ do: "step", who, times: 1 });
  }

  restart() {
    this.count("restart");
    this.wantPlay = this.transport.playing;
    this.at = null;
    this.address({ course: null, at: null });
    this.start();
  }

  /** Of many seeks only the newest waits until the last was drawn. */
  seek(step) {
    const goal = Math.max(0, Math.min(this.transport.newest, step));
    this.count("seek");
    if (this.transport.playing) this.pause();
    this.transport.moveScrub(goal);
    this.goal = goal;
    if (!this.seeking) this.sendSeek();
  }

  sendSeek() {
    this.seeking = this.goal !== undefined;
    if (!this.seeking) return;
    const goal = this.goal;
    this.goal = undefined;
    this.wire.send({ do: "seek", step: goal });
    clearTimeout(this.seekDue);
    this.seekDue = setTimeout(() => this.sendSeek(), 2000); // whatever was lost, the scrubber goes on
  }

  setSpeed(speed) {
    this.config.speed = speed;
    this.address();
    if (this.transport.playing) this.wire.send({ do: "play", speed });
  }

  serverLayers() {
    const wanted = ["heat", "manifold", "gradients"].filter((name) => this.config.layers.has(name));
    return this.config.surface && !wanted.includes("heat") ? ["heat", ...wanted] : wanted;
  }

  setLayer(name, on) {
    if (on) this.config.layers.add(name);
    else this.config.layers.delete(name);
    this.showLayers();
    this.address();
    this.wire.send({ do: "layers", names: this.serverLayers() });
    for (const stage of this.stages) {
      stage.layers = this.config.layers;
      stage.paint();
    }
  }

  showLayers() {
    for (const { name, input } of this.layerInputs) input.checked = this.config.layers.has(name);
  }

  async setSurface(on) {
    this.config.surface = on;
    this.surface.set(on);
    this.address();
    this.wire.send({ do: "layers", names: this.serverLayers() });
    if (on) for (const stage of this.stages) await this.makeSurface(stage);
    else for (const stage of this.stages) stage.setSurface(null);
  }

  async makeSurface(stage) {
    if (!this.config.surface) return;
    try {
      if (!document.createElement("canvas").getContext("webgl2")) throw new Error("no WebGL");
      const { Surface } = await import("./surface.js");
      if (this.config.surface && !stage.surface && stage.node.isConnected)
        stage.setSurface(
          new Surface(t("Stage {letter} in space: turn it with the arrow keys, plus and minus come nearer and go away", { letter: "ABCD"[stage.index] })),
        );
    } catch (error) {
      console.warn(error);
      this.config.surface = false;
      this.surface.set(false);
      this.surface.disable();
      this.address();
      this.app.toast(t("This browser offers no WebGL, so that the map stays flat."), { kind: "bad" });
    }
  }

  setLetters(on) {
    this.letters = on;
    keep(LETTERS, on ? "on" : "off");
  }

  async copyLink() {
    this.address();
    state.flush();
    try {
      await navigator.clipboard.writeText(location.href);
      this.app.toast(
        this.course.length > MOST_RUNS
          ? t("Link copied, without the course: it has more than {most} turns of kind.", { most: MOST_RUNS })
          : t("Link copied. It opens this very picture."),
      );
    } catch {
      this.app.toast(t("The browser does not allow copying. The link is in its address bar."));
    }
  }

  // --- what the server says --------------------------------------------------------------------------------------------------------

  opened(message) {
    this.problem.hidden = true;
    this.holder.classList.remove("stale");
    this.stages.forEach((stage, i) => stage.opened(message, this.config.stages[i], this.config.stages.length));
    this.curves.reset(this.stages.length, message.floors, { hasModes: Boolean(message.modes) });
    this.last = null;
    this.seeking = false;
    this.goal = undefined;
    if (this.at !== null && this.at !== undefined) this.wire.send({ do: "seek", step: Math.max(0, Number(this.at) || 0) });
    this.at = null;
    if (this.wantPlay) this.wire.send({ do: "play", speed: this.config.speed });
    this.paused = false;
    this.wantPlay = false;
  }

  framed(frames) {
    const frame = frames[frames.length - 1];
    for (const one of frames) {
      const real = one.shared?.arrays?.real;
      if (real) for (const stage of this.stages) stage.real = one.array(real);
    }
    if (frame.stages.length !== this.stages.length) return;
    const largest = Math.max(...frame.stages.map((part) => (part.arrays.gradients ? longest(frame.array(part.arrays.gradients)) : 0)));
    const playing = frame.playing && !this.paused;
    if (!frame.playing) this.paused = false;
    frame.stages.forEach((part, i) => this.stages[i].draw(frame, part, { layers: this.config.layers, largest, playing }));
    const before = this.last;
    Object.assign(this, { last: frame, step: frame.step, course: frame.course });
    this.transport.setPlaying(playing);
    this.transport.show(frame, this.goal !== undefined);
    this.curves.take(frames);
    if (!frame.playing) this.sendSeek();
    this.addressOf(frame, before);
    this.lessons.check((stage, name) => this.value(stage, name));
  }

  /** While playing now and then, at rest at once. */
  addressOf(frame, before) {
    const now = performance.now();
    if (frame.playing && now - (this.addressed ?? 0) < ADDRESS_MS) return;
    if (!frame.playing && before && !before.playing && before.step === frame.step && before.newest === frame.newest) return;
    this.addressed = now;
    this.address();
  }

  address(extra = {}, how = {}) {
    const course = this.course.length > MOST_RUNS ? "" : courseText(this.course);
    const at = this.last && this.course.length && this.step < this.last.newest ? this.step : null;
    state.set({ ...written(this.config, this.options), course: course || null, at, ...extra }, how);
  }

  /** The course up to what is shown. */
  shownCourse() {
    return cutCourse(this.course, this.step);
  }

  /** What a lesson's check compares: "step", "action:d" and so on, "setting:objective", or a number or measure of a stage. */
  value(stage, name) {
    const [kind, rest] = name.includes(":") ? name.split(":") : ["", name];
    if (kind === "action" && "bdg".includes(rest)) return this.shownCourse().reduce((sum, [who, times]) => sum + (who === rest ? times : 0), 0);
    if (kind === "action") return this.counts[rest] ?? 0;
    if (kind === "setting") return this.config.stages[stage]?.[rest] ?? this.config.shared[rest];
    const part = this.last?.stages[stage];
    if (name === "step" || name === "newest") return this.last?.[name];
    return part?.numbers?.[name] ?? part?.measures?.[name];
  }

  count(action) {
    this.counts[action] = (this.counts[action] ?? 0) + 1;
  }

  failed(text, whileOpening) {
    this.holder.classList.remove("stale");
    this.transport.setPlaying(false);
    this.wantPlay = false;
    this.seeking = false;
    for (const stage of this.stages) stage.cover("");
    this.complain(whileOpening ? t("The game could not begin. {why}", { why: text }) : text);
  }

  wired(name, text) {
    this.holder.dataset.wire = name;
    if (name === "connecting" && this.wire.tries) this.complain(t("The connection to the game was lost. Connecting again…"));
    if (name === "lost" || name === "closed") {
      this.transport.setPlaying(false);
      this.complain(
        text || t("The connection to the game has ended."),
        button({ label: t("Connect again"), kind: "primary", testid: "reconnect", onClick: () => this.wire.reconnect() }).node,
      );
    }
  }

  complain(text, ...actions) {
    append(clear(this.problem), [el("p", { text }), actions]);
    this.problem.hidden = false;
  }

  // --- keys and leaving ------------------------------------------------------------------------------------------------------------

  pressed(event) {
    if (!this.letters || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target;
    if (document.querySelector("dialog[open]") || target.closest?.("input, select, textarea, [role=tab], [contenteditable]")) return;
    if (event.key === " " && target.closest?.("button, a, summary, label")) return;
    const act = this.actOf(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  actOf(event) {
    const by = event.shiftKey ? 10 : 1;
    const layer = LAYERS[Number(event.key) - 1];
    if (layer) return () => this.setLayer(layer, !this.config.layers.has(layer));
    if (event.target.closest?.(".surface, pre")) return null; // arrows turn the view there
    const step = this.goal ?? this.step;
    return {
      " ": () => this.togglePlay(),
      d: () => this.stepOnce("d"),
      g: () => this.stepOnce("g"),
      b: () => this.stepOnce("b"),
      r: () => this.restart(),
      ArrowLeft: () => this.seek(step - by),
      ArrowRight: () => this.seek(step + by),
    }[event.key];
  }

  hidden() {
    if (document.hidden && this.transport.playing) {
      this.pause();
      this.resume = true;
    } else if (!document.hidden && this.resume) {
      this.resume = false;
      this.go();
    }
  }

  end() {
    left = { playing: this.transport.playing, at: performance.now() };
    if (state.room() === "learn") this.address();
    clearTimeout(this.due);
    clearTimeout(this.seekDue);
    removeEventListener("keydown", this.keys);
    document.removeEventListener("visibilitychange", this.hide);
    this.off();
    this.wire.close();
    this.settings.board?.destroy();
    for (const stage of this.stages) stage.destroy();
    this.curves.destroy();
  }
}

/** A translated sentence with nodes in the places of its {fields}. */
function rich(sentence, nodes) {
  return sentence.split(/(\{\w+\})/).map((part) => nodes[part.slice(1, -1)] ?? part);
}

/** The small drawing that says what a layer looks like. */
function sign(name) {
  const shapes = {
    real: [svg("circle", { cx: 7, cy: 7, r: 4, class: "sign-real" })],
    fake: [svg("path", { d: "M7 2l5 9H2z", class: "sign-fake" })],
    heat: [
      svg("rect", { x: 0, y: 1, width: 7, height: 12, class: "sign-fake-soft" }),
      svg("rect", { x: 7, y: 1, width: 7, height: 12, class: "sign-real-soft" }),
      svg("path", { d: "M7 1v12", class: "sign-critic" }),
    ],
    manifold: [svg("path", { d: "M1 4c4-2 8 2 12 0M1 10c4-2 8 2 12 0M4 1c-1 4 1 8 0 12M10 1c-1 4 1 8 0 12", class: "sign-grid" })],
    gradients: [svg("path", { d: "M2 12L12 2M6 2h6v6", class: "sign-arrow" })],
  };
  return svg("svg", { viewBox: "0 0 14 14", class: "sign", "aria-hidden": "true" }, shapes[name]);
}

function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // it lasts until the page is closed
  }
}
