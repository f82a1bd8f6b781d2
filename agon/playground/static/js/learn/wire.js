// The connection to the live game: orders out, frames in. A frame's arrays are views of the message, nothing is copied.

import { socket } from "../core/api.js";

const WAITS = [400, 1000, 2500, 5000]; // ms before each try to connect again

/**
 * `hears`, set before the first open(): onOpened(message), onFrames(frames, oldest first: only the last need be drawn), onHash(message),
 * onError(text, whileOpening), onState("connecting" | "opening" | "open" | "lost" | "closed", text), again() -> what to open after a lost connection.
 * A frame is its header with `array(place)` -> Float32Array.
 */
export class Wire {
  constructor() {
    this.hears = null;
    this.waiting = []; // frames that came since the last drawing
    this.queued = null; // the newest opening that was asked for while another was under way
    this.state = "";
    this.tries = 0;
    this.gone = false;
    this.due = 0;
  }

  /** Builds the game; course: [["b", 120], …]. Of several in a row only the last is carried out. */
  open(order, layers) {
    this.layersOrder = layers;
    this.queued = order;
    if (this.state === "opening") return;
    if (this.socket?.readyState === WebSocket.OPEN) this.sendOpen();
    else this.connect();
  }

  sendOpen() {
    const order = this.queued;
    this.queued = null;
    this.waiting = [];
    this.change("opening");
    this.send({ do: "open", ...order });
    this.send({ do: "layers", names: this.layersOrder });
  }

  connect() {
    if (this.gone || this.socket?.readyState === WebSocket.CONNECTING) return;
    this.change("connecting");
    const mine = (this.socket = socket("/api/learn/play"));
    mine.onopen = () => {
      this.tries = 0;
      if (this.queued) this.sendOpen();
    };
    mine.onmessage = (event) => mine === this.socket && this.heard(event.data);
    mine.onclose = (event) => mine === this.socket && this.lost(event);
  }

  lost(event) {
    if (this.gone) return;
    if (this.state === "closed") return;
    if (event.code === 1008 || this.tries >= WAITS.length) return this.change("lost", event.reason);
    this.change("connecting");
    const wait = WAITS[this.tries];
    this.tries += 1;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => {
      this.queued ??= this.hears?.again();
      this.connect();
    }, wait);
  }

  /** After the reader asked for it: connects anew, with the game as it was. */
  reconnect() {
    this.tries = 0;
    this.state = "";
    this.queued = this.hears.again();
    this.connect();
  }

  send(order) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(order));
  }

  change(state, text = "") {
    this.state = state;
    this.hears?.onState(state, text);
  }

  heard(data) {
    if (typeof data !== "string") return this.frame(data);
    const message = JSON.parse(data);
    if (message.type === "opened") {
      if (this.queued) return this.sendOpen(); // overtaken
      this.change("open");
      this.hears.onOpened(message);
    } else if (message.type === "error") {
      this.failed(message.error);
    } else if (message.type === "hash") {
      this.hears.onHash?.(message);
    } else if (message.type === "closed") {
      this.change("closed", message.error);
    }
  }

  failed(text) {
    const opening = this.state === "opening";
    if (opening) {
      if (this.queued) return this.sendOpen();
      this.change("open");
    }
    this.hears.onError(text, opening);
  }

  frame(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const start = 4 + length;
    header.array = ({ at, shape }) =>
      new Float32Array(
        buffer,
        start + at,
        shape.reduce((a, b) => a * b, 1),
      );
    if (this.state !== "open") return this.send({ do: "ack", frame: header.frame }); // of the game before
    this.waiting.push(header);
    if (!this.due) this.due = requestAnimationFrame(() => this.deliver());
  }

  deliver() {
    this.due = 0;
    const frames = this.waiting;
    if (!frames.length) return;
    this.waiting = [];
    this.hears.onFrames(frames);
    this.send({ do: "ack", frame: frames[frames.length - 1].frame });
  }

  close() {
    this.gone = true;
    cancelAnimationFrame(this.due);
    clearTimeout(this.retry);
    this.socket?.close();
  }
}
