// What the page says where there are no images: why, and what to change.

import { get } from "./api.js";
import { copyText } from "./copy.js";
import { button, byId, el, fill } from "./dom.js";
import { folder } from "./folders.js";
import { cleared, go, state } from "./state.js";
import { listed, shown } from "./text.js";
import { attempt, toast } from "./toast.js";

const COMMAND = "moodex index FOLDER";

/** Say why a list has no images, if it `isStill` shown when that is known. */
export async function sayEmpty(isStill) {
  const status = await attempt(() => get("/status"));
  if (!isStill()) return;
  if (status && status.images === 0) sayNothingIndexed(Boolean(status.runs.length));
  else sayNothingFits();
}

/** Say why the images could not be loaded. */
export function sayProblem(error, again) {
  const isForgotten = error.status === 404 && state().query;
  show(
    isForgotten ? "Drop the image again" : "This did not work",
    error.message,
    isForgotten ? [button({ icon: "image", text: "Choose the image", kind: "strong", on: () => byId("find-by-image").click() })] : [button({ text: "Try again", kind: "strong", on: again })],
    button({ text: "Show all images", on: () => go(cleared()) }),
  );
}

function show(title, sentence, ...more) {
  const place = byId("empty");
  fill(place, el("h2", { text: title }), typeof sentence === "string" ? el("p", { text: sentence }) : sentence, el("div", { class: "tools" }, more.flat()));
  place.hidden = false;
}

function sayNothingIndexed(hadRuns) {
  if (hadRuns) {
    show("No images yet", "The indexed folders hold no images that moodex can read. See what happened in each run, or index again.", button({ icon: "run", text: "Open the library", kind: "strong", on: () => go({ view: "library" }) }));
    return;
  }
  show(
    "Your library is empty",
    el("p", {}, "Type ", el("code", { text: COMMAND }), " in a terminal, with a folder of drawings: they appear here while they are read."),
    button({ icon: "copy", text: "Copy the command", kind: "strong", on: () => attempt(async () => { await copyText(COMMAND); toast("Copied. Replace FOLDER by the folder of your drawings."); }) }),
    button({ text: "Look again", on: () => location.reload() }),
  );
}

function sayNothingFits() {
  const { emotion, not, under, tag, not_tag: without, min_score: least, exact, order } = state();
  const folders = under.map((id) => `“${shown(folder(id)?.name ?? "this folder")}”`);
  const words = [
    emotion.length ? `reads as ${listed(emotion, "or")}` : "is here",
    not.length && `has no ${listed(not, "or")} face`,
    least > 0 && `is at least ${Math.round(least * 100)}% probable`,
    under.length && `is in ${listed(folders, "or")}`,
    tag.length && `has the ${tag.length > 1 ? "tags" : "tag"} ${listed(tag)}`,
    without.length && `lacks ${listed(without, "or")}`,
  ].filter(Boolean);
  const changes = [
    least > 0 && ["Any probability", { min_score: 0 }],
    under.length && ["All folders", { under: [] }],
    tag.length + without.length && ["Any tags", { tag: [], not_tag: [] }],
    not.length && [`Allow ${listed(not)}`, { not: [] }],
    exact && ["With sub-emotions", { exact: false }],
    emotion.length && ["Any emotion", { emotion: [] }],
    order && !emotion.length && ["Usual order", { order: null }],
  ].filter(Boolean);
  show(
    "No image fits",
    `No image ${listed(words)}.`,
    changes.map(([text, change]) => button({ text, on: () => go(change) })),
    button({ text: "Show all images", kind: "strong", on: () => go(cleared()) }),
  );
}
