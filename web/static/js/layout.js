// Where each tile of the grid is: rows of equal width, of images in their shapes or of squares.

import { Numbers } from "./hits.js";

/** The rows of a grid. They are made once for each width, and grow at the end. */
export class Rows {
  #starts = new Numbers(Uint32Array);
  #tops = new Numbers(Float64Array);
  #heights = new Numbers(Float32Array);
  #placed = 0;

  /** `isSquare`: whether all tiles are squares. `target`: the wished height of a row in pixels. */
  constructor({ width, target, gap, isSquare }) {
    Object.assign(this, { width, target, gap, isSquare });
    this.columns = Math.max(2, Math.round((width + gap) / (target + gap)));
    this.height = 0;
  }

  get count() {
    return this.#starts.length;
  }

  /** Place the images that are not placed yet. The last row stays open until the list is `complete`. */
  extend(aspects, complete) {
    let start = this.#placed;
    let sum = 0;
    for (let index = start; index < aspects.length; index++) {
      sum += this.isSquare ? 1 : aspects.values[index];
      const number = index - start + 1;
      const height = (this.width - this.gap * (number - 1)) / sum;
      if (this.isSquare ? number < this.columns : height > this.target && !(number >= 2 && height <= this.target * 1.12)) continue;
      this.#add(start, height);
      start = index + 1;
      sum = 0;
    }
    if (complete && start < aspects.length) {
      const square = (this.width - this.gap * (this.columns - 1)) / this.columns;
      this.#add(start, this.isSquare ? square : this.target);
      start = aspects.length;
    }
    this.#placed = start;
  }

  /** Return the number of images that have a place. */
  get placed() {
    return this.#placed;
  }

  /** Return the rows that a range of heights touches, as [first, one past the last]. */
  between(top, bottom) {
    return [Math.max(0, this.#rowAt(top)), this.count && Math.min(this.count, this.#rowAt(bottom) + 1)];
  }

  /** Return a row: its place from the top, its height, and the images in it, as [first, one past the last]. */
  row(number) {
    const end = number + 1 < this.count ? this.#starts.values[number + 1] : this.#placed;
    return { top: this.#tops.values[number], height: this.#heights.values[number], start: this.#starts.values[number], end };
  }

  /** Return the row that holds an image. */
  rowOf(index) {
    return lastAtMost(this.#starts, index);
  }

  /** Call a function with the index, left edge and width of each image of a row. */
  each(row, aspects, visit) {
    let left = 0;
    for (let index = row.start; index < row.end; index++) {
      const width = row.height * (this.isSquare ? 1 : aspects.values[index]);
      visit(index, left, width);
      left += width + this.gap;
    }
  }

  /** Return the image of a row that is nearest to a horizontal place. */
  nearest(row, aspects, x) {
    let found = row.start;
    let distance = Infinity;
    this.each(row, aspects, (index, left, width) => {
      const away = Math.abs(left + width / 2 - x);
      if (away < distance) [found, distance] = [index, away];
    });
    return found;
  }

  #rowAt(y) {
    return lastAtMost(this.#tops, y);
  }

  #add(start, height) {
    this.#starts.push(start);
    this.#tops.push(this.height);
    this.#heights.push(height);
    this.height += height + this.gap;
  }
}

/** Return the place of the last of some rising numbers that is at most a value; -1 without one. */
function lastAtMost(numbers, value) {
  let low = -1;
  let high = numbers.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (numbers.values[middle] <= value) low = middle;
    else high = middle;
  }
  return low;
}
