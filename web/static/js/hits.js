// The hits of one search or of the grid, in pages. Few pages are kept: a page that is needed again is asked for again.

import { get } from "./api.js";
import { filterParameters, isByLikeness, orderOf } from "./state.js";

const PAGE = 100;
const KEPT_PAGES = 24;
const MAX_ASPECT = 2.6;
const MIN_ASPECT = 0.5;

/** A list of numbers in one growing block of memory: two million take 8 MB. */
export class Numbers {
  constructor(Kind) {
    this.values = new Kind(1024);
    this.length = 0;
  }

  push(value) {
    if (this.length === this.values.length) {
      const larger = new this.values.constructor(this.length * 2);
      larger.set(this.values);
      this.values = larger;
    }
    this.values[this.length++] = value;
  }
}

/** The hits of a state of the page. `aspects` has the width of each image relative to its height, within bounds. */
export class Hits {
  #path;
  #parameters;
  #cursors = [null];
  #pages = new Map();
  #loading = new Map();
  #changes = new Map();
  #stop = new AbortController();

  constructor(state) {
    this.#path = orderOf(state) === "newest" ? "/images" : "/search";
    this.#parameters = filterParameters(state);
    if (this.#path === "/search") Object.assign(this.#parameters, { like: state.like, query: state.query, dedupe: state.dedupe });
    this.isRanked = this.#path === "/search";
    this.isByLikeness = isByLikeness(state);
    this.aspects = new Numbers(Float32Array);
    this.isComplete = false;
    this.total = null;
    this.isTotalExact = false;
  }

  get count() {
    return this.aspects.length;
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

  /** Return a hit, whose page is loaded if need be; undefined at the end. */
  async reach(index) {
    while (index >= this.count && !this.isComplete) await this.more();
    if (index < 0 || index >= this.count) return undefined;
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

  /** Load the next page. */
  async more() {
    if (!this.isComplete) await this.#load(this.#cursors.length - 1);
  }

  /** Load a page that was dropped, for a hit that comes into view. */
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

  /** Cancel what is being loaded. */
  stop() {
    this.#stop.abort();
    this.#stop = new AbortController();
  }

  #load(number) {
    if (this.#pages.has(number)) return Promise.resolve();
    if (!this.#loading.has(number)) {
      const loading = this.#fetch(number).finally(() => this.#loading.delete(number));
      this.#loading.set(number, loading);
    }
    return this.#loading.get(number);
  }

  async #fetch(number) {
    const cursor = this.#cursors[number];
    const answer = await get(this.#path, { ...this.#parameters, limit: PAGE, cursor }, this.#stop.signal);
    for (const hit of answer.hits) Object.assign(hit, this.#changes.get(hit.image_id));
    this.#keep(number, answer.hits);
    if (number !== this.#cursors.length - 1) return;
    if (number === 0 && this.isRanked) Object.assign(this, { total: answer.total, isTotalExact: answer.exact });
    for (const hit of answer.hits) this.aspects.push(aspectOf(hit));
    if (answer.next) this.#cursors.push(answer.next);
    else Object.assign(this, { isComplete: true, total: this.count, isTotalExact: true });
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
