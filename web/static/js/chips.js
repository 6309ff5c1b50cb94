// The emotions as chips with counts: a click includes one, a second click excludes it, a third one clears it.

import { el, fill } from "./dom.js";
import { emotions, NONE, onEmotions, paint, shortlist } from "./emotions.js";
import { go, isByLikeness, state, subscribe } from "./state.js";
import { number } from "./text.js";

let isLong = false;
let redraw = () => {};

const NEXT = { included: "exclude it", excluded: "clear it", none: "include it" };

/** Fill an element with the chips, and keep them up to date. */
export function showChips(group, lead) {
  const draw = () => {
    const focused = group.contains(document.activeElement) ? document.activeElement.dataset.emotion : null;
    fill(group, shown().map(chip), more());
    if (focused) group.querySelector(`[data-emotion="${CSS.escape(focused)}"]`)?.focus();
    lead.textContent = isByLikeness(state()) ? "… but" : "Show";
  };
  redraw = draw;
  onEmotions(draw);
  subscribe(draw);
}

/** Return the emotions that have a chip: few, unless all are asked for. Those that are chosen always have one. */
function shown() {
  const short = new Set(shortlist());
  const isShown = (one) => (one.emotion === NONE ? one.count > 0 : isLong || short.has(one)) || standing(one.emotion) !== "none";
  return emotions().filter(isShown);
}

/** Return a button for the emotions that have no chip; null if all have one. */
function more() {
  const left = emotions().filter((one) => one.emotion !== NONE).length - shortlist().length;
  if (left <= 0) return null;
  const text = isLong ? "fewer" : `${number(left)} more`;
  return el("button", { type: "button", class: "chip", "aria-expanded": String(isLong), on: { click: () => { isLong = !isLong; redraw(); } } }, text);
}

function standing(emotion) {
  if (state().emotion.includes(emotion)) return "included";
  return state().not.includes(emotion) ? "excluded" : "none";
}

function chip(one) {
  const is = standing(one.emotion);
  const total = number(one.count) + (one.exact ? "" : "+");
  const name = is === "excluded" ? `not ${one.emotion}` : one.emotion;
  const stands = is === "none" ? "" : `, ${is}`;
  const images = `${total} ${total === "1" ? "image" : "images"}`;
  const counted = isByLikeness(state()) ? `${images}, the most alike first` : images;
  const kind = one.parent ? `${one.emotion} is a kind of ${one.parent}: ` : one.own ? `${one.emotion}, your own emotion: ` : "";
  const element = el(
    "button",
    {
      type: "button",
      class: `chip ${is} ${one.parent ? "child" : ""}`,
      "aria-pressed": is === "none" ? "false" : is === "included" ? "true" : "mixed",
      "aria-label": `${name}, ${counted}${stands}. Press to ${NEXT[is]}.`,
      title: `${kind}${counted}`,
      on: { click: (event) => advance(one.emotion, is, event.shiftKey) },
    },
    el("i", { class: "dot" }),
    // With spaces, the words in the chip are those with which its name begins.
    is === "excluded" && [el("span", { class: "not", text: "not" }), " "],
    el("span", { class: "name", text: one.emotion }),
    " ",
    el("span", { class: "count", text: total }),
  );
  element.classList.toggle("zero", one.count === 0);
  paint(element, one.emotion);
  return element;
}

function advance(emotion, is, excludes) {
  const without = (list) => list.filter((one) => one !== emotion);
  const { emotion: included, not } = state();
  const next = is === "none" && !excludes ? "included" : is === "excluded" ? "none" : "excluded";
  go({
    emotion: next === "included" ? [...without(included), emotion] : without(included),
    not: next === "excluded" ? [...without(not), emotion] : without(not),
  });
}
