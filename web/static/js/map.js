// The view of the map: all faces by likeness, colored by emotion.

import { bytesOf, follow, get, post, query, thumbnailUrl } from "./api.js";
import { onChanges } from "./changes.js";
import { button, byId, el, fill } from "./dom.js";
import { paint } from "./emotions.js";
import { onLabels } from "./labels.js";
import { Camera } from "./map-camera.js";
import { CanvasRenderer } from "./map-canvas.js";
import { addMapGestures } from "./map-gestures.js";
import { MapList } from "./map-list.js";
import { Points } from "./map-points.js";
import { WebglRenderer } from "./map-webgl.js";
import { progress } from "./progress.js";
import { MOST, select } from "./selection.js";
import { filterKey, filterParameters, go, state, subscribe } from "./state.js";
import { count, date, number } from "./text.js";
import { attempt, load, toast } from "./toast.js";

const PICK_PIXELS = 10;
const KEEP_MS = 250;
const [MIN_PIXELS, MAX_PIXELS] = [2, 12];
/** Up to so many points are larger by this number of pixels; more of them, less. */
const [FEW_POINTS, FEW_PIXELS] = [200, 7];
const CANVAS_POINTS = 200_000;
const THUMBNAIL_PIXELS = 128;
const CONFLICT = 409;

export class MapView {
  #points = null;
  #renderer = null;
  #list = new MapList(byId("map-list"));
  #frame = 0;
  #keeping = 0;
  #hovered = -1;
  #loadedFor = null;
  #watching = null;
  #request = null;

  constructor() {
    this.camera = new Camera();
    this.element = byId("map-stage");
    this.canvas = byId("map-canvas");
    this.#renderer = this.#makeRenderer();
    addMapGestures(this);
    new ResizeObserver(() => this.#resize()).observe(this.element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#color());
    subscribe((now, before) => this.#follow(now, before));
    for (const onEach of [onLabels, onChanges]) onEach(() => this.#forget());
    this.#addTools();
    if (state().view === "map") this.#open();
  }

  /** Draw again, once in the next frame; the address follows when the map comes to rest. */
  changed() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
    clearTimeout(this.#keeping);
    this.#keeping = setTimeout(() => this.#keep(), KEEP_MS);
  }

  /** Return the found point under a pixel of the map; -1 without one. */
  pointAt(left, top) {
    if (!this.#points) return -1;
    const [x, y] = this.camera.toPlace(left, top);
    return this.#points.nearest(x, y, PICK_PIXELS / this.camera.scale);
  }

  /** Show the image of the point under a pixel. */
  async openAt(left, top) {
    const [image] = await this.#images([this.pointAt(left, top)]);
    if (image) go({ image: image.hit.image_id });
  }

  /** Show the thumbnail of the point under a pixel beside it. */
  async hover(left, top) {
    const point = this.pointAt(left, top);
    if (point === this.#hovered) return;
    this.#hovered = point;
    const tip = byId("map-tip");
    tip.hidden = true;
    if (point < 0) return;
    const [image] = await this.#images([point]);
    if (!image || point !== this.#hovered) return;
    const word = el("span", { class: "seen", text: this.#points.emotion(point) });
    paint(word, this.#points.emotion(point));
    fill(tip, el("img", { alt: "", src: thumbnailUrl(image.hit.image_id, THUMBNAIL_PIXELS) }), word);
    const isRight = left > this.camera.width / 2;
    tip.style.left = `${isRight ? left - 12 : left + 12}px`;
    tip.style.top = `${Math.min(top, this.camera.height - 150)}px`;
    tip.classList.toggle("before", isRight);
    tip.hidden = false;
  }

  /** Select the images inside a closed line of pixels. */
  async selectInside(line) {
    if (!this.#points) return;
    const points = this.#points.enclosed(line.map(([left, top]) => this.camera.toPlace(left, top)), MOST);
    if (!points.length) return;
    const answer = await this.#ask(() => post(this.#path("ids"), { version: this.#points.facts.version, points }));
    if (!answer) return;
    select(answer.image_ids);
    toast(`Selected ${count(answer.image_ids.length, "image")}${points.length === MOST ? ", the most" : ""}.`);
  }

  #makeRenderer() {
    try {
      return new WebglRenderer(this.canvas, () => this.#show());
    } catch {
      // A canvas that was asked for WebGL may not have another context.
      const fresh = this.canvas.cloneNode();
      this.canvas.replaceWith(fresh);
      this.canvas = fresh;
      return new CanvasRenderer(fresh);
    }
  }

  #follow(now, before) {
    if (now.view !== "map") return;
    if (before.view !== "map" || now.model !== before.model || now.hidden !== before.hidden) this.#open();
    else if (filterKey(now) !== filterKey(before)) this.#match();
    if (now.at !== this.camera.toWord()) {
      this.camera.fromWord(now.at);
      this.changed();
    }
  }

  #forget() {
    this.#loadedFor = null;
    if (state().view === "map") this.#open();
  }

  async #open() {
    this.camera.fromWord(state().at);
    const wanted = JSON.stringify([state().model, state().hidden]);
    if (wanted !== this.#loadedFor) await this.#load(wanted);
    else this.changed();
    await this.#resume();
  }

  async #load(wanted) {
    const facts = await load(byId("map-note"), () => get("/map", this.#parameters()));
    if (!facts) return;
    this.#say(facts);
    for (const id of ["map-view", "map-tools"]) byId(id).hidden = facts.version === null;
    if (facts.version === null) return;
    const bytes = await attempt(() => bytesOf("/map/points", this.#parameters()));
    if (!bytes) return;
    this.#points = new Points(bytes);
    this.#loadedFor = wanted;
    await this.#findMatches();
    this.#resize();
    this.#show();
  }

  #parameters() {
    return { model: state().model, hidden: state().hidden };
  }

  #path(what) {
    return `/map/${what}${query(this.#parameters())}`;
  }

  /** Say how old the map is, and offer to make it. */
  #say({ version, points, absent, made_at: madeAt }) {
    const make = (text, kind) => button({ icon: "run", text, kind, on: () => this.#make() });
    if (version === null) {
      fill(byId("map-note"), el("p", { text: "There is no map yet. moodex computes it from the images that are indexed; that takes minutes for a large library." }), make("Make the map", "strong"));
      return;
    }
    const slow = this.#renderer instanceof CanvasRenderer ? `This browser has no WebGL: the map is drawn more slowly${points > CANVAS_POINTS ? ", which takes seconds for as many faces" : ""}. ` : "";
    const late = absent ? `${count(absent, "face is", "faces are")} not on the map yet. ` : "";
    fill(byId("map-note"), el("p", { class: "quiet", text: `${slow}${late}${count(points, "face")}, as of ${date(madeAt)}. Similar ones are near each other.` }), make(absent ? "Update the map" : "Make it again", absent ? "strong" : ""));
  }

  async #make() {
    const task = await attempt(() => post("/map", {}));
    if (task) await this.#watch(task);
  }

  async #resume() {
    const tasks = await attempt(() => get("/tasks"));
    const task = tasks?.find((one) => one.state === "running" && one.kind === "map");
    if (task) await this.#watch(task);
  }

  async #watch(task) {
    if (this.#watching === task.id) return;
    this.#watching = task.id;
    const stop = button({ text: "Stop", on: () => attempt(() => post(`/tasks/${task.id}/stop`, {})) });
    const line = progress("Making the map …", el("div", { class: "tools" }, stop));
    fill(byId("map-now"), line.element);
    const last = await attempt(() => follow(task, line.update));
    fill(byId("map-now"), last && last.state !== "done" && el("p", { class: `result ${last.state}`, role: "alert", text: last.error }));
    this.#watching = null;
    this.#loadedFor = null;
    if (state().view === "map") await this.#open();
  }

  /** Ask which points the filters find, and dim the others. */
  async #match() {
    if (!(await this.#findMatches())) return;
    this.#renderer.setStates(this.#states());
    this.changed();
  }

  async #findMatches() {
    if (!this.#points) return false;
    this.#request?.abort();
    this.#request = new AbortController();
    const { version } = this.#points.facts;
    const bits = await this.#ask(() => bytesOf("/map/matches", { ...filterParameters(state()), version }, this.#request.signal));
    if (!bits || version !== this.#points.facts.version) return false;
    this.#points.setMatches(new Uint8Array(bits));
    return true;
  }

  #states() {
    const states = new Uint8Array(this.#points.count);
    for (let point = 0; point < states.length; point++) states[point] = this.#points.isFound(point) ? 2 : this.#points.isShown(point) ? 1 : 0;
    return states;
  }

  #show() {
    if (!this.#points) return;
    this.#renderer.setPoints(this.#points);
    this.#renderer.setStates(this.#states());
    this.#color();
  }

  /** Give each code the color that the style sheet has for its emotion. */
  #color() {
    if (!this.#points) return;
    const sample = byId("map-color");
    const colors = new Uint8Array(4 * 256).fill(255);
    const scratch = el("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    const names = [...this.#points.facts.emotions.entries(), [this.#points.facts.other, "none"]];
    for (const [code, name] of names) {
      paint(sample, name);
      scratch.fillStyle = getComputedStyle(sample).backgroundColor;
      scratch.fillRect(0, 0, 1, 1);
      colors.set(scratch.getImageData(0, 0, 1, 1).data, 4 * code);
    }
    this.#renderer.setColors(colors);
    this.changed();
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const ratio = Math.min(2, devicePixelRatio || 1);
    Object.assign(this.camera, { width, height });
    Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    this.changed();
  }

  #draw() {
    if (!this.#points || !this.element.clientWidth) return;
    const crowd = Math.sqrt(Math.min(1, FEW_POINTS / this.#points.count));
    const size = Math.min(MAX_PIXELS, MIN_PIXELS + FEW_PIXELS * crowd + Math.log2(Math.max(1, this.camera.zoom)));
    this.#renderer.draw(this.camera, size);
  }

  /** Keep what is in view in the address, and list it. */
  #keep() {
    if (state().view !== "map" || !this.#points) return;
    go({ at: this.camera.toWord() }, { replace: true });
    const { points, number: all } = this.#points.between(this.camera.edges(), this.#list.most);
    byId("map-count").textContent = `${number(all)} of ${count(this.#points.count, "face")} in view`;
    this.#list.show(all, () => this.#images(points));
  }

  async #images(points) {
    const wanted = points.filter((point) => point >= 0);
    if (!wanted.length) return [];
    const answer = await this.#ask(() => post(this.#path("images"), { version: this.#points.facts.version, points: wanted }));
    return answer?.images ?? [];
  }

  /** Send a request about the map, which is loaded again if another one was made since. Return undefined after an error. */
  #ask(request) {
    return attempt(async () => {
      try {
        return await request();
      } catch (error) {
        if (error.status !== CONFLICT) throw error;
        this.#forget();
        return undefined;
      }
    });
  }

  #addTools() {
    const zoom = (factor) => () => { this.camera.zoomBy(factor); this.changed(); };
    fill(
      byId("map-tools"),
      button({ icon: "plus", label: "Enlarge", kind: "bare", on: zoom(1.6) }),
      button({ icon: "minus", label: "Reduce", kind: "bare", on: zoom(1 / 1.6) }),
      button({ text: "Whole map", on: () => { this.camera.reset(); this.changed(); } }),
      button({ icon: "lasso", text: "Select", label: "Draw a line around faces to select their images", id: "map-lasso", "aria-pressed": "false", on: (event) => {
        const isOn = event.currentTarget.getAttribute("aria-pressed") !== "true";
        event.currentTarget.setAttribute("aria-pressed", String(isOn));
        this.element.classList.toggle("lasso", isOn);
      } }),
    );
  }
}
