// What is known of the runs: asked for as little as possible (ETags, byte offsets), and never twice at once.

import { getJSON, getResponse } from "../core/api.js";
import { language } from "../core/i18n.js";

const PLAIN = ["num_images", "step", "seconds", "images_per_second", "memory_mb"];
export const POINTS = 900;
export const POINTS_OVERLAID = 450;

/** JSON that is taken from the answer before where the server says that nothing has changed. */
class Conditional {
  constructor() {
    this.kept = new Map();
  }

  async get(path, signal) {
    const key = `${language()} ${path}`;
    const known = this.kept.get(key);
    const answer = await getResponse(path, { signal, headers: known ? { "If-None-Match": known.etag } : {} });
    if (answer.status === 304) return { value: known.value, changed: false };
    const value = await answer.json();
    this.kept.set(key, { etag: answer.headers.get("etag") ?? "", value });
    return { value, changed: true };
  }
}

/** The columns of one run's log, read on from where the last look ended. */
class Columns {
  constructor(id) {
    this.id = id;
    this.clear();
  }

  clear() {
    this.at = 0;
    this.stamp = "";
    this.most = 0;
    this.version = 0;
    this.columns = new Map();
  }

  get length() {
    return this.columns.get("num_images")?.length ?? 0;
  }

  /** Whether anything is new. One question at a time: an answer is laid behind the one before it. */
  async read(most, signal) {
    const turn = (this.asking ?? Promise.resolve()).catch(() => {}).then(() => this.take(most, signal));
    this.asking = turn;
    return turn;
  }

  async take(most, signal) {
    if (this.length > 3 * most || most > this.most) this.at = 0; // too many by now, or too few: anew, thinned by the server
    const path = `/api/research/runs/${encodeURIComponent(this.id)}/log`;
    const part = await getJSON(path, { signal, params: { after: this.at, most, known: this.stamp } });
    const anew = part.rewound || this.at === 0;
    if (anew) this.columns = new Map();
    if (anew) this.most = most;
    const before = this.length;
    const added = part.columns.num_images.length;
    this.at = part.at;
    this.stamp = part.stamp;
    if (!added && !anew) return false;
    for (const [name, values] of named(part.columns)) {
      if (!this.columns.has(name)) this.columns.set(name, new Array(before).fill(null));
      const mine = this.columns.get(name);
      for (const value of values) mine.push(value);
    }
    for (const values of this.columns.values()) while (values.length < before + added) values.push(null);
    this.version += 1;
    return true;
  }
}

function named(columns) {
  const found = PLAIN.map((name) => [name, columns[name] ?? []]);
  for (const group of ["terms", "stats"]) for (const [name, values] of Object.entries(columns[group] ?? {})) found.push([`${group}/${name}`, values]);
  return found;
}

export class Store {
  constructor() {
    this.answers = new Conditional();
    this.logs = new Map();
    this.rows = [];
    this.most = 2;
    this.details = new Map();
    this.looked = new Map(); // run -> the row for which its log and detail were fetched
  }

  row(id) {
    return this.rows.find((row) => row.id === id);
  }

  log(id) {
    if (!this.logs.has(id)) this.logs.set(id, new Columns(id));
    return this.logs.get(id);
  }

  /** Whether the list has changed. */
  async readList(signal) {
    const { value, changed } = await this.answers.get("/api/research/runs", signal);
    this.rows = value.runs;
    this.most = value.most;
    return changed;
  }

  async readDetail(id, signal) {
    const { value } = await this.answers.get(`/api/research/runs/${encodeURIComponent(id)}`, signal);
    this.details.set(id, value);
    return value;
  }

  /** Fetches what is new of a run, its log and then the rest, if its row has changed; told() after each that brought something new. */
  async follow(id, most, signal, told) {
    const row = this.row(id);
    if (!row || (["waiting", "failed"].includes(row.state) && !row.images && !row.total)) return; // there is no folder yet
    const seen = `${language()} ${JSON.stringify(row)}`;
    if (this.looked.get(id) === seen && this.log(id).most >= most) return;
    this.looked.set(id, seen);
    try {
      // One after the other: together, each would be slower, and the curves are waited for.
      if (await this.log(id).read(most, signal)) told();
      await this.readDetail(id, signal);
      told();
    } catch (error) {
      this.looked.delete(id);
      throw error;
    }
  }
}
