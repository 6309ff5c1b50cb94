// The view in which the user teaches the model: images whose labels help most, labels that the model doubts, and the teaching.

import { follow, get, post, thumbnailUrl } from "./api.js";
import { tellChanges } from "./changes.js";
import { button, byId, el, fill } from "./dom.js";
import { emotionOfKey, keyOfEmotion, onEmotions, paint, percent, shortlist } from "./emotions.js";
import { addKeys } from "./keys.js";
import { label, onLabels, undoLabel } from "./labels.js";
import { askOwnEmotion } from "./own-emotion.js";
import { progress } from "./progress.js";
import { address, go, state, subscribe } from "./state.js";
import { count, fileName, listed, shown } from "./text.js";
import { attempt, load } from "./toast.js";

const SUGGESTED = 20;
const SHOWN_DOUBTS = 12;
const LARGE = 512;
const SMALL = 128;

export class Teach {
  #queue = [];
  #place = 0;
  #task = null;

  constructor() {
    subscribe((now, before) => now.view === "teach" && before.view !== "teach" && this.open());
    onLabels(() => this.#isOpen && this.#drawLabels());
    onEmotions(() => this.#isOpen && this.#drawCard());
    addKeys("Teach", () => this.#isOpen && !document.querySelector("dialog[open]"), [
      { key: [..."1234567890"], shown: "1 … 0", does: "label the suggested image, and go to the next", on: (event) => this.#key(event) },
      { key: ["s", "ArrowRight"], shown: "S", does: "skip the image", on: () => this.#skip(1) },
      { key: "ArrowLeft", shown: "←", does: "back to the image before", on: () => this.#skip(-1) },
      { key: ["u", "Ctrl+z"], shown: "U", does: "undo the last label", on: () => { this.#undo(); } },
    ]);
    if (state().view === "teach") this.open();
  }

  /** Show the view, with fresh suggestions and doubts. */
  async open() {
    const task = (await attempt(() => get("/tasks")))?.find((one) => one.state === "running" && ["teach", "undo"].includes(one.kind));
    if (task) this.#watch(task);
    else this.#drawTeach();
    await Promise.all([this.#drawLabels(), this.#loadQueue(), this.#drawDoubts()]);
  }

  get #isOpen() {
    return state().view === "teach";
  }

  // ---- suggestions

  async #loadQueue() {
    const place = byId("queue");
    fill(place, el("p", { class: "quiet", text: "Looking for the images whose labels help most …" }));
    try {
      this.#queue = await get("/suggestions", { count: SUGGESTED });
      this.#place = 0;
      this.#drawCard();
    } catch (error) {
      fill(place, el("p", { class: "quiet", text: error.message }), button({ text: "Try again", on: () => this.#loadQueue() }));
    }
  }

  #drawCard() {
    const place = byId("queue");
    const one = this.#queue[this.#place];
    if (!one) {
      const sentence = this.#queue.length
        ? "That was the last suggestion. Teach now, or ask for more."
        : "There is nothing to suggest: index some images first, or all of them have a label.";
      fill(place, el("p", { text: sentence }), button({ text: "More suggestions", on: () => this.#loadQueue() }));
      return;
    }
    const guess = el("span", { class: "seen", text: `${one.emotion} ${percent(one.score)}` });
    paint(guess, one.emotion);
    const given = one.given && el("span", { class: "seen", text: `labeled ${one.given}` });
    if (given) paint(given, one.given);
    fill(
      place,
      el(
        "div",
        { class: "card" },
        el("a", { class: "card-image", href: address({ image: one.image_id }), "aria-label": `Show ${shown(fileName(one.path))}`, on: { click: (event) => { event.preventDefault(); go({ image: one.image_id }); } } },
          el("img", { alt: "", src: thumbnailUrl(one.image_id, LARGE) })),
        el(
          "div",
          { class: "card-side" },
          el("p", { class: "ask" }, "Which emotion is it?"),
          el("p", { class: "quiet" }, "The model thinks ", guess, given && " · ", given),
          el("div", { class: "answers", role: "group", "aria-label": "Label the image" }, shortlist().map((each) => this.#answer(each.emotion, one))),
          el(
            "div",
            { class: "tools" },
            button({ text: "Skip", keys: "S", on: () => this.#skip(1) }),
            button({ icon: "undo", text: "Undo", keys: "U", on: () => this.#undo() }),
            button({ icon: "plus", text: "Own emotion …", on: async () => (await askOwnEmotion([one.image_id])) && this.#next(null) }),
          ),
          el("p", { class: "quiet", text: `Image ${this.#place + 1} of ${this.#queue.length}: ${shown(fileName(one.path))}` }),
        ),
      ),
      el("ol", { class: "strip", "aria-hidden": "true" }, this.#queue.map((each, index) => {
        const item = el("li", { class: index === this.#place ? "now" : each.given ? "done" : "" }, el("img", { alt: "", loading: "lazy", src: thumbnailUrl(each.image_id, SMALL / 2) }));
        if (each.given) paint(item, each.given);
        return item;
      })),
    );
  }

  #answer(emotion, one) {
    const key = keyOfEmotion(emotion);
    const element = button({ text: emotion, kind: `answer ${one.given === emotion ? "on" : ""}`, label: `Label it ${emotion}`, on: () => this.#label(emotion) });
    element.prepend(el("i", { class: "dot" }));
    if (key) element.append(el("kbd", { text: key }));
    paint(element, emotion);
    return element;
  }

  #key(event) {
    const emotion = emotionOfKey(event.key);
    if (!emotion || !this.#queue[this.#place]) return false;
    this.#label(emotion);
    return true;
  }

  async #label(emotion) {
    const one = this.#queue[this.#place];
    if (await label([one.image_id], emotion)) this.#next(emotion, one);
  }

  #next(emotion, one = this.#queue[this.#place]) {
    one.given = emotion ?? "your own";
    if (one === this.#queue[this.#place]) this.#place += 1;
    this.#drawCard();
  }

  #skip(by) {
    this.#place = Math.max(0, Math.min(this.#queue.length, this.#place + by));
    this.#drawCard();
  }

  async #undo() {
    await undoLabel();
    const last = this.#queue.findLastIndex((one, index) => one.given && index < Math.max(1, this.#place + 1));
    if (last >= 0) {
      this.#queue[last].given = undefined;
      this.#place = last;
    }
    this.#drawCard();
  }

  // ---- doubts

  async #drawDoubts() {
    const place = byId("doubts");
    const doubts = await load(place, () => get("/doubts", { limit: SHOWN_DOUBTS }));
    if (!doubts) return;
    if (!doubts.length) {
      fill(place, el("p", { class: "quiet", text: "The model agrees with all your labels, or you have none yet." }));
      return;
    }
    fill(place, el("ul", { class: "doubts" }, doubts.map((one) => this.#doubt(one))));
  }

  #doubt(one) {
    const item = el("li", { class: "doubt" });
    const word = (emotion, text) => {
      const span = el("span", { class: "seen", text });
      paint(span, emotion);
      return span;
    };
    item.append(
      el("a", { href: address({ image: one.image_id }), "aria-label": `Show ${shown(fileName(one.path))}`, on: { click: (event) => { event.preventDefault(); go({ image: one.image_id }); } } },
        el("img", { alt: "", src: thumbnailUrl(one.image_id, SMALL) })),
      el("p", {}, "You labeled it ", word(one.said, one.said), ". The model reads ", word(one.other, `${one.other} ${percent(one.other_score)}`), "."),
      el(
        "div",
        { class: "tools" },
        button({ text: `Keep ${one.said}`, on: () => item.remove() }),
        button({ text: `Change to ${one.other}`, on: async () => (await label([one.image_id], one.other)) && item.remove() }),
      ),
    );
    return item;
  }

  // ---- teaching

  async #drawLabels() {
    const place = byId("label-count");
    const labels = await load(place, () => get("/labels", { limit: 1 }));
    if (labels) place.textContent = labels.total ? `You have ${count(labels.total, "label")}.` : "You have no labels yet.";
  }

  #drawTeach(...result) {
    fill(
      byId("teach-now"),
      el("div", { class: "tools" }, button({ text: "Teach the model", kind: "strong", id: "teach", on: () => this.#start("/teach", { name: null }) })),
      ...result,
    );
  }

  async #start(path, body) {
    const task = await attempt(() => post(path, body));
    if (task) await this.#watch(task);
  }

  async #watch(task) {
    const words = { teach: "Teaching the model your labels …", undo: "Bringing back the model from before …" };
    const line = progress(words[task.kind]);
    fill(byId("teach-now"), line.element);
    byId("teach-now").scrollIntoView({ block: "nearest" });
    try {
      this.#tell(await follow(task, line.update));
    } catch (error) {
      this.#drawTeach(el("p", { class: "result", role: "alert", text: error.message }));
    }
  }

  #tell(task) {
    const sentences = task.state === "done" ? (task.kind === "teach" ? taught(task.result) : [`moodex uses ${task.result.model} again. Your labels are kept.`]) : [task.error];
    const canUndo = task.state === "done" && task.kind === "teach" && task.result.new && task.result.default;
    this.#drawTeach(
      el("div", { class: `result ${task.state}`, role: "status", id: "teach-result" }, sentences.map((text) => el("p", { text })), task.warnings.map((text) => el("p", { class: "quiet", text })),
        el("div", { class: "tools" },
          canUndo && button({ icon: "undo", text: "Undo the teaching", id: "undo-teach", on: () => this.#start("/teach/undo", {}) }),
          task.state === "done" && button({ text: "See your images", on: () => go({ view: null }) }))),
    );
    byId("teach-now").scrollIntoView({ block: "nearest" });
    if (task.state !== "done") return;
    tellChanges();
    this.#loadQueue();
    this.#drawDoubts();
  }
}

/** Return the result of a teaching in plain words. */
function taught(result) {
  const labels = listed(Object.entries(result.labels).map(([emotion, number]) => `${number} ${emotion}`));
  if (result.already) return [`The model has learned these labels before: ${labels}. Nothing changed.`];
  const right = (share) => `${Math.round(share * 100)} of 100`;
  const measured = `Before, it named ${right(result.before)} of your labeled images right; afterwards ${right(result.after)}. Each was left out of the teaching that was tried on it (${count(result.tested, "image")}).`;
  if (!result.new) return [`The model stays as it was: your labels, ${labels}, did not make it better.`, measured, "More labels help, most of all those of the suggestions."];
  return [
    `The model learned from your labels: ${labels}.`,
    measured,
    result.rescored ? `All ${count(result.rescored, "image")} of the library have new probabilities.` : "",
    result.default ? "" : `Another model is chosen by a setting; choose ${result.model} in the filters to use this one.`,
  ].filter(Boolean);
}
