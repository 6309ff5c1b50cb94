// The grid of images: only the rows in view, and a margin above and below, are in the document.

import { Rows } from "./layout.js";
import { preference } from "./preferences.js";
import { Tile } from "./tile.js";

const GAP = 4;
const MARGIN = 0.6;
const AHEAD = 2;
const POOL = 80;
const FAST = 2.5;
const REST_MS = 90;

/**
 * Browsers limit the height of an element to some ten million pixels, and place what is far down less exactly. The grid is a window
 * of this height on a longer list.
 */
const WINDOW = 2_000_000;

export class Grid {
  #tiles = new Map();
  #pool = [];
  #base = 0;
  #frame = 0;
  #rest = 0;
  #filling = null;
  #lastTop = 0;
  #lastTime = 0;
  #width = 0;

  /** `onChange` is called after each change of the list or its length, `onProblem` with an error of a request. */
  constructor(element, { onChange, onProblem, isSelected }) {
    Object.assign(this, { element, onChange, onProblem, isSelected });
    this.hits = null;
    this.rows = null;
    this.active = -1;
    addEventListener("scroll", () => this.#schedule(), { passive: true });
    new ResizeObserver(() => this.#resized()).observe(element);
    addEventListener("resize", () => this.#schedule(), { passive: true });
  }

  /** Show a list of hits, with the image at `anchor` at the place where it was: {index, offset}. */
  async show(hits, anchor) {
    this.hits?.stop();
    this.hits = hits;
    this.active = -1;
    this.element.removeAttribute("aria-activedescendant");
    this.#clear();
    this.#base = 0;
    this.#arrange();
    if (!anchor) scrollTo(0, 0);
    this.onChange();
    if (anchor) await this.#guard(hits.reach(anchor.index));
    if (this.hits !== hits) return;
    if (anchor) {
      this.restore(anchor);
      this.onChange();
    }
    await this.#fill();
  }

  /** Return the first image in view, and where its row is, for `show` and `restore`. */
  anchor() {
    if (!this.rows?.count) return null;
    const [first] = this.rows.between(this.#top + 1, this.#top + 1);
    const row = this.rows.row(first);
    return { index: row.start, offset: row.top - this.#top };
  }

  /** Scroll so that an image is where it was. */
  restore({ index, offset }) {
    this.rows.extend(this.hits.aspects, this.hits.isComplete);
    this.#resize();
    const row = this.rows.rowOf(Math.min(index, this.rows.placed - 1));
    if (row >= 0) this.#scrollTo(this.rows.row(row).top - offset);
    this.#render();
  }

  /** Place all images again, after a change of the size or form of tiles. */
  arrange() {
    const anchor = this.anchor();
    this.#clear();
    this.#arrange();
    if (anchor) this.restore(anchor);
    this.#fill();
  }

  /** Show again what changed of the hits, or which ones are selected. */
  refresh() {
    for (const tile of this.#tiles.values()) this.#dress(tile);
  }

  /** Return the tile of an element of the page, or undefined. */
  tileOf(element) {
    const found = element.closest?.(".tile");
    return found ? this.#tiles.get(Number(found.id.slice("tile-".length))) : undefined;
  }

  /** Return the tile of a place in the list, if it is in the document. */
  tileAt(index) {
    return this.#tiles.get(index);
  }

  /** Return the indexes of the images that a rectangle touches; its edges are in pixels of the grid. */
  inside(left, top, right, bottom) {
    const found = [];
    const [first, end] = this.rows.between(top + this.#base, bottom + this.#base);
    for (let number = first; number < end; number++) {
      const row = this.rows.row(number);
      if (row.top + row.height < top + this.#base || row.top > bottom + this.#base) continue;
      this.rows.each(row, this.hits.aspects, (index, start, width) => {
        if (start <= right && start + width >= left) found.push(index);
      });
    }
    return found;
  }

  /** Make an image the one that keys act on, and bring it into view. */
  async activate(index) {
    if (index >= this.rows.placed) await this.#guard(this.hits.reach(index));
    this.rows.extend(this.hits.aspects, this.hits.isComplete);
    this.#resize();
    const last = this.active;
    this.active = Math.max(0, Math.min(index, this.rows.placed - 1));
    if (!this.rows.placed) return;
    this.#tiles.get(last)?.element.classList.remove("active");
    this.#bringIntoView(this.rows.row(this.rows.rowOf(this.active)));
    this.#render();
    this.#tiles.get(this.active)?.element.classList.add("active");
    this.element.setAttribute("aria-activedescendant", `tile-${this.active}`);
  }

  /** Return the image one or more rows below (or, below zero, above) another. */
  rowsFrom(index, step) {
    const number = this.rows.rowOf(index);
    const wanted = Math.max(0, Math.min(this.rows.count - 1, number + step));
    if (wanted === number) return step > 0 ? this.rows.placed - 1 : 0;
    let center = 0;
    this.rows.each(this.rows.row(number), this.hits.aspects, (one, left, width) => {
      if (one === index) center = left + width / 2;
    });
    return this.rows.nearest(this.rows.row(wanted), this.hits.aspects, center);
  }

  /** Return the number of rows that fit into the window. */
  rowsInView() {
    const [first, end] = this.rows.between(this.#top, this.#top + innerHeight);
    return Math.max(1, end - first - 2);
  }

  get #offset() {
    return this.element.offsetTop;
  }

  get #top() {
    return scrollY - this.#offset + this.#base;
  }

  #arrange() {
    this.#width = this.element.clientWidth;
    const isSquare = preference("layout") === "square";
    const size = this.#width < 600 ? Math.min(preference("size"), this.#width / 2.6) : preference("size");
    this.rows = new Rows({ width: this.#width, target: size, gap: GAP, isSquare });
    this.rows.extend(this.hits.aspects, this.hits.isComplete);
    this.#resize();
  }

  #resized() {
    // Behind an image, the page has no scroll bar: that makes the grid wider for the time.
    if (document.documentElement.classList.contains("viewing")) return;
    if (this.hits && this.element.clientWidth && this.element.clientWidth !== this.#width) this.arrange();
  }

  #resize() {
    const height = Math.min(WINDOW, this.rows.height - this.#base + (this.hits.isComplete ? 0 : innerHeight));
    this.element.style.height = `${height}px`;
  }

  #scrollTo(top) {
    const base = top > WINDOW * 0.75 ? Math.floor(top / (WINDOW / 2)) * (WINDOW / 2) - WINDOW / 4 : 0;
    if (base !== this.#base) this.#clear();
    this.#base = base;
    this.#resize();
    scrollTo(0, top - this.#base + this.#offset);
  }

  #bringIntoView(row) {
    const header = document.documentElement.classList.contains("scrolled-down") ? 0 : document.querySelector("header").offsetHeight;
    if (row.top < this.#top + header) this.#scrollTo(row.top - header - GAP);
    else if (row.top + row.height > this.#top + innerHeight) this.#scrollTo(row.top + row.height - innerHeight + GAP);
  }

  #schedule() {
    if (this.hits && !this.#frame) {
      this.#frame = requestAnimationFrame(() => {
        this.#frame = 0;
        if (!this.element.clientWidth) return;
        this.#move();
        this.#render();
        this.#fill();
      });
    }
  }

  /** Move the window on the list when its end comes near. */
  #move() {
    const y = scrollY - this.#offset;
    let by = 0;
    if (y > WINDOW * 0.75 && this.rows.height - this.#base > WINDOW) by = WINDOW / 2;
    else if (y < WINDOW * 0.25 && this.#base > 0) by = -Math.min(this.#base, WINDOW / 2);
    if (!by) return;
    this.#base += by;
    this.#clear();
    this.#resize();
    scrollBy({ top: -by, behavior: "instant" });
  }

  #render() {
    const top = this.#top;
    const isFast = this.#isFast(top);
    const margin = innerHeight * MARGIN;
    const [first, end] = this.rows.between(top - margin, top + innerHeight + margin);
    const start = first < end ? this.rows.row(first).start : 0;
    const stop = first < end ? this.rows.row(end - 1).end : 0;
    for (const [index, tile] of this.#tiles) if (index < start || index >= stop) this.#drop(index, tile);
    for (let number = first; number < end; number++) {
      const row = this.rows.row(number);
      this.rows.each(row, this.hits.aspects, (index, left, width) => {
        if (!this.#tiles.has(index)) this.#add(index, left, row.top - this.#base, width, row.height);
      });
    }
    clearTimeout(this.#rest);
    if (isFast) this.#rest = setTimeout(() => this.#loadAll(), REST_MS);
    else this.#loadAll();
  }

  #isFast(top) {
    const now = performance.now();
    const speed = Math.abs(top - this.#lastTop) / Math.max(16, now - this.#lastTime);
    [this.#lastTop, this.#lastTime] = [top, now];
    return speed > (FAST * innerHeight) / 500;
  }

  #add(index, left, top, width, height) {
    const tile = this.#pool.pop() ?? new Tile();
    this.#tiles.set(index, tile);
    tile.place(index, left, top, width, height, this.hits.isTotalExact ? this.hits.total : null);
    this.#dress(tile);
    this.element.append(tile.element);
  }

  #dress(tile) {
    const hit = this.hits.at(tile.index);
    tile.show(hit, this.hits);
    if (hit === undefined) this.#guard(this.hits.need(tile.index).then(() => this.#arrived()));
    const isSelected = hit !== undefined && this.isSelected(hit.image_id);
    tile.element.setAttribute("aria-selected", String(isSelected));
    tile.element.classList.toggle("active", tile.index === this.active);
  }

  #arrived() {
    for (const tile of this.#tiles.values()) if (tile.hit === undefined && this.hits.at(tile.index)) this.#dress(tile);
    this.#loadAll();
  }

  #loadAll() {
    for (const tile of this.#tiles.values()) tile.load();
  }

  #drop(index, tile) {
    tile.clear();
    this.#tiles.delete(index);
    if (this.#pool.length < POOL) this.#pool.push(tile);
  }

  #clear() {
    for (const [index, tile] of this.#tiles) this.#drop(index, tile);
  }

  /** Load pages until the grid reaches beyond the window. */
  #fill() {
    this.#filling ??= this.#fillOnce().finally(() => {
      this.#filling = null;
    });
    return this.#filling;
  }

  async #fillOnce() {
    const hits = this.hits;
    while (this.hits === hits && !hits.isComplete && this.#top + innerHeight * AHEAD > this.rows.height) {
      if (!(await this.#guard(hits.more()))) break;
      if (this.hits !== hits) break;
      this.rows.extend(hits.aspects, hits.isComplete);
      this.#resize();
      this.#render();
      this.onChange();
    }
    // Another list was shown meanwhile: its first page is still to come.
    if (this.hits !== hits) await this.#fillOnce();
  }

  async #guard(promise) {
    try {
      await promise;
      return true;
    } catch (error) {
      if (error.name !== "AbortError") this.onProblem(error);
      return false;
    }
  }
}
