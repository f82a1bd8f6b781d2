// The server. Every answer that is not good becomes an ApiError whose message is in the reader's language.

import { language, t } from "./i18n.js";

export class ApiError extends Error {
  constructor(status, message, retryAfter = 0) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.retryAfter = retryAfter; // seconds, where the server said so
  }
}

function address(path, params = {}) {
  const url = new URL(path, location.origin);
  url.searchParams.set("lang", language());
  for (const [key, value] of Object.entries(params)) if (value !== null && value !== undefined) url.searchParams.set(key, value);
  return url;
}

async function ask(path, { params, ...init } = {}) {
  let answer;
  try {
    answer = await fetch(address(path, params), { credentials: "same-origin", ...init });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, t("The server does not answer. Is agon play still running?"));
  }
  if (answer.ok || answer.status === 304) return answer;
  let message = "";
  try {
    message = String((await answer.json()).error ?? "");
  } catch {
    // a proxy's page, or nothing at all
  }
  throw new ApiError(answer.status, message || t("The server answered {status}.", { status: answer.status }), Number(answer.headers.get("retry-after")) || 0);
}

function json(method, body, signal) {
  return { method, signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

/** {signal, params, headers}; the JSON of the answer. */
export async function getJSON(path, { signal, params, headers } = {}) {
  return (await ask(path, { signal, params, headers })).json();
}

/** The answer itself, for those who want its headers (ETag; a 304 is good). */
export async function getResponse(path, { signal, params, headers } = {}) {
  return ask(path, { signal, params, headers });
}

export async function postJSON(path, body = {}, { signal, params } = {}) {
  const answer = await ask(path, { params, ...json("POST", body, signal) });
  return answer.status === 204 ? null : answer.json();
}

/** {blob, headers, status}. */
export async function postForBlob(path, body = {}, { signal, params } = {}) {
  return opened(await ask(path, { params, ...json("POST", body, signal) }));
}

export async function getBlob(path, { signal, params } = {}) {
  return opened(await ask(path, { signal, params }));
}

/** Sends a file as it is; params go into the query. {blob, headers, status}. */
export async function upload(path, file, params = {}, { signal } = {}) {
  return opened(await ask(path, { params, method: "POST", signal, headers: { "Content-Type": file.type || "application/octet-stream" }, body: file }));
}

export async function del(path, { signal, params } = {}) {
  const answer = await ask(path, { method: "DELETE", signal, params });
  return answer.status === 204 ? null : answer.json();
}

/** A WebSocket to the same server; frames come as ArrayBuffers. */
export function socket(path, params = {}) {
  const url = address(path, params);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const made = new WebSocket(url);
  made.binaryType = "arraybuffer";
  return made;
}

async function opened(answer) {
  return { blob: await answer.blob(), headers: answer.headers, status: answer.status };
}
