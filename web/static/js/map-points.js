// The points of the map: their places, emotions and matches, and which ones are near a place or inside an area.

const SIDE = 65535;
const CELLS = 256;
const SHIFT = 8;

export class Points {
  #starts;
  #order;

  /** `bytes` is the answer of `/map/points`. */
  constructor(bytes) {
    const length = new DataView(bytes).getUint32(0, true);
    this.facts = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
    const { points: count } = this.facts;
    this.count = count;
    this.x = new Uint16Array(bytes, 4 + length, count);
    this.y = new Uint16Array(bytes, 4 + length + 2 * count, count);
    this.codes = new Uint8Array(bytes, 4 + length + 4 * count, count);
    this.matches = null;
    this.#sort();
  }

  /** Set which points the filters find, as the bits of `/map/matches`; null: all. */
  setMatches(bits) {
    this.matches = bits;
  }

  /** Return the name of the emotion of a point. */
  emotion(point) {
    return this.facts.emotions[this.codes[point]] ?? "another emotion";
  }

  isShown(point) {
    return this.codes[point] !== this.facts.none;
  }

  isFound(point) {
    return this.isShown(point) && (!this.matches || Boolean(this.matches[point >> 3] & (1 << (point & 7))));
  }

  /** Return the nearest found point to a place, at most some distance away; -1 without one. */
  nearest(x, y, distance) {
    let found = -1;
    let least = distance;
    this.#each(x - distance, y - distance, x + distance, y + distance, (point) => {
      const away = Math.hypot(this.x[point] / SIDE - x, this.y[point] / SIDE - y);
      if (away <= least && this.isFound(point)) [found, least] = [point, away];
    });
    return found;
  }

  /** Return the found points between some edges, at most `most` of them, evenly taken, and the number of all. */
  between([left, bottom, right, top], most) {
    let number = 0;
    const isInside = (point) => this.isFound(point) && inside(this.x[point], left, right) && inside(this.y[point], bottom, top);
    this.#each(left, bottom, right, top, (point) => { if (isInside(point)) number++; });
    const step = Math.max(1, Math.ceil(number / most));
    const points = [];
    let seen = 0;
    this.#each(left, bottom, right, top, (point) => { if (isInside(point) && seen++ % step === 0) points.push(point); });
    return { points, number };
  }

  /** Return the found points inside a closed line of places, at most `most` of them. */
  enclosed(line, most) {
    const xs = line.map(([x]) => x);
    const ys = line.map(([, y]) => y);
    const points = [];
    this.#each(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), (point) => {
      if (points.length < most && this.isFound(point) && isEnclosed(line, this.x[point] / SIDE, this.y[point] / SIDE)) points.push(point);
    });
    return points;
  }

  /** Sort the points into a grid of cells, by counting. */
  #sort() {
    const { count, x, y } = this;
    const starts = new Uint32Array(CELLS * CELLS + 1);
    const cellOf = (point) => (y[point] >> SHIFT) * CELLS + (x[point] >> SHIFT);
    for (let point = 0; point < count; point++) starts[cellOf(point) + 1]++;
    for (let cell = 0; cell < CELLS * CELLS; cell++) starts[cell + 1] += starts[cell];
    const next = starts.slice();
    const order = new Uint32Array(count);
    for (let point = 0; point < count; point++) order[next[cellOf(point)]++] = point;
    this.#starts = starts;
    this.#order = order;
  }

  /** Call a function with each point of the cells that an area touches. */
  #each(left, bottom, right, top, visit) {
    const cell = (place) => Math.min(CELLS - 1, Math.max(0, Math.floor((place * SIDE) / CELLS)));
    for (let row = cell(bottom); row <= cell(top); row++) {
      const end = this.#starts[row * CELLS + cell(right) + 1];
      for (let place = this.#starts[row * CELLS + cell(left)]; place < end; place++) visit(this.#order[place]);
    }
  }
}

const inside = (place, low, high) => place >= low * SIDE && place <= high * SIDE;

/** Return whether a place is inside a closed line: a ray from it crosses the line an odd number of times. */
function isEnclosed(line, x, y) {
  let isIn = false;
  for (let here = 0, before = line.length - 1; here < line.length; before = here++) {
    const [x1, y1] = line[here];
    const [x2, y2] = line[before];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) isIn = !isIn;
  }
  return isIn;
}
