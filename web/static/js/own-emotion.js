// A dialog for an emotion of the user's own.

import { byId, el, fill } from "./dom.js";
import { emotions } from "./emotions.js";
import { label } from "./labels.js";
import { count } from "./text.js";

let images = [];
let resolve = null;

/** Ask for an emotion, which may be new, and label images with it. Return whether it was done. */
export function askOwnEmotion(imageIds) {
  images = imageIds;
  byId("own-about").textContent = `Any word will do. Label a dozen images with it, and Teach makes the model know it. It labels ${count(imageIds.length, "image")} now.`;
  fill(byId("own-known"), emotions().map((one) => el("option", { value: one.emotion })));
  byId("own-word").value = "";
  byId("own-emotion").showModal();
  return new Promise((done) => { resolve = done; });
}

const dialog = byId("own-emotion");
byId("own-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const word = byId("own-word").value.trim();
  if (word && (await label(images, word, { isNew: true }))) resolve(true);
  dialog.close();
});
byId("own-cancel").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => resolve?.(false));
