// Play, pause, single steps, speed, and the scrubber through all that was played.

import { button, slider } from "../core/controls.js";
import { el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { SPEEDS } from "./link.js";

const HOLD = 400; // ms until a button that is held begins to repeat
const REPEAT = 90;

/** A button whose click is repeated while a finger or the mouse holds it, as a key is. */
function repeating(made) {
  let timer = null;
  const stop = () => clearTimeout(timer);
  const again = () => {
    made.node.click();
    timer = setTimeout(again, REPEAT);
  };
  made.node.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    stop();
    timer = setTimeout(again, HOLD);
  });
  for (const name of ["pointerup", "pointerleave", "pointercancel", "blur"]) made.node.addEventListener(name, stop);
  return made;
}

/** acts: {play(), step(who), restart(), seek(step), speed(n), copy()}. */
export class Transport {
  constructor(acts, speed) {
    this.acts = acts;
    this.newest = 0;
    this.playing = false;
    this.play = button({ label: t("Play"), icon: "play", kind: "primary", className: "play", testid: "play", onClick: () => acts.play() });
    const step = (who, label, title, testid) =>
      repeating(button({ label, title, testid, icon: who === "b" ? "step" : undefined, className: `step-${who}`, onClick: () => acts.step(who) }));
    this.steps = [
      step("d", t("Step D"), t("One step of the discriminator alone"), "step-d"),
      step("g", t("Step G"), t("One step of the generator alone"), "step-g"),
      step("b", t("Step both"), t("One turn: discriminator, then generator"), "step-both"),
    ];
    this.restart = button({ label: t("Restart"), icon: "restart", kind: "quiet", iconOnly: true, testid: "restart", onClick: () => acts.restart() });
    this.copy = button({ label: t("Copy link"), icon: "link", kind: "quiet", testid: "copy-link", onClick: () => acts.copy() });
    this.count = el("output", { class: "step-count number", testid: "step-count", text: "0" });
    this.total = el("span", { class: "step-total number" });
    this.pace = el("span", { class: "pace number" });
    const words = (i) => (SPEEDS[i] === 0 ? t("as fast as it goes") : t("{count} steps/s", { count: SPEEDS[i] }));
    this.speed = slider({
      label: t("Speed"),
      min: 0,
      max: SPEEDS.length - 1,
      step: 1,
      value: SPEEDS.indexOf(speed),
      format: words,
      testid: "speed",
      onInput: (i) => acts.speed(SPEEDS[i]),
    });
    this.scrub = slider({
      label: t("History"),
      min: 0,
      max: 1,
      step: 1,
      value: 0,
      format: (value) => t("step {step}", { step: Number(value) }),
      testid: "scrub",
      onInput: () => acts.seek(Number(this.scrub.input.value)),
    });
    this.scrub.input.addEventListener("keydown", (event) => this.coarse(event));
    const counter = el("div", { class: "counter" }, el("span", { class: "counter-label", text: t("Step") }), this.count, this.total);
    this.speed.node.querySelector(".field-value").before(this.pace);
    this.node = el(
      "div",
      { class: "transport panel", role: "group", "aria-label": t("Playing") },
      el(
        "div",
        { class: "transport-main" },
        this.play.node,
        el(
          "div",
          { class: "steps" },
          this.steps.map((one) => one.node),
        ),
        this.restart.node,
        this.copy.node,
        counter,
      ),
      el("div", { class: "transport-lines" }, el("div", { class: "scrub" }, this.scrub.node), el("div", { class: "speed" }, this.speed.node)),
    );
  }

  // A page of the history is a tenth of it.
  coarse(event) {
    const by = { PageUp: 1, PageDown: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const step = Math.max(1, Math.round(this.newest / 10));
    this.acts.seek(Math.max(0, Math.min(this.newest, Number(this.scrub.input.value) + by * step)));
  }

  setPlaying(playing) {
    if (this.playing === playing) return;
    this.playing = playing;
    this.play.set(playing ? t("Pause") : t("Play"), playing ? "pause" : "play");
    if (!playing) this.pace.textContent = "";
  }

  setSpeed(speed) {
    this.speed.set(SPEEDS.indexOf(speed));
  }

  /** hold: the reader is dragging the scrubber, which must not be moved under the hand. */
  show({ step, newest, speed_now: pace, playing }, hold) {
    this.newest = newest;
    this.count.textContent = step.toLocaleString("en-US");
    this.total.textContent = newest > step ? `/ ${newest.toLocaleString("en-US")}` : "";
    const chosen = SPEEDS[this.speed.get()];
    const told = playing && pace && (chosen === 0 || pace < 0.85 * chosen); // what was asked for is not always had
    this.pace.textContent = told ? t("now {count}/s", { count: Math.round(pace) }) : "";
    this.scrub.input.max = Math.max(1, newest);
    this.scrub.input.disabled = newest === 0;
    if (!hold) this.moveScrub(step);
  }

  moveScrub(step) {
    const input = this.scrub.input;
    input.value = step;
    input.style.setProperty("--filled", `${(100 * step) / Math.max(1, this.newest)}%`);
    const words = t("step {step}", { step });
    input.setAttribute("aria-valuetext", words);
    this.scrub.node.querySelector("output").textContent = this.newest ? words : "";
  }
}
