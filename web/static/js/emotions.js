// The emotions of the library, their counts, their colors, and the keys that label with them.

import { get } from "./api.js";
import { filterParameters, state } from "./state.js";

const listeners = new Set();
let known = [];
let model = null;
let readsText = false;
let hasTags = false;
let request = null;

export const NONE = "none";
const MOST_OWN = 20;

/** Return the emotions with their counts, families together. */
export const emotions = () => known;
export const modelInUse = () => model;
export const modelReadsText = () => readsText;
export const libraryHasTags = () => hasTags;
export const onEmotions = (listener) => listeners.add(listener);

/** Return the emotions that have a key, and those own ones that most images have: users may have thousands. */
export function shortlist() {
  const withKey = known.filter((one) => keyOfEmotion(one.emotion) !== null);
  const others = known.filter((one) => one.emotion !== NONE && keyOfEmotion(one.emotion) === null);
  return [...withKey, ...others.sort((one, other) => other.count - one.count).slice(0, MOST_OWN)];
}

/** Return the emotion of a key from 1 to 0, in the order of the emotions; null without one. */
export const emotionOfKey = (key) => (/^[0-9]$/.test(key) ? (known.filter((one) => one.emotion !== NONE)[(Number(key) + 9) % 10]?.emotion ?? null) : null);

/** Return the key that labels with an emotion, or null. */
export function keyOfEmotion(emotion) {
  const place = known.filter((one) => one.emotion !== NONE).findIndex((one) => one.emotion === emotion);
  return place >= 0 && place < 10 ? String((place + 1) % 10) : null;
}

/** Count the images of each emotion under the present filters, and tell all who listen. */
export async function countEmotions() {
  request?.abort();
  request = new AbortController();
  try {
    const { emotion: _, ...others } = filterParameters(state());
    const answer = await get("/emotions", others, request.signal);
    known = inFamilies(answer.emotions);
    model = answer.model;
    readsText = answer.reads_text;
    hasTags = answer.has_tags;
    for (const listener of listeners) listener(known);
  } catch (error) {
    // The grid reports what is not found, such as a folder.
    if (error.name !== "AbortError" && error.status !== 404) throw error;
  }
}

/** Return emotions in their order, each followed by those that it includes: happy, pleased, sad, crying. */
function inFamilies(all) {
  const tops = all.filter((one) => !all.some((other) => other.emotion === one.parent));
  return tops.flatMap((top) => [top, ...all.filter((one) => one.parent === top.emotion)]);
}

/** Give an element the color of an emotion. The emotions of the model have theirs in the style sheet; others get one from their name. */
export function paint(element, emotion) {
  element.dataset.emotion = emotion;
  if (COLORED.has(emotion)) element.style.removeProperty("--hue");
  else element.style.setProperty("--hue", hueOf(emotion));
}

const COLORED = new Set(["happy", "sad", "angry", "surprise", "fear", "disgust", "neutral", "crying", "embarrassed", "pleased", NONE]);

function hueOf(word) {
  let sum = 0;
  for (const letter of word) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}

/** Return a probability as a percentage for people. */
export const percent = (probability) => (probability > 0 && probability < 0.005 ? "<1%" : `${Math.round(probability * 100)}%`);
