// Tags of a tagger: those of the filter as buttons that remove them, a field that adds some, and those of an image.

import { byId, el, fill } from "./dom.js";
import { libraryHasTags, onEmotions, percent } from "./emotions.js";
import { cleared, go, state, subscribe } from "./state.js";

const MOST_SHOWN = 40;

/** A minus before a letter or a digit; some tags are faces, such as -_-. */
const MINUS = /^-(?=[\p{L}\p{N}])/u;

/** Keep the filter by tags up to date; without tags, there is none. A tag after a minus is one that images must not have. */
export function showTagFilter() {
  const field = el("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "smile, or -comic", "aria-label": "Tag, or a minus and a tag" });
  const form = el("form", { class: "field", on: { submit: (event) => { event.preventDefault(); add(field.value.trim()); field.value = ""; } } }, field);
  const chosen = el("div", { class: "tags" });
  const draw = () => {
    const chips = [...state().tag.map((tag) => chip(tag, "tag")), ...state().not_tag.map((tag) => chip(tag, "not_tag"))];
    fill(chosen, chips);
    byId("tags-filter").hidden = !libraryHasTags() && !chips.length;
  };
  fill(byId("tags"), form, chosen);
  onEmotions(draw);
  subscribe(draw);
  draw();
}

/** Return the tags of an image, the most probable first, as buttons that search for them; null if it has none. */
export function tagsOf(tags) {
  const every = Object.entries(tags ?? {}).slice(0, MOST_SHOWN);
  if (!every.length) return null;
  const buttons = every.map(([tag, score]) =>
    el("button", { type: "button", class: "chip", title: `${percent(score)} probable: show all images with it`, text: tag, on: { click: () => go({ ...cleared(), tag: [tag] }) } }),
  );
  return el("section", { "aria-label": "Tags" }, el("h3", { text: "Tags" }), el("div", { class: "tags" }, buttons));
}

function add(word) {
  const name = MINUS.test(word) ? "not_tag" : "tag";
  const tag = word.replace(MINUS, "").trim();
  if (tag && !state()[name].includes(tag)) go({ [name]: [...state()[name], tag] });
}

function chip(tag, name) {
  const is = name === "tag" ? "included" : "excluded";
  const label = name === "tag" ? `Tag ${tag}: remove from the filter` : `Without the tag ${tag}: remove from the filter`;
  const remove = () => go({ [name]: state()[name].filter((one) => one !== tag) });
  return el("button", { type: "button", class: `chip ${is}`, title: label, "aria-label": label, text: tag, on: { click: remove } });
}
