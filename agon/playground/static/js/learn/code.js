// "Show me the code": the very files that the game on the stage consists of, as plain text.

import { ApiError, getJSON } from "../core/api.js";
import { dialog, tabs } from "../core/controls.js";
import { append, clear, el } from "../core/dom.js";
import { t } from "../core/i18n.js";

/** Opens the dialog for an objective. */
export async function showCode(objective) {
  const body = el("div", { class: "code" }, el("p", { class: "hint", text: t("Loading…") }));
  dialog({ title: t("The code of {name}", { name: t(objective.label) }), body, wide: true, testid: "code-dialog" }).open();
  try {
    const { files } = await getJSON("/api/learn/code", { params: { objective: objective.id } });
    const list = files.map((file, i) => ({ id: String(i), label: file.name.split("/").slice(-2).join("/"), node: listing(file) }));
    append(clear(body), [
      el("p", {
        class: "hint",
        text: t("These are the files that are playing, as they are installed. The losses of every game stand in one file, the penalties in another."),
      }),
      tabs({ label: t("Files"), tabs: list }).node,
    ]);
  } catch (error) {
    append(clear(body), el("p", { class: "note bad", text: error instanceof ApiError ? error.message : String(error) }));
  }
}

// Numbers are drawn by a CSS counter, so that copied text is the file's.
function listing(file) {
  const lines = file.text
    .replace(/\n$/, "")
    .split("\n")
    .map((line) => el("span", { class: "line", text: `${line}\n` }));
  return el("pre", { tabindex: "0", "aria-label": file.name, testid: `file-${file.name}` }, el("code", {}, lines));
}
