// Which part of the map is in view, and the way between places of the map and pixels of its element.

const MIN_ZOOM = 0.8;
const MAX_ZOOM = 400;

/** Places of the map go from 0 to 1 in both directions, y upwards. `x`, `y` is the place in the middle of the element. */
export class Camera {
  constructor() {
    this.width = this.height = 1;
    this.reset();
  }

  reset() {
    Object.assign(this, { x: 0.5, y: 0.5, zoom: 1 });
  }

  /** Return the pixels that the whole map takes, in both directions. */
  get scale() {
    return Math.min(this.width, this.height) * this.zoom;
  }

  toPixels(x, y) {
    return [this.width / 2 + (x - this.x) * this.scale, this.height / 2 - (y - this.y) * this.scale];
  }

  toPlace(left, top) {
    return [this.x + (left - this.width / 2) / this.scale, this.y - (top - this.height / 2) / this.scale];
  }

  /** Move the map by pixels. */
  pan(right, down) {
    this.#moveTo(this.x - right / this.scale, this.y + down / this.scale);
  }

  /** Enlarge the map by a factor, around a pixel that keeps its place. */
  zoomBy(factor, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.toPlace(left, top);
    this.zoom = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, this.zoom * factor));
    const [newX, newY] = this.toPlace(left, top);
    this.#moveTo(this.x + x - newX, this.y + y - newY);
  }

  /** Return the edges of what is in view: left, bottom, right, top. */
  edges() {
    const [left, top] = this.toPlace(0, 0);
    const [right, bottom] = this.toPlace(this.width, this.height);
    return [left, bottom, right, top];
  }

  /** Return what is in view as a word of the address; null for the whole map. */
  toWord() {
    const isWhole = this.zoom === 1 && this.x === 0.5 && this.y === 0.5;
    return isWhole ? null : [this.x.toFixed(4), this.y.toFixed(4), this.zoom.toFixed(2)].join("_");
  }

  /** Show what a word of the address says; the whole map for null or another word. */
  fromWord(word) {
    const [x, y, zoom] = (word ?? "").split("_").map(Number);
    this.reset();
    if (![x, y, zoom].every(Number.isFinite) || zoom <= 0) return;
    this.zoom = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, zoom));
    this.#moveTo(x, y);
  }

  #moveTo(x, y) {
    this.x = Math.min(1, Math.max(0, x));
    this.y = Math.min(1, Math.max(0, y));
  }
}
