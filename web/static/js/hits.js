// The hits of one search or of the grid, in pages. Few pages are kept: a page that is needed again is asked for again.

import { get } from "./api.js";
import { filterParameters, isByLikeness, orderOf } from "./state.js";

const PAGE = 100;
const KEPT_PAGES = 24;
const MAX_ASPECT = 2.6;
const MIN_ASPECT = 0.5;

/** A place that is further away than this from what is loaded is not reached page by page: the list begins again there. */
const NEAR = 5 * PAGE;

/** A list of numbers that grows at both ends, in one block of memory: two million take 8 MB. Its indexes begin at any number. */
export class Numbers {
  #values;
  #head;

  constructor(Kind, first = 0) {
    this.#values = new Kind(1024);
    this.#head = 512;
    this.first = first;
    this.end = first;
  }

  get length() {
    return this.end - this.first;
  }

  at(index) {
    return this.#values[this.#head + index - this.first];
  }

  push(value) {
    if (this.#head + this.length === this.#values.length) this.#grow();
    this.#values[this.#head + this.length] = value;
    this.end++;
  }

  unshift(value) {
    if (this.#head === 0) this.#grow();
    this.#values[--this.#head] = value;
    this.first--;
  }

  #grow() {
    const larger = new this.#values.constructor(this.#values.length * 2);
    const head = (larger.length - this.length) >> 1;
    larger.set(this.#values.subarray(this.#head, this.#head + this.length), head);
    [this.#values, this.#head] = [larger, head];
  }
}

/**
 * The hits of a state of the page, of which one stretch is loaded. `aspects` has the width of each image in it relative to its
 * height, within bounds; it is another list after the stretch began again elsewhere.
 */
export class Hits {
  #path;
  #parameters;
  #cursors = new Map([[0, null]]);
  #pages = new Map();
  #loading = new Map();
  #changes = new Map();
  #last = Infinity;
  #stop = new AbortController();

  /** `firstPage`: the answer with the first page, if it is at hand. */
  constructor(state, firstPage = null) {
    this.#path = orderOf(state) === "newest" ? "/images" : "/search";
    this.#parameters = filterParameters(state);
    if (this.#path === "/search") Object.assign(this.#parameters, { like: state.like, query: state.query, text: state.text, dedupe: state.dedupe });
    this.isRanked = this.#path === "/search";
    this.isByLikeness = isByLikeness(state);
    this.canJump = !this.isByLikeness && !state.dedupe;
    this.aspects = new Numbers(Float32Array);
    this.isComplete = false;
    this.total = null;
    this.isTotalExact = false;
    if (firstPage) this.#take(0, firstPage);
  }

  /** The number of images up to the end of what is loaded. */
  get count() {
    return this.aspects.end;
  }

  /** Whether the first image of the list is loaded. */
  get isFromStart() {
    return this.aspects.first === 0;
  }

  /** Return a hit that is at hand; undefined for one whose page is not kept. */
  at(index) {
    const number = Math.floor(index / PAGE);
    const page = this.#pages.get(number);
    if (page === undefined) return undefined;
    this.#pages.delete(number);
    this.#pages.set(number, page);
    return page[index % PAGE];
  }

  /** Return a hit, whose page is loaded if need be; undefined before the first and after the last. */
  async reach(index) {
    const { aspects } = this;
    if (index < 0) return undefined;
    const isNear = index >= aspects.first - NEAR && index < aspects.end + NEAR;
    if (!isNear && this.canJump) await this.#beginAt(index);
    while (index >= this.count && !this.isComplete) await this.more();
    while (index < this.aspects.first) await this.earlier();
    if (index >= this.count) return undefined;
    await this.#load(Math.floor(index / PAGE));
    return this.at(index);
  }

  /** Return the place of an image among the hits that are at hand; -1 if it is not there. */
  indexOf(imageId) {
    for (const [number, page] of this.#pages) {
      const place = page.findIndex((hit) => hit.image_id === imageId);
      if (place >= 0) return number * PAGE + place;
    }
    return -1;
  }

  /** Load the page after what is loaded. */
  async more() {
    const { aspects } = this;
    if (this.isComplete) return;
    const number = aspects.end / PAGE;
    await this.#load(number);
    if (this.aspects !== aspects || aspects.end !== number * PAGE) return;
    for (const hit of this.#pages.get(number)) aspects.push(aspectOf(hit));
    this.isComplete = number >= this.#last;
    if (this.isComplete) Object.assign(this, { total: this.count, isTotalExact: true });
  }

  /** Load the page before what is loaded. */
  async earlier() {
    const { aspects } = this;
    if (this.isFromStart) return;
    const number = aspects.first / PAGE - 1;
    await this.#load(number);
    if (this.aspects !== aspects || aspects.first !== (number + 1) * PAGE) return;
    for (const hit of this.#pages.get(number).toReversed()) aspects.unshift(aspectOf(hit));
  }

  /** Load the page of a hit, if it was dropped or is elsewhere in the list. */
  need(index) {
    return this.#load(Math.floor(index / PAGE));
  }

  /** Take in what changed of an image: all its hits show it, also those that are loaded later. */
  change(imageId, facts) {
    this.#changes.set(imageId, { ...this.#changes.get(imageId), ...facts });
    for (const page of this.#pages.values()) {
      for (const hit of page) if (hit.image_id === imageId) Object.assign(hit, facts);
    }
  }

  /** Go back to the beginning of the list. */
  restart() {
    this.aspects = new Numbers(Float32Array);
    this.isComplete = false;
  }

  /** Cancel what is being loaded. */
  stop() {
    this.#stop.abort();
    this.#stop = new AbortController();
  }

  /** Let the loaded stretch begin again with the page of an image, or the last page before it. */
  async #beginAt(index) {
    if (this.total === null) await this.#load(0);
    let number = Math.min(Math.floor(index / PAGE), this.#last);
    await this.#load(number);
    // The list has become shorter.
    while (number > 0 && !this.#pages.get(number).length) await this.#load(--number);
    this.aspects = new Numbers(Float32Array, number * PAGE);
    this.isComplete = false;
    await this.more();
  }

  #load(number) {
    if (this.#pages.has(number)) return Promise.resolve();
    if (!this.#loading.has(number)) {
      const loading = this.#fetch(number).finally(() => this.#loading.delete(number));
      this.#loading.set(number, loading);
    }
    return this.#loading.get(number);
  }

  /** Load a page after the one before it, whose cursor says where it begins; or by its place, if that page is not known. */
  async #fetch(number) {
    const cursor = this.#cursors.get(number);
    const place = cursor === undefined ? { at: number * PAGE } : { cursor };
    this.#take(number, await get(this.#path, { ...this.#parameters, limit: PAGE, ...place }, this.#stop.signal));
  }

  #take(number, answer) {
    for (const hit of answer.hits) Object.assign(hit, this.#changes.get(hit.image_id));
    this.#keep(number, answer.hits);
    if (number === 0) Object.assign(this, { total: answer.total, isTotalExact: answer.exact });
    if (answer.next) this.#cursors.set(number + 1, answer.next);
    else this.#last = number;
  }

  #keep(number, page) {
    this.#pages.set(number, page);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= KEPT_PAGES) return;
      this.#pages.delete(oldest);
    }
  }
}

function aspectOf(hit) {
  const [width, height] = hit.size ?? [1, 1];
  return Math.min(MAX_ASPECT, Math.max(MIN_ASPECT, width / height || 1));
}
