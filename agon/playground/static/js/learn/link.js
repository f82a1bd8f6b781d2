// The Learn room's state and its text in the address. Only what differs from the defaults is written, so that addresses stay short.

import { packPoints, unpackPoints } from "./points.js";

export const LAYERS = ["real", "fake", "heat", "manifold", "gradients"];
const FIRST_LAYERS = ["real", "fake", "heat"];
export const SPEEDS = [1, 2, 5, 10, 30, 60, 120, 250, 500, 1000, 0]; // steps a second; 0: as fast as it goes
const FIRST_SPEED = 60;
const FOR_OBJECTIVE = ["critic_steps", "penalty", "penalty_weight", "weight_clip"]; // left out: as the objective likes it

/** The default configuration that the server's options describe. */
export function firstConfig(options) {
  return {
    shared: { ...defaults(options.shared), points: [] },
    stages: [firstStage(options)],
    layers: new Set(FIRST_LAYERS),
    speed: FIRST_SPEED,
    lesson: "",
    surface: false,
  };
}

export function firstStage(options) {
  return defaults(options.stage);
}

function defaults(fields) {
  return Object.fromEntries(
    Object.entries(fields)
      .filter(([name]) => name !== "points")
      .map(([name, field]) => [name, field.default ?? null]),
  );
}

/** A stage with another objective: what belongs to the old one is dropped. */
export function withObjective(stage, objective) {
  return { ...stage, objective, ...Object.fromEntries(FOR_OBJECTIVE.map((name) => [name, null])) };
}

/** The value that a stage's field has in the game, its objective's where nothing was chosen. */
export function settled(options, stage, name) {
  return stage[name] ?? options.objectives.find((one) => one.id === stage.objective)?.defaults?.[name] ?? options.stage[name]?.default;
}

/** Configuration -> {key: text or null}, for state.set. */
export function written(config, options) {
  const keys = {};
  for (const [name, field] of Object.entries(options.shared)) {
    if (name !== "points") keys[name] = config.shared[name] === field.default ? null : config.shared[name];
  }
  keys.points = isGiven(config.shared.data) && config.shared.points.length ? packPoints(config.shared.points) : null;
  for (let i = 0; i < options.limits.stages; i += 1) keys[`s${i}`] = config.stages[i] ? stageText(config.stages[i], options, i) : null;
  const layers = LAYERS.filter((name) => config.layers.has(name));
  keys.layers = layers.join() === FIRST_LAYERS.join() ? null : layers.join(",") || "none";
  keys.speed = config.speed === FIRST_SPEED ? null : config.speed;
  keys.lesson = config.lesson || null;
  keys.view = config.surface ? "3d" : null;
  return keys;
}

function stageText(stage, options, index) {
  const parts = [stage.objective];
  for (const [name, field] of Object.entries(options.stage)) {
    if (name !== "objective" && stage[name] !== null && stage[name] !== field.default) parts.push(`${name}:${stage[name]}`);
  }
  const text = parts.join(";");
  return index === 0 && text === options.stage.objective.default ? null : text;
}

/** What the address says, over the defaults. Values that do not fit are left at their defaults: an address is typed by anybody. */
export function read(state, options) {
  const config = firstConfig(options);
  for (const [name, field] of Object.entries(options.shared)) if (name !== "points") config.shared[name] = fitted(field, state.get(name, null), field.default);
  if (isGiven(config.shared.data)) config.shared.points = unpackPoints(state.get("points")).slice(0, options.limits.points);
  for (let i = 0; i < options.limits.stages; i += 1) {
    const text = state.get(`s${i}`, null);
    if (text === null && i > 0) break;
    if (text !== null) config.stages[i] = readStage(text, options);
  }
  const layers = state.get("layers", null);
  if (layers !== null) config.layers = new Set(layers.split(",").filter((name) => LAYERS.includes(name)));
  const speed = Number(state.get("speed", FIRST_SPEED));
  config.speed = SPEEDS.includes(speed) ? speed : FIRST_SPEED;
  config.lesson = state.get("lesson");
  config.surface = state.get("view") === "3d";
  return config;
}

function readStage(text, options) {
  const [objective, ...parts] = text.split(";");
  const stage = firstStage(options);
  stage.objective = fitted(options.stage.objective, objective, options.stage.objective.default);
  for (const part of parts) {
    const [name, value] = part.split(":");
    if (options.stage[name] && name !== "objective") stage[name] = fitted(options.stage[name], value ?? null, stage[name]);
  }
  return stage;
}

function fitted(field, text, fallback) {
  if (text === null || text === undefined) return fallback ?? null;
  if (field.choices) return field.choices.includes(text) ? text : fallback;
  const value = Number(text);
  if (text === "" || !Number.isFinite(value)) return fallback;
  const inside = Math.min(field.max ?? Infinity, Math.max(field.min ?? -Infinity, value));
  return field.whole ? Math.round(inside) : inside;
}

export function isGiven(data) {
  return data === "drawn" || data === "csv";
}

/** What the server opens: fields that are left out are as the objective likes them. */
export function opening(config) {
  const { points, ...shared } = config.shared;
  const stages = config.stages.map((stage) => Object.fromEntries(Object.entries(stage).filter(([, value]) => value !== null)));
  return { shared: isGiven(shared.data) ? { ...shared, points } : shared, stages };
}

/** [["b", 120], ["d", 5]] -> "b120.d5". */
export function courseText(course) {
  return course.map(([who, times]) => `${who}${times}`).join(".");
}

/** "b120.d5" -> [["b", 120], ["d", 5]]; [] for what is no course. */
export function readCourse(text) {
  if (!/^[bdg][1-9]\d{0,5}(\.[bdg][1-9]\d{0,5})*$/.test(text)) return [];
  return text.split(".").map((part) => [part[0], Number(part.slice(1))]);
}

/** The first `step` steps of a course. */
export function cutCourse(course, step) {
  const kept = [];
  let left = step;
  for (const [who, times] of course) {
    if (left <= 0) break;
    kept.push([who, Math.min(times, left)]);
    left -= times;
  }
  return kept;
}
