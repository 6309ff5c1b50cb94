// Short messages at the edge of the page, which screen readers read out.

import { button, byId, el, fill } from "./dom.js";

const SHOWN_MS = 7000;
const MOST = 3;

/**
 * Show a sentence. `action` is a button with `text` and `on`. `isError` keeps it until the user closes it. A sentence about the same
 * `topic` replaces the one before.
 */
export function toast(sentence, { action, isError = false, topic = sentence } = {}) {
  const shelf = settled();
  for (const item of [...shelf.children]) if (item.dataset.topic === topic) item.remove();
  const close = () => item.remove();
  const item = el(
    "div",
    { class: `toast ${isError ? "error" : ""}`, data: { topic } },
    el("span", { text: sentence }),
    action && button({ text: action.text, kind: "plain", on: () => { close(); action.on(); } }),
    button({ icon: "close", label: "Close this message", kind: "bare", on: close }),
  );
  shelf.append(item);
  while (shelf.children.length > MOST) shelf.firstElementChild.remove();
  if (!isError) hideLater(item);
}

/**
 * Return the place of the messages, in the dialog that is open, if one is: it covers all else, and nothing outside it can be pressed.
 * In a page with several open dialogs, the later one in the document is on top.
 */
function settled() {
  const shelf = byId("toasts");
  const place = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (shelf.parentElement !== place) place.append(shelf);
  return shelf;
}

// `close` events do not bubble. Messages outlive the dialog in which they appeared.
addEventListener("close", settled, true);

/** Take away the messages whose action was done in another way. */
export function clearToasts() {
  for (const item of byId("toasts").querySelectorAll(".toast:not(.error)")) item.remove();
}

/** Show the sentence of an error. */
export const report = (error) => {
  if (error.name !== "AbortError") toast(error.message, { isError: true });
};

/** Run an action, and report its error. Return its result; undefined after an error. */
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    if (error.status === undefined && error.name !== "AbortError") console.error(error);
    report(error);
    return undefined;
  }
}

/** Load what a place shows; an error is shown there. Return the answer; undefined after an error. */
export async function load(place, request) {
  try {
    return await request();
  } catch (error) {
    if (error.name !== "AbortError") fill(place, el("p", { class: "quiet", text: error.message }));
    return undefined;
  }
}

function hideLater(item) {
  let timer = setTimeout(() => item.remove(), SHOWN_MS);
  const wait = () => clearTimeout(timer);
  const resume = () => {
    wait();
    timer = setTimeout(() => item.remove(), SHOWN_MS);
  };
  for (const event of ["pointerenter", "focusin"]) item.addEventListener(event, wait);
  for (const event of ["pointerleave", "focusout"]) item.addEventListener(event, resume);
}
