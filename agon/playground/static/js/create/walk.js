// A walk along chosen samples: a preview of the way, then a film, made in the line of work with its place and a way out.
// A film under way, and one that is ready, stay where they are while cells and controls change.

import { del, getBlob, getJSON, postForBlob, postJSON } from "../core/api.js";
import { button, segmented, slider, toggle } from "../core/controls.js";
import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import * as state from "../core/state.js";
import { calm } from "../core/theme.js";
import { cellsOf, fileName, save, whole } from "./files.js";

const FRAMES = { usual: 60, least: 12, most: 240 };
const PREVIEWED = 24; // pictures of the preview, about
const ASK_AGAIN = 400; // ms
const SETTLED = 250; // ms without a change before a preview is asked for: the sheet comes first

export class WalkPanel {
  constructor(view) {
    this.view = view;
    this.job = null;
    this.shown = "";
    this.due = 0;
    this.address = null;
    this.frames = Math.max(FRAMES.least, whole(state.get("frames"), FRAMES.usual, FRAMES.most));
    this.loop = state.get("loop") !== "0";
    this.form = "gif";
    this.scale = Math.max(1, Math.min(8, Math.floor(320 / Math.max(...view.run.shape.slice(1), 1))));
    this.draw();
    this.show();
  }

  draw() {
    this.title = el("h2");
    this.words = el("p", { class: "hint" });
    this.way = el("div", { class: "way", role: "img", "aria-label": t("Pictures along the way"), testid: "way" });
    const frames = slider({ label: t("Frames"), testid: "frames", ...{ min: FRAMES.least, max: FRAMES.most }, step: 4, value: this.frames, onInput: (value) => this.set({ frames: value }) });
    const loop = toggle({ label: t("Back to the first"), checked: this.loop, testid: "loop", onChange: (value) => this.set({ loop: value }) });
    const forms = [{ value: "gif", label: "GIF" }, { value: "mp4", label: "MP4" }];
    const form = segmented({ label: t("Format"), testid: "walk-form", value: this.form, options: forms, onChange: (value) => (this.form = value) });
    const scale = slider({ label: t("Enlarged"), testid: "scale", min: 1, max: 8, step: 1, value: this.scale, format: (value) => this.size(value), onInput: (value) => (this.scale = value) });
    this.make = button({ label: t("Make the film"), icon: "film", kind: "primary", testid: "walk-make", onClick: () => this.begin() });
    this.cancel = button({ label: t("Cancel"), testid: "walk-cancel", onClick: () => this.stop() });
    this.cancel.node.hidden = true;
    const none = button({ label: t("Choose none"), kind: "quiet", testid: "walk-none", onClick: () => this.view.choose([]) });
    this.status = el("p", { class: "hint", role: "status", testid: "walk-status" });
    this.bar = el("div", { class: "progress", hidden: true }, el("span"));
    this.result = el("div", { class: "walk-result stack", testid: "walk-result", hidden: true });
    this.body = el("div", { class: "stack", hidden: true }, this.way,
      el("div", { class: "walk-fields" }, frames.node, scale.node, form.node, loop.node), el("div", { class: "toolbar" }, this.make.node, this.cancel.node, none.node));
    this.node = el("section", { class: "panel walk stack", "aria-label": t("Walk") }, this.title, this.words, this.body, this.bar, this.status, this.result);
  }

  size(scale) {
    const [, height, width] = this.view.run.shape;
    return this.view.run.can_walk ? t("{width} × {height} pixels", { width: width * scale, height: height * scale }) : "";
  }

  /** Follows what is chosen. */
  show() {
    const { run, chosen, controls } = this.view;
    const key = JSON.stringify([chosen, controls]);
    if (key === this.shown) return;
    this.shown = key;
    const ready = run.can_walk && chosen.length > 1;
    this.title.textContent = ready ? t("Walk along {count} pictures", { count: chosen.length }) : t("Walk");
    this.words.textContent = run.can_walk ? t("Choose two or more pictures to walk from one to the next.") : run.why_not;
    this.words.hidden = ready;
    this.body.hidden = !ready;
    this.node.classList.toggle("ready", ready);
    clearTimeout(this.due);
    this.asked?.abort();
    if (ready) this.due = setTimeout(() => this.preview(), this.way.children.length ? SETTLED : 0);
  }

  set(values) {
    Object.assign(this, values);
    state.set({ frames: this.frames === FRAMES.usual ? null : this.frames, loop: this.loop ? null : "0" });
  }

  /** A few pictures of every part of the way; the old ones stay until all are there. */
  async preview() {
    const { run, chosen, controls } = this.view;
    const mine = (this.asked = new AbortController());
    const steps = Math.max(3, Math.round(PREVIEWED / (chosen.length - 1)) + 1);
    const drawn = [];
    try {
      for (let i = 0; i + 1 < chosen.length; i += 1) {
        const asked = { run: run.id, from: chosen[i], to: chosen[i + 1], steps: Math.min(9, steps), controls };
        const strip = await cellsOf(await postForBlob("/api/create/between", asked, { signal: mine.signal }));
        strip.cells.forEach((cell, at) => (i && !at) || drawn.push(this.still(cell, at === 0 || at === strip.cells.length - 1)));
        strip.close();
      }
      if (mine === this.asked) append(clear(this.way), drawn);
    } catch (error) {
      if (error.name !== "AbortError" && !this.job) this.status.textContent = error.message;
    }
  }

  still(cell, stop) {
    const canvas = el("canvas", { class: stop ? "stop" : null });
    cell.draw(canvas);
    return canvas;
  }

  async begin() {
    const { run, chosen, controls } = this.view;
    const asked = { run: run.id, seeds: chosen, frames: this.frames, loop: this.loop, form: this.form, scale: this.scale, controls, state: this.view.kept() };
    this.busy(true);
    try {
      this.job = (await postJSON("/api/create/walk", asked)).id;
      if (this.left) return this.stop();
      await this.follow(this.job);
    } catch (error) {
      this.status.textContent = error.message;
    }
    this.busy(false);
  }

  async follow(id) {
    for (;;) {
      const job = await getJSON(`/api/jobs/${id}`);
      if (this.job !== id) return;
      this.bar.firstChild.style.width = `${100 * job.progress}%`;
      if (job.state === "waiting") this.status.textContent = t("Waiting: number {place} in the line", { place: job.position });
      else if (job.state === "working") this.status.textContent = t("Drawing: {percent} %", { percent: Math.round(100 * job.progress) });
      else if (job.state === "done") return this.done(await getBlob(`/api/jobs/${id}/result`));
      else {
        this.status.textContent = job.state === "cancelled" ? t("Cancelled.") : job.error;
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN));
    }
  }

  done({ blob }) {
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(blob);
    const video = blob.type.startsWith("video");
    const film = video ? el("video", { src: this.address, controls: true, loop: true, playsinline: true, "aria-label": t("The film") }) : el("img", { src: this.address, alt: t("The film") });
    if (video && !calm()) {
      film.muted = true; // else no browser lets it play by itself
      film.autoplay = true;
    }
    const name = fileName(this.view.run.name, "walk", video ? "mp4" : "gif");
    const keep = button({ label: t("Save film"), icon: "download", testid: "save-film", onClick: () => save(blob, name) });
    append(clear(this.result), [film, el("div", {}, keep.node)]);
    this.result.hidden = false;
    this.status.textContent = t("The film is ready.");
  }

  busy(on) {
    this.make.disable(on);
    this.cancel.node.hidden = !on;
    this.bar.hidden = !on;
    if (on) this.bar.firstChild.style.width = "0";
    else this.job = null;
  }

  async stop() {
    if (this.job) await del(`/api/jobs/${this.job}`).catch(() => {}); // one that has ended by itself
  }

  leave() {
    this.left = true;
    clearTimeout(this.due);
    this.asked?.abort();
    this.stop();
    this.job = null;
    if (this.address) URL.revokeObjectURL(this.address);
  }
}
