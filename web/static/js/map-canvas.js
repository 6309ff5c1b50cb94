// Draws the points of the map where there is no WebGL: slower, with the same methods as `WebglRenderer`.

const SIDE = 65535;

export class CanvasRenderer {
  #points = null;
  #states = null;
  #colors = null;

  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  setPoints(points) {
    this.#points = points;
  }

  setStates(states) {
    this.#states = states;
  }

  setColors(colors) {
    this.#colors = colors;
  }

  draw(camera, size) {
    const { context, canvas } = this;
    const ratio = canvas.width / camera.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    if (!this.#points) return;
    for (const [state, alpha, side] of [[1, 0.25, size * 0.6], [2, 0.9, size]]) {
      context.globalAlpha = alpha;
      for (let point = 0; point < this.#points.count; point++) if (this.#states[point] === state) this.#dot(point, camera, side);
    }
  }

  #dot(point, camera, side) {
    const [left, top] = camera.toPixels(this.#points.x[point] / SIDE, this.#points.y[point] / SIDE);
    if (left < -side || top < -side || left > camera.width + side || top > camera.height + side) return;
    const place = 4 * this.#points.codes[point];
    this.context.fillStyle = `rgb(${this.#colors[place]} ${this.#colors[place + 1]} ${this.#colors[place + 2]})`;
    this.context.fillRect(left - side / 2, top - side / 2, side, side);
  }
}
