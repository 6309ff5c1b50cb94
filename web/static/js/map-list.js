// The list of what is in view on the map: the way to it for keyboards and screen readers.

import { thumbnailUrl } from "./api.js";
import { el, fill } from "./dom.js";
import { paint, percent } from "./emotions.js";
import { isSelected, onSelection, select } from "./selection.js";
import { go } from "./state.js";
import { fileName, number, shown } from "./text.js";

const MOST = 60;
const PIXELS = 96;
const WAIT_MS = 400;

export class MapList {
  #timer = 0;
  #turn = 0;
  most = MOST;

  constructor(element) {
    this.element = element;
    onSelection(() => this.#mark());
  }

  /** List some images once the map rests. `all` is the number of faces in view, `load` returns those that are listed. */
  show(all, load) {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    this.#timer = setTimeout(async () => {
      const images = await load();
      if (turn === this.#turn) this.#draw(all, images);
    }, WAIT_MS);
  }

  #draw(all, images) {
    const about = all > images.length ? `${number(images.length)} of ${number(all)} faces in view, taken evenly; enlarge the map to see all.` : "All faces in view.";
    fill(this.element, el("p", { class: "quiet", text: all ? about : "No face that fits is in view." }), el("ul", { class: "map-images" }, images.map(item)));
    this.#mark();
  }

  #mark() {
    for (const box of this.element.querySelectorAll("input")) box.checked = isSelected(box.value);
  }
}

function item({ hit }) {
  const name = `${hit.label ? `labeled ${hit.label}` : `${hit.emotion} ${percent(hit.score)}`}, ${shown(fileName(hit.path))}`;
  const picture = el("button", { type: "button", class: "sample", "aria-label": `Show ${name}`, title: name, on: { click: () => go({ image: hit.image_id }) } }, el("img", { alt: "", src: thumbnailUrl(hit.image_id, PIXELS) }));
  const box = el("input", { type: "checkbox", value: hit.image_id, "aria-label": `Select ${name}`, on: { change: (event) => select([hit.image_id], event.target.checked) } });
  const entry = el("li", {}, picture, box);
  paint(entry, hit.emotion);
  return entry;
}
