// The emotions as chips with counts: a click includes one, a second click excludes it, a third one clears it.

import { el, fill } from "./dom.js";
import { emotions, NONE, onEmotions, paint } from "./emotions.js";
import { go, isByLikeness, state, subscribe } from "./state.js";
import { number } from "./text.js";

const NEXT = { included: "exclude it", excluded: "clear it", none: "include it" };

/** Fill an element with the chips, and keep them up to date. */
export function showChips(group, lead) {
  const draw = () => {
    const focused = group.contains(document.activeElement) ? document.activeElement.dataset.emotion : null;
    fill(group, emotions().filter(isShown).map(chip));
    if (focused) group.querySelector(`[data-emotion="${CSS.escape(focused)}"]`)?.focus();
    lead.textContent = isByLikeness(state()) ? "… but" : "Show";
  };
  onEmotions(draw);
  subscribe(draw);
}

/** Images without a face are rare: their chip shows only if there are some. */
const isShown = (one) => one.emotion !== NONE || one.count > 0 || standing(one.emotion) !== "none";

function standing(emotion) {
  if (state().emotion.includes(emotion)) return "included";
  return state().not.includes(emotion) ? "excluded" : "none";
}

function chip(one) {
  const is = standing(one.emotion);
  const total = number(one.count) + (one.exact ? "" : "+");
  const stands = is === "none" ? "" : `, ${is}`;
  const element = el(
    "button",
    {
      type: "button",
      class: `chip ${is} ${one.parent ? "child" : ""}`,
      "aria-pressed": is === "none" ? "false" : is === "included" ? "true" : "mixed",
      "aria-label": `${one.emotion}, ${total} images${stands}. Press to ${NEXT[is]}.`,
      title: one.parent ? `${one.emotion} is a kind of ${one.parent}` : one.own ? `${one.emotion}: your own emotion` : null,
      on: { click: (event) => advance(one.emotion, is, event.shiftKey) },
    },
    el("i", { class: "dot" }),
    is === "excluded" && el("span", { class: "not", text: "not" }),
    el("span", { class: "name", text: one.emotion }),
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
