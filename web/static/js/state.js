// What the page shows, as the address bar holds it: back, forward, reload and bookmarks work.

const LISTS = ["emotion", "not", "under", "tag", "not_tag"];
const WORDS = ["view", "at", "order", "like", "query", "text", "model", "similar_by", "image"];
const FLAGS = ["exact", "dedupe", "hidden"];
const VIEWS = ["map", "teach", "library"];

/** What chooses the images of the grid. A change of anything else keeps the grid as it is. */
const FILTERS = [...LISTS, "order", "like", "query", "text", "model", "similar_by", ...FLAGS, "min_score"];

const listeners = new Set();
let current = parse(location.search);
let entry = history.state?.entry ?? newEntry();

export const state = () => current;

/** Call a function with the new and the previous state after each change. */
export const subscribe = (listener) => listeners.add(listener);

/** Return a number that tells the entries of the history apart. */
export const historyEntry = () => entry;

/** Return the state in the query of an address. */
export function parse(text) {
  const words = new URLSearchParams(text);
  const found = { min_score: Math.min(1, Math.max(0, Number(words.get("min_score")) || 0)) };
  for (const name of LISTS) found[name] = words.getAll(name);
  for (const name of WORDS) found[name] = words.get(name) || null;
  for (const name of FLAGS) found[name] = words.get(name) === "true";
  if (!VIEWS.includes(found.view)) found.view = null;
  return found;
}

/** Return the address of the present state with some changes. */
export function address(changes = {}) {
  const next = { ...current, ...changes };
  const words = new URLSearchParams();
  for (const name of [...WORDS.filter((one) => one !== "image"), ...LISTS, ...FLAGS, "min_score", "image"]) {
    for (const one of [next[name]].flat()) if (one) words.append(name, one);
  }
  const text = words.toString();
  return text ? `/?${text}` : "/";
}

/** Return the state in which nothing is chosen; the models stay. */
export const cleared = () => ({
  emotion: [], not: [], under: [], tag: [], not_tag: [], order: null, like: null, query: null, text: null, exact: false, dedupe: false, hidden: false, min_score: 0, image: null, view: null, at: null,
});

/** Go to the present state with some changes. `replace`: without a new entry in the history. */
export function go(changes, { replace = false } = {}) {
  const next = address(changes);
  if (next === address()) return;
  if (!replace) entry = newEntry();
  history[replace ? "replaceState" : "pushState"]({ entry, inPage: !replace || Boolean(history.state?.inPage) }, "", next);
  changeTo(parse(location.search), false);
}

/** Leave the present entry: go back if it was reached from this page, or else apply some changes. */
export function leave(changes) {
  if (history.state?.inPage) history.back();
  else go(changes, { replace: true });
}

/** Return the part of a state that chooses the images of the grid, as a key. */
export const filterKey = (of) => JSON.stringify(FILTERS.map((name) => of[name]));

/** Return whether images are ordered by likeness. */
export const isByLikeness = (of) => Boolean(of.like || of.query || of.text);

/** Return how many filters of the panel are chosen. */
export function countPanelFilters(of) {
  const { under, tag, not_tag, min_score, model, exact, dedupe, hidden } = of;
  return [under.length, tag.length, not_tag.length, min_score, model, exact, dedupe, hidden].filter(Boolean).length;
}

/** Return the order of the grid: "newest" or "best". Only all images and folders are shown newest first unless the user chooses. */
export function orderOf(of) {
  if (isByLikeness(of) || of.dedupe) return "best";
  return of.order ?? (of.emotion.length ? "best" : "newest");
}

/** Return the parameters of the API that choose images. */
export function filterParameters(of) {
  const { emotion, not, under, tag, not_tag, exact, hidden, model, similar_by, min_score } = of;
  return { emotion, not, under, tag, not_tag, exact, hidden, model, similar_by, min_score: min_score || null };
}

/** Return a number for an entry that is new in this tab's history. */
function newEntry() {
  const number = (Number(sessionStorage.getItem("entries")) || 0) + 1;
  sessionStorage.setItem("entries", number);
  return number;
}

function changeTo(next, isTravel) {
  const previous = current;
  current = next;
  for (const listener of listeners) listener(current, previous, isTravel);
}

history.scrollRestoration = "manual";
history.replaceState({ ...history.state, entry }, "");
addEventListener("popstate", (event) => {
  entry = event.state?.entry ?? 0;
  changeTo(parse(location.search), true);
});
