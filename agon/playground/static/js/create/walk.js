// A walk along chosen samples: a preview of the way, then a film, made in the line of work with its place and a way out.

import { del, getBlob, getJSON, postForBlob, postJSON } from "../core/api.js";
import { button, segmented, slider, toggle } from "../core/controls.js";
import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import * as state from "../core/state.js";
import { cellsOf, fileName, save } from "./files.js";

const STEPS = 8;
const ASK_AGAIN = 400; // ms

export class WalkPanel {
  constructor(view) {
    this.view = view;
    this.job = null;
    this.shown = "";
    this.address = null;
    this.frames = Math.min(240, Math.max(12, Number(state.get("frames")) || 60));
    this.loop = state.get("loop") !== "0";
    this.form = "gif";
    const shape = view.run.shape;
    this.scale = Math.max(1, Math.min(8, Math.floor(320 / Math.max(...shape.slice(1), 1))));
    this.node = el("section", { class: "panel walk stack", "aria-label": t("Walk") });
    this.show();
  }

  show() {
    const { run, chosen, controls } = this.view;
    const key = JSON.stringify([chosen, controls]);
    if (key === this.shown) return;
    this.shown = key;
    if (!run.can_walk) return this.only(run.why_not);
    if (chosen.length < 2) return this.only(t("Choose two or more pictures to walk from one to the next."));
    this.draw();
    this.preview();
  }

  only(words) {
    append(clear(this.node), [el("h2", { text: t("Walk") }), el("p", { class: "hint", text: words })]);
  }

  draw() {
    this.way = el("div", { class: "way", role: "img", "aria-label": t("Pictures along the way"), testid: "way" });
    const frames = slider({ label: t("Frames"), testid: "frames", min: 12, max: 240, step: 4, value: this.frames, onInput: (value) => this.set({ frames: value }) });
    const loop = toggle({ label: t("Back to the first"), checked: this.loop, testid: "loop", onChange: (value) => this.set({ loop: value }) });
    const form = segmented({ label: t("Format"), testid: "walk-form", value: this.form, options: [{ value: "gif", label: "GIF" }, { value: "mp4", label: "MP4" }], onChange: (value) => (this.form = value) });
    this.make = button({ label: t("Make the film"), icon: "film", kind: "primary", testid: "walk-make", onClick: () => this.begin() });
    this.cancel = button({ label: t("Cancel"), kind: "quiet", testid: "walk-cancel", onClick: () => this.stop() });
    const none = button({ label: t("Choose none"), kind: "quiet", onClick: () => this.view.change({ chosen: [] }) });
    this.cancel.node.hidden = true;
    this.status = el("p", { class: "hint", role: "status", testid: "walk-status" });
    this.bar = el("div", { class: "progress", hidden: true }, el("span"));
    this.result = el("div", { class: "walk-result stack", testid: "walk-result", hidden: true });
    append(clear(this.node), [
      el("h2", { text: t("Walk along {count} pictures", { count: this.view.chosen.length }) }), this.way,
      el("div", { class: "walk-fields" }, frames.node, form.node, loop.node), el("div", { class: "toolbar" }, this.make.node, this.cancel.node, none.node), this.bar, this.status, this.result,
    ]);
  }

  set(values) {
    Object.assign(this, values);
    state.set({ frames: this.frames === 60 ? null : this.frames, loop: this.loop ? null : "0" });
  }

  async preview() {
    const { run, chosen, controls } = this.view;
    this.asked?.abort();
    const mine = (this.asked = new AbortController());
    try {
      const drawn = [];
      for (let i = 0; i + 1 < Math.min(chosen.length, 4); i += 1) {
        const strip = await cellsOf(await postForBlob("/api/create/between", { run: run.id, from: chosen[i], to: chosen[i + 1], steps: STEPS, controls }, { signal: mine.signal }));
        for (const cell of strip.cells.slice(i ? 1 : 0)) {
          const canvas = el("canvas");
          cell.draw(canvas);
          drawn.push(canvas);
        }
        strip.close();
      }
      if (mine === this.asked) append(clear(this.way), drawn);
    } catch (error) {
      if (error.name !== "AbortError") this.status.textContent = error.message;
    }
  }

  async begin() {
    const { run, chosen, controls } = this.view;
    const asked = { run: run.id, seeds: chosen, frames: this.frames, loop: this.loop, form: this.form, scale: this.scale, controls, state: this.view.kept() };
    this.busy(true);
    try {
      this.job = (await postJSON("/api/create/walk", asked)).id;
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
    const film = blob.type.startsWith("video")
      ? el("video", { src: this.address, controls: true, loop: true, "aria-label": t("The film") })
      : el("img", { src: this.address, alt: t("The film") });
    const keep = button({ label: t("Save film"), icon: "download", testid: "save-film", onClick: () => save(blob, fileName(this.view.run.name, "walk", blob.type.endsWith("mp4") ? "mp4" : "gif")) });
    append(clear(this.result), [film, el("div", {}, keep.node)]);
    this.result.hidden = false;
    this.status.textContent = t("The film is ready.");
  }

  busy(on) {
    this.make.disable(on);
    this.cancel.node.hidden = !on;
    this.bar.hidden = !on;
    if (!on) this.job = null;
  }

  async stop() {
    if (this.job) await del(`/api/jobs/${this.job}`).catch(() => {});
  }

  leave() {
    this.asked?.abort();
    this.stop();
    this.job = null;
    if (this.address) URL.revokeObjectURL(this.address);
  }
}
