// What can be chosen: the data, the networks (shared by all stages), and each stage's own game.

import { button, number, segmented, select, slider, toggle } from "../core/controls.js";
import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { isGiven, settled } from "./link.js";
import { board, firstDrawing, parseTable } from "./points.js";
import { stageLetter } from "./stage.js";

const SHARED = [
  ["generator_width", 4],
  ["generator_depth", 1],
  ["discriminator_width", 4],
  ["discriminator_depth", 1],
  ["latent_dim", 1],
  ["batch", 16],
];
const PENALTIES = {
  none: "None",
  wgan_gp: "Between real and fake (WGAN-GP)",
  dragan: "Around the data (DRAGAN)",
  r1: "At real points (R1)",
  r2: "At fakes (R2)",
  r1_r2: "At real points and fakes (R1 and R2)",
};
const OPTIMIZERS = { adam: "Adam", sgd: "SGD", rmsprop: "RMSprop" };

/** acts: {shared({name: value}), stage(index, {name: value}), choose(index), add(), letters(on)}. */
export class Settings {
  constructor(options, config, acts) {
    Object.assign(this, { options, config, acts, chosen: 0, given: { drawn: [], csv: [] } });
    if (isGiven(config.shared.data)) this.given[config.shared.data] = config.shared.points;
    this.data = el("div", { class: "stack" });
    this.stage = el("div", { class: "stack" });
    this.networks = el("div", { class: "stack" });
    this.node = el(
      "div",
      { class: "settings stack" },
      el("section", { class: "stack" }, el("h2", { text: t("Data") }), this.data),
      el("section", { class: "stack" }, el("h2", { text: t("Game") }), this.stage),
      el("section", { class: "stack" }, el("h2", { text: t("Networks") }), this.networks),
    );
    this.draw();
  }

  /** Everything anew, after the configuration was changed from elsewhere. */
  show(config) {
    this.config = config;
    if (isGiven(config.shared.data)) this.given[config.shared.data] = config.shared.points;
    this.chosen = Math.min(this.chosen, config.stages.length - 1);
    this.draw();
  }

  draw() {
    this.drawData(this.config.shared.data);
    this.drawStage();
    this.drawNetworks();
  }

  drawData(kind) {
    const { options, config, acts } = this;
    this.board?.destroy();
    this.board = null;
    const choose = select({
      label: t("Data set"),
      testid: "data",
      value: kind,
      options: options.data.map((one) => ({ value: one.id, label: t(one.label) })),
      onChange: (id) => this.chooseData(id),
    });
    const seed = number({
      label: t("Seed"),
      testid: "seed",
      min: 0,
      max: options.shared.seed.max,
      step: 1,
      value: config.shared.seed,
      hint: t("The same seed plays the same game, bit for bit."),
      onChange: (value) => acts.shared({ seed: value }),
    });
    append(clear(this.data), [choose.node, kind === "drawn" ? this.drawBoard() : null, kind === "csv" ? this.drawFile() : null, seed.node]);
  }

  chooseData(kind) {
    const refocus = () => this.data.querySelector("select")?.focus();
    if (kind === "drawn" && !this.given.drawn.length) this.given.drawn = firstDrawing();
    if (!isGiven(kind)) this.acts.shared({ data: kind, points: [] });
    else if (this.given[kind].length) this.acts.shared({ data: kind, points: this.given[kind] });
    this.drawData(kind);
    refocus();
  }

  drawBoard() {
    this.board = board({ most: this.options.limits.points, onPoints: (points) => this.give("drawn", points) });
    this.board.set(this.given.drawn);
    return this.board.node;
  }

  drawFile() {
    const said = el("p", {
      class: "hint",
      role: "status",
      text: this.given.csv.length
        ? t("{count} points", { count: this.given.csv.length })
        : t("Choose a file with an x and a y in each line. It stays on this machine."),
    });
    const input = el("input", { type: "file", accept: ".csv,.tsv,.txt,text/csv,text/plain", id: "learn-csv", testid: "csv" });
    input.addEventListener("change", async () => {
      const file = input.files[0];
      if (!file) return;
      try {
        said.textContent = await this.readFile(file);
        said.classList.remove("problem");
      } catch (error) {
        said.textContent = error.message;
        said.classList.add("problem");
      }
    });
    return el("div", { class: "field" }, el("label", { for: "learn-csv", text: t("CSV file") }), input, said);
  }

  async readFile(file) {
    if (file.size > 20e6) throw new Error(t("The file is larger than 20 MB. Expected a table of points."));
    const { points, columns, skipped, left } = parseTable(await file.text(), this.options.limits.points);
    this.give("csv", points);
    const said = [t("{count} points from columns {x} and {y}.", { count: points.length, x: columns[0], y: columns[1] })];
    if (left > 0) said.push(t("{count} more were left out, evenly.", { count: left }));
    if (skipped > 0) said.push(t("{count} lines held no two numbers.", { count: skipped }));
    return said.join(" ");
  }

  give(kind, points) {
    this.given[kind] = points;
    this.acts.shared({ data: kind, points });
  }

  /** The stage whose settings are shown. */
  choose(index) {
    this.chosen = index;
    this.drawStage();
  }

  drawStage() {
    const { config, acts, options } = this;
    const several = config.stages.length > 1;
    const stage = config.stages[this.chosen];
    const objective = options.objectives.find((one) => one.id === stage.objective);
    const which = several
      ? segmented({
          label: t("Settings of stage"),
          testid: "stage-choice",
          value: this.chosen,
          options: config.stages.map((_, i) => ({ value: i, label: stageLetter(i) })),
          onChange: (value) => acts.choose(Number(value)),
        }).node
      : null;
    const add =
      config.stages.length < options.limits.stages
        ? button({ label: t("Add a stage to compare"), icon: "plus", testid: "add-stage", onClick: () => acts.add() }).node
        : null;
    const note = el("p", { class: "hint", text: t(objective.note) });
    const basic = ["generator_lr", "discriminator_lr", "critic_steps"].map((name) => this.stageField(name, stage));
    const smoothing = objective.smoothing ? this.stageField("label_smoothing", stage) : null;
    const penalty = settled(options, stage, "penalty");
    const more = [
      this.stageField("instance_noise", stage),
      this.choice("penalty", PENALTIES, stage),
      penalty === "none" ? null : this.stageField("penalty_weight", stage),
      this.stageField("weight_clip", stage),
      this.choice("optimizer", OPTIMIZERS, stage),
      stage.optimizer === "adam" ? this.stageField("beta1", stage) : null,
    ];
    const details = el(
      "details",
      { open: this.moreOpen ?? false, on: { toggle: (event) => (this.moreOpen = event.target.open) } },
      el("summary", { text: t("More") }),
      el("div", { class: "stack" }, more),
    );
    append(clear(this.stage), [which, note, basic, smoothing, details, add]);
  }

  stageField(name, stage) {
    const field = this.options.stage[name];
    const log = name.endsWith("_lr");
    const step = field.whole ? 1 : log ? 20 : ({ penalty_weight: 0.05, weight_clip: 0.01 }[name] ?? 0.01);
    const change = (value) => this.acts.stage(this.chosen, { [name]: value });
    return slider({
      label: t(field.label),
      testid: name,
      min: field.min,
      max: field.max,
      step,
      log,
      value: settled(this.options, stage, name),
      onInput: change,
    }).node;
  }

  choice(name, words, stage) {
    const field = this.options.stage[name];
    const options = field.choices.map((value) => ({ value, label: t(words[value] ?? value) }));
    const change = (value) => {
      this.acts.stage(this.chosen, { [name]: value });
      this.drawStage();
      this.stage.querySelector(`[data-testid="${name}"]`)?.focus();
    };
    return select({ label: t(field.label), testid: name, value: settled(this.options, stage, name), options, onChange: change }).node;
  }

  drawNetworks() {
    const { options, config, acts } = this;
    const rows = SHARED.map(([name, step]) => {
      const { label, min, max } = options.shared[name];
      return slider({ label: t(label), testid: name, min, max, step, value: config.shared[name], onInput: (value) => acts.shared({ [name]: value }) }).node;
    });
    const letters = toggle({
      label: t("Single-letter keys"),
      checked: acts.lettersOn(),
      testid: "letter-keys",
      hint: t("Off: letters and arrows do nothing outside of fields."),
      onChange: (on) => acts.letters(on),
    });
    append(clear(this.networks), [
      rows,
      el("p", { class: "hint", text: t("Every change begins a new game from step 0, with the same data and the same first weights on all stages.") }),
      letters.node,
    ]);
  }
}
