// One image, large: its faces, its probabilities, its file, and what can be done with it.

import { get, originalUrl, thumbnailUrl } from "./api.js";
import { bars } from "./bars.js";
import { copyText } from "./copy.js";
import { button, byId, el, fill } from "./dom.js";
import { emotionOfKey, onEmotions, paint, percent, shortlist } from "./emotions.js";
import { explainer } from "./explain.js";
import { boxes } from "./faces.js";
import { folderAt } from "./folders.js";
import { addKeys } from "./keys.js";
import { hide, label, onLabels, undoLabel } from "./labels.js";
import { askOwnEmotion } from "./own-emotion.js";
import { cleared, go, leave, state, subscribe } from "./state.js";
import { tagsOf } from "./tags.js";
import { count, fileName, folderOf, number, shown } from "./text.js";
import { attempt, toast } from "./toast.js";

const LARGEST = 512;
const MOST_GROWTH = 2.5;

/** An image of which less than this would be visible on its shorter side is a strip: that side gets `STRIP_PIXELS`, if it has them. */
const LEAST_PIXELS = 80;
const STRIP_PIXELS = 320;

/** Let the page show images. `list` returns the hits of the grid, whose order the arrow keys follow. */
export class Viewer {
  #dialog = byId("viewer");
  #facts = null;
  #face = 0;
  #index = -1;
  #request = null;
  #withBoxes = true;

  constructor(list) {
    this.list = list;
    subscribe((now, before) => now.image !== before.image && this.#follow());
    onLabels((ids) => this.#facts && (ids.includes(this.#facts.image_id) || !ids.length) && this.#load());
    onEmotions(() => this.#facts && this.#drawPanel());
    this.#dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    byId("viewer-close").addEventListener("click", () => this.close());
    byId("viewer-previous").addEventListener("click", () => this.step(-1));
    byId("viewer-next").addEventListener("click", () => this.step(1));
    byId("stage").addEventListener("click", (event) => event.target === event.currentTarget && this.close());
    new ResizeObserver(() => this.#fit()).observe(byId("stage"));
    this.#addSwipes();
    this.#addKeys();
    this.#follow();
  }

  get isOpen() {
    return this.#dialog.open;
  }

  /** Close the image. The address becomes that of the grid. */
  close() {
    leave({ image: null });
  }

  /** Show the next image of the grid, or (below zero) the previous one. */
  async step(by) {
    const hits = this.list();
    if (this.#index < 0 || !hits) return;
    // Known at once, so that a second key press goes on from there.
    const wanted = this.#index + by;
    const isInside = wanted >= 0 && !(hits.isComplete && wanted >= hits.count);
    if (isInside) this.#index = wanted;
    const hit = isInside && (await attempt(() => hits.reach(wanted)));
    if (hit && this.#index === wanted) go({ image: hit.image_id }, { replace: true });
    else if (!hit) toast(by > 0 ? "This is the last image." : "This is the first image.");
  }

  /** Find the place of the image in the grid again, after the grid loaded more. */
  locate() {
    if (this.#facts?.image_id !== state().image) return;
    this.#index = this.list()?.indexOf(this.#facts.image_id) ?? -1;
    const hits = this.list();
    byId("viewer-previous").hidden = this.#index < 1;
    byId("viewer-next").hidden = this.#index < 0 || (hits.isComplete && this.#index >= hits.count - 1);
    const of = hits?.isTotalExact ? ` of ${number(hits.total)}` : "";
    byId("viewer-place").textContent = this.#index < 0 ? "" : `${number(this.#index + 1)}${of}`;
  }

  /** The place of the image in the grid; -1 if it is not there. */
  get index() {
    return this.#index;
  }

  #follow() {
    if (!state().image) {
      this.#request?.abort();
      this.#facts = null;
      if (this.#dialog.open) this.#dialog.close();
      document.documentElement.classList.remove("viewing");
      return;
    }
    this.#face = 0;
    fill(byId("canvas"));
    if (!this.#dialog.open) this.#dialog.showModal();
    document.documentElement.classList.add("viewing");
    this.#load();
  }

  async #load() {
    this.#request?.abort();
    this.#request = new AbortController();
    try {
      const facts = await get(`/images/${state().image}`, { model: state().model }, this.#request.signal);
      const isOther = facts.image_id !== this.#facts?.image_id;
      this.#facts = facts;
      if (isOther || !byId("canvas").children.length) this.#drawImage();
      this.#drawPanel();
      this.locate();
    } catch (error) {
      if (error.name !== "AbortError") this.#fail(error);
    }
  }

  #fail(error) {
    this.#facts = null;
    fill(byId("canvas"));
    byId("viewer-title").textContent = "Not found";
    fill(byId("viewer-body"), el("p", { text: error.message }), button({ text: "Show all images", on: () => go(cleared(), { replace: true }) }));
  }

  #drawImage() {
    const { image_id: id, size, path } = this.#facts;
    const canvas = byId("canvas");
    const small = el("img", { class: "small", alt: "", src: thumbnailUrl(id, LARGEST) });
    const large = el("img", { class: "large", alt: shown(fileName(path)), src: originalUrl(id) });
    large.addEventListener("load", () => small.remove());
    const fail = (image) => {
      if (!image.isConnected) return; // another image is shown
      image.remove();
      if (!small.isConnected && !large.isConnected) fill(canvas, el("p", { class: "no-image", text: "The file is missing, or it has changed." }));
    };
    large.addEventListener("error", () => {
      // A format that the browser cannot show has a thumbnail.
      small.alt = shown(fileName(path));
      small.classList.add("alone");
      fail(large);
    });
    small.addEventListener("error", () => fail(small));
    fill(canvas, small, large, el("div", { class: "layer", id: "heat" }), el("div", { class: "layer", id: "face-boxes" }));
    canvas.dataset.ratio = size ? size[0] / size[1] : 1;
    canvas.dataset.width = size ? size[0] : LARGEST;
    this.#fit();
    byId("stage").scrollTo(0, 0);
  }

  /**
   * Make the image as large as the stage lets it be; a small one grows at most to `MOST_GROWTH` times its size. The stage
   * scrolls along a strip.
   */
  #fit() {
    if (!this.#facts) return; // Without an image, the size of the canvas and that of the stage would raise each other.
    const stage = byId("stage");
    const canvas = byId("canvas");
    const ratio = Number(canvas.dataset.ratio) || 1;
    const style = getComputedStyle(stage);
    const wide = stage.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const high = stage.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    const natural = Number(canvas.dataset.width) || LARGEST;
    const fitting = Math.min(wide, high * ratio, MOST_GROWTH * natural);
    const [shorter, naturalShorter] = [fitting, natural].map((one) => one / Math.max(1, ratio));
    const isStrip = shorter < LEAST_PIXELS && naturalShorter > shorter;
    const width = isStrip ? fitting * (Math.min(naturalShorter, STRIP_PIXELS) / shorter) : Math.max(40, fitting);
    stage.classList.toggle("is-strip", isStrip);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${width / ratio}px`;
  }

  #drawBoxes() {
    const { faces, size } = this.#facts;
    const layer = byId("face-boxes");
    if (!layer) return; // without an image
    const drawn = size ? boxes(faces, size) : [];
    faces.filter((face) => face.box).forEach((face, place) => {
      drawn[place].classList.toggle("chosen", faces.length > 1 && faces.indexOf(face) === this.#face);
      drawn[place].addEventListener("click", () => this.#choose(faces.indexOf(face)));
    });
    fill(layer, drawn);
    layer.hidden = !this.#withBoxes;
  }

  #choose(face) {
    this.#face = face;
    this.#drawPanel();
  }

  #drawPanel() {
    const facts = this.#facts;
    const face = facts.faces[this.#face] ?? facts.faces[0];
    const title = byId("viewer-title");
    title.textContent = shown(fileName(facts.path));
    title.title = shown(facts.path);
    const focused = this.#dialog.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    fill(byId("viewer-body"), this.#faceTabs(), this.#verdict(face), bars(face, facts.label, (emotion) => label([facts.image_id], emotion)), this.#labelTools(), this.#likeTools(), tagsOf(facts.tags), explainer(facts, face.emotion, byId("heat")), this.#fileTools());
    if (focused) this.#dialog.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
    this.#drawBoxes();
  }

  #faceTabs() {
    const { faces } = this.#facts;
    if (faces.length < 2) return null;
    const tabs = faces.map((face, place) => {
      const tab = el(
        "button",
        { type: "button", class: "face-tab", "aria-pressed": String(place === this.#face), on: { click: () => this.#choose(place) } },
        el("i", { class: "dot" }),
        `Face ${place + 1}: ${face.emotion} ${percent(face.score)}`,
      );
      paint(tab, face.emotion);
      return tab;
    });
    return el("div", { class: "face-tabs", role: "group", "aria-label": "Faces" }, tabs);
  }

  #verdict(face) {
    const { label: given, incomplete, frame, hidden } = this.#facts;
    const notes = [
      !face.box && "moodex found no face and read the whole image.",
      frame > 1 && `This reading is of frame ${frame}.`,
      incomplete && "The end of the file is missing.",
      hidden && "You keep this image out of searches.",
    ].filter(Boolean);
    const word = el("strong", { class: "verdict-word", text: given ?? face.emotion });
    paint(word, given ?? face.emotion);
    const sure = given ? "by your label" : `${percent(face.score)} probable`;
    return el("div", { class: "verdict" }, el("p", {}, word, " ", el("span", { class: "quiet", text: sure })), notes.map((note) => el("p", { class: "quiet", text: note })));
  }

  #labelTools() {
    const { image_id: id, label: given } = this.#facts;
    return el(
      "div",
      { class: "tools" },
      button({ icon: "plus", text: "Own emotion …", on: () => askOwnEmotion([id]) }),
      given && button({ icon: "undo", text: "Remove the label", on: () => label([id], null) }),
    );
  }

  #likeTools() {
    const { image_id: id, emotion: present, label: given } = this.#facts;
    const others = shortlist().filter((one) => one.emotion !== (given ?? present));
    const chips = others.map((one) => {
      const chip = el(
        "button",
        { type: "button", class: "chip small", on: { click: () => this.#searchLike([one.emotion]) }, "aria-label": `More like this, but ${one.emotion}` },
        el("i", { class: "dot" }),
        el("span", { class: "name", text: one.emotion }),
      );
      paint(chip, one.emotion);
      return chip;
    });
    return el(
      "section",
      { class: "block" },
      button({ icon: "like", text: "More like this", kind: "strong wide", id: "more-like-this", on: () => this.#searchLike([]), data: { id } }),
      el("div", { class: "but", role: "group", "aria-label": "More like this, but with another emotion" }, el("span", { class: "quiet", text: "… but" }), chips),
    );
  }

  #searchLike(emotion) {
    go({ like: this.#facts.image_id, query: null, image: null, view: null, order: null, emotion, not: [] });
  }

  #fileTools() {
    const facts = this.#facts;
    const size = facts.size ? `${facts.size[0]} × ${facts.size[1]} pixels` : null;
    const files = facts.files.map((file) =>
      el("li", { class: file.exists ? "" : "missing" }, el("code", { text: shown(file.path) }), file.exists ? null : el("em", { text: " missing" })),
    );
    return el(
      "section",
      { class: "block file" },
      el("ul", { class: "paths", "aria-label": "Files" }, files),
      el("p", { class: "quiet", text: [size, facts.files.length > 1 && `${count(facts.files.length, "file")} with the same bytes`].filter(Boolean).join(" · ") }),
      el(
        "div",
        { class: "tools" },
        button({ icon: "copy", text: "Copy the path", keys: "C", on: () => this.#copyPath() }),
        button({ icon: "folder", text: "Show in folder", keys: "F", on: () => this.#showInFolder() }),
        el("a", { class: "button", href: originalUrl(facts.image_id, true), download: true }, el("span", { text: "Download" })),
        button({ icon: "hide", text: facts.hidden ? "Show in searches" : "Hide from searches", on: () => hide([facts.image_id], !facts.hidden).then(() => this.#load()) }),
      ),
    );
  }

  async #copyPath() {
    const { path } = this.#facts;
    if (await attempt(() => copyText(path).then(() => true))) toast("Copied the path.");
  }

  async #showInFolder() {
    const { path } = this.#facts;
    const found = await attempt(() => folderAt(folderOf(path)));
    if (found) go({ ...cleared(), under: [found.id] });
    else toast("This folder is not in the library any more.");
  }

  #addSwipes() {
    const stage = byId("stage");
    let start = null;
    stage.addEventListener("touchstart", (event) => {
      start = event.touches.length === 1 && !stage.classList.contains("is-strip") ? event.touches[0] : null;
    }, { passive: true });
    stage.addEventListener("touchend", (event) => {
      if (!start || visualViewport?.scale > 1.05) return;
      const [x, y] = [event.changedTouches[0].clientX - start.clientX, event.changedTouches[0].clientY - start.clientY];
      start = null;
      if (Math.abs(x) > 50 && Math.abs(x) > 2 * Math.abs(y)) this.step(x < 0 ? 1 : -1);
      else if (y > 90 && y > 2 * Math.abs(x)) this.close();
    });
  }

  #addKeys() {
    const isHere = () => this.isOpen && !document.querySelector("dialog.small-dialog[open]");
    const labelWith = (event) => {
      const emotion = emotionOfKey(event.key);
      if (!emotion || !this.#facts) return false;
      label([this.#facts.image_id], emotion);
      return true;
    };
    addKeys("One image", isHere, [
      { key: "ArrowLeft", shown: "← →", does: "previous and next image", on: () => { this.step(-1); } },
      { key: "ArrowRight", on: () => { this.step(1); } },
      { key: [..."1234567890"], shown: "1 … 0", does: "label the image", on: labelWith },
      { key: "m", does: "more like this", on: () => this.#facts && this.#searchLike([]) },
      { key: "b", does: "show or hide the boxes", on: () => { this.#withBoxes = !this.#withBoxes; this.#facts && this.#drawBoxes(); } },
      { key: "c", does: "copy the path", on: () => { this.#facts && this.#copyPath(); } },
      { key: "f", does: "show the folder", on: () => { this.#facts && this.#showInFolder(); } },
      { key: ["u", "Ctrl+z"], shown: "U", does: "undo the last label", on: () => { undoLabel(); } },
      { key: "Escape", shown: "Esc", does: "back to the grid", on: () => this.close() },
    ]);
  }
}
