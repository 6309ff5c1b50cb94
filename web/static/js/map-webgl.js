// Draws the points of the map with WebGL: a million of them in one call.

const VERTEX = `
  attribute vec2 place;
  attribute float code;
  attribute float state;
  uniform vec2 center, scale;
  uniform float size;
  uniform sampler2D colors;
  varying vec4 color;
  void main() {
    bool isShown = state > 0.5;
    bool isFound = state > 1.5;
    gl_Position = isShown ? vec4((place - center) * scale, isFound ? 0.0 : 0.5, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
    gl_PointSize = isFound ? size : max(1.0, size * 0.6);
    color = vec4(texture2D(colors, vec2((code + 0.5) / 256.0, 0.5)).rgb, isFound ? 0.9 : 0.25);
  }`;

const FRAGMENT = `
  precision mediump float;
  varying vec4 color;
  void main() {
    float away = length(gl_PointCoord - 0.5);
    if (away > 0.5) discard;
    gl_FragColor = vec4(color.rgb * color.a, color.a);
  }`;

/** Throws an Error where the browser has no WebGL. */
export class WebglRenderer {
  #gl;
  #program;
  #count = 0;
  #buffers = {};

  constructor(canvas, onRestored) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl", { antialias: false, premultipliedAlpha: true, failIfMajorPerformanceCaveat: false });
    if (!gl || !gl.getParameter(gl.MAX_VERTEX_TEXTURE_IMAGE_UNITS)) throw new Error("This browser has no WebGL.");
    this.#gl = gl;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => { this.#prepare(); onRestored(); });
    this.#prepare();
  }

  setPoints(points) {
    this.#count = points.count;
    const places = new Uint16Array(2 * points.count);
    for (let point = 0; point < points.count; point++) {
      places[2 * point] = points.x[point];
      places[2 * point + 1] = points.y[point];
    }
    this.#upload("place", places, 2, this.#gl.UNSIGNED_SHORT, true);
    this.#upload("code", points.codes, 1, this.#gl.UNSIGNED_BYTE, false);
  }

  /** `states` has 0 for a point that is not shown, 1 for one that the filters do not find, 2 for one that they find. */
  setStates(states) {
    this.#upload("state", states, 1, this.#gl.UNSIGNED_BYTE, false);
  }

  /** `colors` has red, green, blue and 255, as bytes, for each of 256 codes. They are a texture: few devices take as many uniforms. */
  setColors(colors) {
    const gl = this.#gl;
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, colors);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
  }

  draw(camera, size) {
    const gl = this.#gl;
    const ratio = this.canvas.width / camera.width;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const set = (name, ...values) => gl[`uniform${values.length}f`](gl.getUniformLocation(this.#program, name), ...values);
    set("center", camera.x, camera.y);
    set("scale", (2 * camera.scale) / camera.width, (2 * camera.scale) / camera.height);
    set("size", size * ratio);
    if (this.#count) gl.drawArrays(gl.POINTS, 0, this.#count);
  }

  #prepare() {
    const gl = this.#gl;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`WebGL cannot draw the map: ${gl.getProgramInfoLog(program)}`);
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.clearColor(0, 0, 0, 0);
    this.#program = program;
    this.#buffers = {};
  }

  #upload(name, values, width, kind, isShare) {
    const gl = this.#gl;
    this.#buffers[name] ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    const place = gl.getAttribLocation(this.#program, name);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, kind, isShare, 0, 0);
  }
}
