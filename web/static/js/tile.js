// One tile of the grid. Tiles are used again: a grid of a million images has about a hundred of them.

import { thumbnailUrl } from "./api.js";
import { byId } from "./dom.js";
import { paint, percent } from "./emotions.js";
import { fileName, shown } from "./text.js";

export class Tile {
  /** `element`: a tile that came with the document, whose thumbnail may be loaded already. */
  constructor(element = byId("tile").content.firstElementChild.cloneNode(true)) {
    this.element = element;
    this.image = element.querySelector("img");
    this.caption = element.querySelector(".caption");
    this.image.addEventListener("load", () => this.#loaded());
    this.image.addEventListener("error", () => this.#loaded());
    this.hit = undefined;
    if (this.image.complete) this.#loaded();
  }

  /** Put the tile at a place of the grid, in pixels. */
  place(index, left, top, width, height, total) {
    this.index = index;
    Object.assign(this, { left, top, width, height });
    const style = this.element.style;
    style.transform = `translate(${left}px, ${top}px)`;
    style.width = `${width}px`;
    style.height = `${height}px`;
    this.element.id = `tile-${index}`;
    this.element.setAttribute("aria-posinset", index + 1);
    this.element.setAttribute("aria-setsize", total ?? -1);
  }

  /** Show a hit; undefined while it is being loaded. */
  show(hit, { isRanked, isByLikeness }) {
    this.hit = hit;
    if (hit === undefined) {
      this.element.setAttribute("aria-label", "loading");
      return;
    }
    const value = isByLikeness ? hit.similarity : hit.score;
    const label = hit.label ? `labeled ${hit.label}` : `${hit.emotion} ${percent(hit.score)}`;
    this.element.setAttribute("aria-label", `${label}, ${shown(fileName(hit.path))}`);
    this.caption.textContent = isRanked && !hit.label ? `${hit.emotion} ${percent(isByLikeness ? hit.score : value)}` : hit.emotion;
    this.element.classList.toggle("labeled", Boolean(hit.label));
    if (hit.copies) this.caption.textContent += ` +${hit.copies}`;
    paint(this.element, hit.emotion);
    const focus = focusOf(hit, this.width, this.height);
    this.image.style.objectPosition = focus ? `${focus[0] * 100}% ${focus[1] * 100}%` : "";
  }

  /**
   * Load the thumbnail, unless it is loaded; those `inView` before others. One of the same image in another size, which came with
   * the document, is shown first.
   */
  load(inView = true) {
    if (this.hit === undefined) return;
    const address = thumbnailUrl(this.hit.image_id, Math.max(this.width, this.height));
    const present = this.image.getAttribute("src");
    if (present === address) return;
    const isOther = !present?.includes(this.hit.image_id);
    if (!isOther && !this.image.complete) return;
    if (isOther) this.element.classList.remove("loaded", "broken");
    this.image.fetchPriority = inView ? "auto" : "low";
    this.image.src = address;
  }

  #loaded() {
    if (!this.image.hasAttribute("src")) return;
    const isBroken = this.image.naturalWidth === 0;
    this.element.classList.toggle("loaded", !isBroken);
    this.element.classList.toggle("broken", isBroken);
    if (!isBroken) this.load();
  }

  /** Forget what is shown, and cancel the request for it. */
  clear() {
    this.image.removeAttribute("src");
    this.element.classList.remove("loaded", "broken", "labeled", "active");
    this.element.querySelector(".faces")?.remove();
    this.element.remove();
    this.hit = undefined;
    this.index = -1;
  }
}

/**
 * Return which part of an image stays in view where a tile cuts it: as two shares from 0 to 1, for `object-position`.
 * It is the part around the face. Null if the tile shows the whole image.
 */
export function focusOf(hit, width, height) {
  if (!hit.box || !hit.size) return null;
  const scale = Math.max(width / hit.size[0], height / hit.size[1]);
  const share = (side, start, end, length) => {
    const over = side * scale - length;
    return over < 1 ? 0.5 : Math.min(1, Math.max(0, (((start + end) / 2) * scale - length / 2) / over));
  };
  const [left, top, right, bottom] = hit.box;
  return [share(hit.size[0], left, right, width), share(hit.size[1], top, bottom, height)];
}
