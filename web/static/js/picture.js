// An image of the user's as the query: by drop, paste or file dialog.

import { sendImage } from "./api.js";
import { byId } from "./dom.js";
import { go, state } from "./state.js";
import { report } from "./toast.js";

/** Let the page take an image from anywhere. */
export function takeImages() {
  const input = byId("file");
  const target = byId("drop-target");
  byId("find-by-image").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files[0]) search(input.files[0]);
    input.value = "";
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(isImage);
    if (file) search(file);
  });

  let depth = 0;
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  const show = (isShown) => target.classList.toggle("shown", isShown);
  addEventListener("dragenter", (event) => isFile(event) && show(++depth > 0));
  addEventListener("dragleave", (event) => isFile(event) && show(--depth > 0));
  addEventListener("dragover", (event) => isFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    if (event.dataTransfer.files[0]) search(event.dataTransfer.files[0]);
  });
}

const isImage = (file) => file.type.startsWith("image/");

/** Send an image, and show what resembles it. Emotions and folders that are chosen stay chosen. */
async function search(file) {
  const busy = byId("find-by-image");
  busy.classList.add("busy");
  busy.setAttribute("aria-busy", "true");
  try {
    const answer = await sendImage(file, { model: state().similar_by ?? state().model });
    go({ query: answer.query, like: null, view: null, image: null, order: null });
  } catch (error) {
    report(error);
  } finally {
    busy.classList.remove("busy");
    busy.removeAttribute("aria-busy");
  }
}
