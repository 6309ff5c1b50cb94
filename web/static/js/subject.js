// What the images of the grid resemble: an uploaded image, or one of the library.

import { get, queryThumbnailUrl, thumbnailUrl } from "./api.js";
import { button, byId, el, fill } from "./dom.js";
import { paint, percent } from "./emotions.js";
import { go, state, subscribe } from "./state.js";
import { fileName, shown } from "./text.js";

const PIXELS = 96;

/** Show the image of the query above the grid, and keep it up to date. */
export function showSubject() {
  const element = byId("subject");
  let shownId = null;
  const draw = async () => {
    const { like, query, model, similar_by } = state();
    const id = like ?? query;
    element.hidden = !id;
    if (id === shownId) return;
    shownId = id;
    if (!id) return;
    const about = el("p", { class: "about" });
    const image = el("img", { alt: "", src: like ? thumbnailUrl(like, PIXELS) : queryThumbnailUrl(query) });
    const picture = like ? el("button", { type: "button", class: "sample", "aria-label": "Show this image", on: { click: () => go({ image: like }) } }, image) : el("span", { class: "sample" }, image);
    fill(
      element,
      picture,
      el("div", { class: "words" }, el("p", { class: "title", text: like ? "More like this" : "More like your image" }), about),
      button({ icon: "close", label: "Stop searching by this image", kind: "bare", on: () => go({ like: null, query: null }) }),
    );
    try {
      const facts = await get(like ? `/images/${like}` : `/queries/${query}`, { model: like ? model : similar_by ?? model });
      if (shownId === id) fill(about, ...describe(facts, like));
    } catch {
      // The grid reports the same error.
    }
  };
  subscribe(draw);
  draw();
}

function describe(facts, isOwn) {
  const seen = facts.faces.slice(0, 3).map((face) => {
    const word = el("span", { class: "seen", text: `${face.emotion} ${percent(face.score)}` });
    paint(word, face.emotion);
    return word;
  });
  const name = isOwn ? [shown(fileName(facts.path)), " · "] : [];
  const more = facts.faces.length > 3 ? [`and ${facts.faces.length - 3} more faces`] : [];
  return [...name, "reads as ", ...seen, ...more, isOwn || !facts.indexed ? "" : " · it is in your library"];
}

