// Labels that the user gives, and their undo.

import { post, put } from "./api.js";
import { tellChanges } from "./changes.js";
import { countEmotions } from "./emotions.js";
import { count } from "./text.js";
import { attempt, clearToasts, toast } from "./toast.js";

const listeners = new Set();
const undoable = [];

/** Call a function with the ids of images whose labels changed, and their label: null if it was removed, undefined if unknown. */
export const onLabels = (listener) => listeners.add(listener);

/** Label images with an emotion; null removes their labels. `isNew`: it may be an emotion of the user's own. Return whether it was done. */
export async function label(imageIds, emotion, { isNew = false } = {}) {
  const answer = await attempt(() => put("/labels", { image_ids: imageIds, emotion, new: isNew }));
  if (!answer) return false;
  if (answer.undo) undoable.push({ id: answer.undo, imageIds });
  tell(imageIds, emotion);
  const what = count(answer.changed, "image");
  const sentence = !answer.changed ? "Nothing changed." : emotion ? `Labeled ${what} ${emotion}.` : `Removed the label of ${what}.`;
  toast(sentence, { topic: "label", action: answer.undo && { text: "Undo", on: undoLabel } });
  return true;
}

/** Bring back the labels from before the last change of this page. */
export async function undoLabel() {
  clearToasts();
  const last = undoable.pop();
  if (!last) {
    toast("There is no label to undo.");
    return;
  }
  const answer = await attempt(() => post("/labels/undo", { undo: last.id }));
  if (!answer) return;
  tell(last.imageIds, undefined);
  toast(`Brought back the labels of ${count(answer.changed, "image")}.`);
}

/** Keep images out of searches, or show them again. */
export async function hide(imageIds, hidden) {
  const answer = await attempt(() => put("/hidden", { image_ids: imageIds, hidden }));
  if (!answer) return false;
  const sentence = hidden ? `Hid ${count(answer.changed, "image")} from searches.` : `Shows ${count(answer.changed, "image")} again.`;
  toast(sentence, { action: answer.changed && { text: "Undo", on: () => hide(imageIds, !hidden) } });
  tellChanges();
  return true;
}

function tell(imageIds, emotion) {
  for (const listener of listeners) listener(imageIds, emotion);
  attempt(countEmotions);
}
