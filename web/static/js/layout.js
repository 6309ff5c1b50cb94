// Where each tile of the grid is: rows of equal width, of images in their shapes or of squares.

import { Numbers } from "./hits.js";

/**
 * The rows of a grid: they are made once for each width, and grow at both ends. The first row that was made has the number 0 and
 * the place 0; rows above it have numbers and places below zero.
 */
export class Rows {
  #starts = new Numbers(Uint32Array);
  #tops = new Numbers(Float64Array);
  #heights = new Numbers(Float32Array);

  /**
   * `aspects`: the width of each image relative to its height. `isSquare`: whether all tiles are squares. `target`: the wished
   * height of a row in pixels.
   */
  constructor({ aspects, width, target, gap, isSquare }) {
    Object.assign(this, { aspects, width, target, gap, isSquare });
    this.columns = Math.max(2, Math.round((width + gap) / (target + gap)));
    this.top = 0;
    this.bottom = 0;
    this.from = aspects.first;
    this.placed = aspects.first;
  }

  get count() {
    return this.#starts.length;
  }

  get first() {
    return this.#starts.first;
  }

  get end() {
    return this.#starts.end;
  }

  /** Place the images that are not placed yet. The last row stays open until the list is `complete`, the first one until image 0. */
  extend(complete) {
    this.#extendDown(complete);
    this.#extendUp();
  }

  /** Return the rows that a range of heights touches, as [first, one past the last]. */
  between(top, bottom) {
    return [Math.max(this.first, lastAtMost(this.#tops, top)), this.count && Math.min(this.end, lastAtMost(this.#tops, bottom) + 1)];
  }

  /** Return a row: its place from the top, its height, and the images in it, as [first, one past the last]. */
  row(number) {
    const end = number + 1 < this.end ? this.#starts.at(number + 1) : this.placed;
    return { top: this.#tops.at(number), height: this.#heights.at(number), start: this.#starts.at(number), end };
  }

  /** Return the row that holds an image; the first or the last one for images outside. */
  rowOf(index) {
    return Math.max(this.first, lastAtMost(this.#starts, index));
  }

  /** Call a function with the index, left edge and width of each image of a row. */
  each(row, visit) {
    let left = 0;
    for (let index = row.start; index < row.end; index++) {
      const width = row.height * this.#aspect(index);
      visit(index, left, width);
      left += width + this.gap;
    }
  }

  /** Return the image of a row that is nearest to a horizontal place. */
  nearest(row, x) {
    let found = row.start;
    let distance = Infinity;
    this.each(row, (index, left, width) => {
      const away = Math.abs(left + width / 2 - x);
      if (away < distance) [found, distance] = [index, away];
    });
    return found;
  }

  #extendDown(complete) {
    let start = this.placed;
    let sum = 0;
    for (let index = start; index < this.aspects.end; index++) {
      sum += this.#aspect(index);
      const height = this.#heightOfFull(index - start + 1, sum);
      if (height === null) continue;
      this.#addBelow(start, height);
      start = index + 1;
      sum = 0;
    }
    if (complete && start < this.aspects.end) {
      this.#addBelow(start, this.#heightOfPart());
      start = this.aspects.end;
    }
    this.placed = start;
  }

  #extendUp() {
    let end = this.from;
    let sum = 0;
    for (let index = end - 1; index >= this.aspects.first; index--) {
      sum += this.#aspect(index);
      const height = this.#heightOfFull(end - index, sum);
      if (height === null) continue;
      this.#addAbove(index, height);
      end = index;
      sum = 0;
    }
    if (this.aspects.first === 0 && end > 0) {
      this.#addAbove(0, this.#heightOfPart());
      end = 0;
    }
    this.from = end;
  }

  #aspect(index) {
    return this.isSquare ? 1 : this.aspects.at(index);
  }

  /** Return the height of a row of some images, whose aspects have a sum; null if there is room for more. */
  #heightOfFull(number, sum) {
    const height = (this.width - this.gap * (number - 1)) / sum;
    const isFull = this.isSquare ? number >= this.columns : height <= this.target || (number >= 2 && height <= this.target * 1.12);
    return isFull ? height : null;
  }

  #heightOfPart() {
    return this.isSquare ? (this.width - this.gap * (this.columns - 1)) / this.columns : this.target;
  }

  #addBelow(start, height) {
    this.#starts.push(start);
    this.#tops.push(this.bottom);
    this.#heights.push(height);
    this.bottom += height + this.gap;
  }

  #addAbove(start, height) {
    this.top -= height + this.gap;
    this.#starts.unshift(start);
    this.#tops.unshift(this.top);
    this.#heights.unshift(height);
  }
}

/** Return the index of the last of some rising numbers that is at most a value; one below the first without such a number. */
function lastAtMost(numbers, value) {
  let low = numbers.first - 1;
  let high = numbers.end;
  while (high - low > 1) {
    const middle = low + Math.floor((high - low) / 2);
    if (numbers.at(middle) <= value) low = middle;
    else high = middle;
  }
  return low;
}
