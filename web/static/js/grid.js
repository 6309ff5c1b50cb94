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

/** Height of the room above a list that began elsewhere than with its first image, as a multiple of the height of the page. */
const ROOM = 20;

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

  /**
   * `onChange` is called after each change of the list or its length, `onProblem` with an error of a request; `isSelected` tells
   * whether the image of an id is selected. Until they are given, nobody listens, and no image is selected.
   */
  constructor(element, listeners = {}) {
    Object.assign(this, { element, onChange: () => {}, onProblem: raise, isSelected: () => false }, listeners);
    this.hits = null;
    this.rows = null;
    this.active = -1;
    this.#pool = [...element.querySelectorAll(".tile")].map((one) => new Tile(one)).reverse();
    element.replaceChildren();
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
    if (!anchor && !hits.isFromStart) hits.restart();
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

  /** Show another part of the list, which begins with the row of an image. */
  async jump(index) {
    const { hits } = this;
    const done = await this.#guard(hits.reach(index));
    if (!done || this.hits !== hits) return;
    this.restore({ index, offset: 0 });
    this.onChange();
    await this.#fill();
  }

  /** Return the first image in view, and where its row is, for `show` and `restore`. */
  anchor() {
    if (!this.rows?.count) return null;
    const [first] = this.rows.between(this.#top + 1, this.#top + 1);
    const row = this.rows.row(first);
    return { index: row.start, offset: row.top - this.#top };
  }

  /** Return the place of the first image below the header, 0 without images. */
  get place() {
    return this.anchor()?.index ?? 0;
  }

  /** Scroll so that an image is where it was. */
  restore({ index, offset }) {
    this.#extend();
    if (this.rows.count) this.#scrollTo(this.rows.row(this.rows.rowOf(index)).top - offset);
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
      this.rows.each(row, (index, start, width) => {
        if (start <= right && start + width >= left) found.push(index);
      });
    }
    return found;
  }

  /** Make an image the one that keys act on, and bring it into view. */
  async activate(index) {
    if (index < this.rows.from || index >= this.rows.placed) await this.#guard(this.hits.reach(index));
    this.#extend();
    const last = this.active;
    if (!this.rows.count) return;
    this.active = Math.max(this.rows.from, Math.min(index, this.rows.placed - 1));
    this.#tiles.get(last)?.element.classList.remove("active");
    this.#bringIntoView(this.rows.row(this.rows.rowOf(this.active)));
    this.#render();
    this.#tiles.get(this.active)?.element.classList.add("active");
    this.element.setAttribute("aria-activedescendant", `tile-${this.active}`);
  }

  /** Return the image one or more rows below (or, below zero, above) another. */
  rowsFrom(index, step) {
    const number = this.rows.rowOf(index);
    const wanted = Math.max(this.rows.first, Math.min(this.rows.end - 1, number + step));
    if (wanted === number) return step > 0 ? this.rows.placed : Math.max(0, this.rows.from - 1);
    let center = 0;
    this.rows.each(this.rows.row(number), (one, left, width) => {
      if (one === index) center = left + width / 2;
    });
    return this.rows.nearest(this.rows.row(wanted), center);
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
    this.rows = new Rows({ aspects: this.hits.aspects, width: this.#width, target: size, gap: GAP, isSquare });
    this.rows.extend(this.hits.isComplete);
    this.#base = this.#least;
    this.#resize();
  }

  /** Place what was loaded since the last time; all of it, if the list began again elsewhere. */
  #extend() {
    if (this.rows.aspects !== this.hits.aspects) {
      this.#clear();
      this.#arrange();
      return;
    }
    this.rows.extend(this.hits.isComplete);
    this.#resize();
  }

  /** The place of the list at which the grid may begin: there is some room above what is loaded, unless nothing comes before it. */
  get #least() {
    return this.rows.from === 0 ? this.rows.top : this.rows.top - ROOM * innerHeight;
  }

  #resized() {
    // Behind an image, the page has no scroll bar: that makes the grid wider for the time.
    if (document.documentElement.classList.contains("viewing")) return;
    if (this.hits && this.element.clientWidth && this.element.clientWidth !== this.#width) this.arrange();
  }

  #resize() {
    const height = Math.min(WINDOW, this.rows.bottom - this.#base + (this.hits.isComplete ? 0 : innerHeight));
    this.element.style.height = `${height}px`;
  }

  #scrollTo(top) {
    const isFar = top - this.#least > WINDOW * 0.75;
    const base = isFar ? Math.floor(top / (WINDOW / 2)) * (WINDOW / 2) - WINDOW / 4 : this.#least;
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
    const before = this.#base - this.#least;
    let by = 0;
    if (before < 0) by = -before;  // the first image was loaded: nothing comes in the room above it
    else if (y > WINDOW * 0.75 && this.rows.bottom - this.#base > WINDOW) by = WINDOW / 2;
    else if (y < (this.rows.from === 0 ? WINDOW * 0.25 : (ROOM / 2) * innerHeight)) by = -Math.min(before, WINDOW / 2);
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
      this.rows.each(row, (index, left, width) => {
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
    const top = this.#lastTop - this.#base;
    for (const tile of this.#tiles.values()) tile.load(tile.top < top + innerHeight && tile.top + tile.height > top);
  }

  #drop(index, tile) {
    tile.clear();
    this.#tiles.delete(index);
    if (this.#pool.length < POOL) this.#pool.push(tile);
  }

  #clear() {
    for (const [index, tile] of this.#tiles) this.#drop(index, tile);
  }

  /** Load pages until the grid reaches beyond the window on both sides. */
  #fill() {
    this.#filling ??= this.#fillOnce().finally(() => {
      this.#filling = null;
    });
    return this.#filling;
  }

  async #fillOnce() {
    const hits = this.hits;
    while (this.hits === hits) {
      const isShortBelow = !hits.isComplete && this.#top + innerHeight * AHEAD > this.rows.bottom;
      const isShortAbove = !hits.isFromStart && this.#top - innerHeight * AHEAD < this.rows.top;
      if (!isShortBelow && !isShortAbove) break;
      if (!(await this.#guard(isShortBelow ? hits.more() : hits.earlier()))) break;
      if (this.hits !== hits) break;
      this.#extend();
      this.#move();
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

function raise(error) {
  throw error;
}
