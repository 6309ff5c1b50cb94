// The page: it brings the parts together.

import { get } from "./api.js";
import { showBrand } from "./brand.js";
import { showChips } from "./chips.js";
import { prepareLinks, showSelectionBar } from "./collect.js";
import { byId } from "./dom.js";
import { countEmotions } from "./emotions.js";
import { hideEmpty, sayEmpty, sayProblem } from "./empty.js";
import { showFacesOnHover } from "./faces.js";
import { addGestures } from "./gestures.js";
import { showHeader } from "./header.js";
import { Hits } from "./hits.js";
import { showKeys } from "./keys.js";
import { onHide, onLabels } from "./labels.js";
import { Library, onRunEnd, prepareLibrary } from "./library.js";
import { MapView } from "./map.js";
import { prepareOwnEmotion } from "./own-emotion.js";
import { showPanel } from "./panel.js";
import { takeImages } from "./picture.js";
import { onPreference } from "./preferences.js";
import { isSelected, onSelection } from "./selection.js";
import { cleared, filterKey, go, historyEntry, state, subscribe } from "./state.js";
import { showSubject } from "./subject.js";
import { onTaught, Teach } from "./teach.js";
import { attempt, report } from "./toast.js";
import { Viewer } from "./viewer.js";
import { Grid } from "./grid.js";
import { addGridKeys } from "./grid-keys.js";
import { addJump } from "./jump.js";
import { takeWords } from "./words.js";

const KEPT_LISTS = 6;

const lists = new Map();
const anchors = new Map(JSON.parse(sessionStorage.getItem("anchors") ?? "[]"));
let shownEntry = historyEntry();
let listed = null;

const grid = new Grid(byId("grid"), { onChange: showLength, onProblem: onGridProblem, isSelected });
const header = showHeader();
const showJump = addJump(grid);
const viewer = new Viewer(() => grid.hits);
const library = new Library();

addGestures(grid, (index) => {
  const hit = grid.hits.at(index);
  if (hit) go({ image: hit.image_id });
});
addGridKeys(grid);
showFacesOnHover(grid);
showBrand();
showChips(byId("chips"), byId("chips-lead"));
showSubject(byId("subject"));
showSelectionBar();
prepareLinks();
prepareOwnEmotion();
prepareLibrary(library);
takeImages();
takeWords();
new Teach();
new MapView();
byId("keys-button").addEventListener("click", showKeys);
for (const dialog of document.querySelectorAll("dialog.small-dialog")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.querySelector(".close")?.addEventListener("click", () => dialog.close());
}

subscribe((now, before) => {
  if (before.view === null && before.image === null) keepAnchor();
  showView();
  if (filterKey(now) !== filterKey(before)) attempt(countEmotions);
  if (filterKey(now) !== listed && now.view !== "map") showList();
  else if (before.view !== null && now.view === null) {
    grid.restore(anchors.get(historyEntry()) ?? { index: 0, offset: 0 });
  } else if (before.image && !now.image && viewer.index >= 0) {
    grid.activate(viewer.index);
    byId("grid").focus({ preventScroll: true });
  }
  shownEntry = historyEntry();
});
onSelection(() => grid.refresh());
onPreference((name) => {
  if (name === "size" || name === "layout") grid.arrange();
});
onLabels(async (ids, emotion) => {
  if (emotion === undefined || emotion === null) await refetch(ids);
  else for (const id of ids) for (const hits of lists.values()) hits.change(id, { label: emotion, emotion });
  grid.refresh();
});
for (const onEnd of [onTaught, onRunEnd, onHide]) onEnd(showAgain);
addEventListener("pagehide", () => {
  keepAnchor();
  sessionStorage.setItem("anchors", JSON.stringify([...anchors].slice(-50)));
});

showView();
showList();
attempt(countEmotions);
attempt(showPanel);

function keepAnchor() {
  const anchor = grid.anchor();
  if (anchor) anchors.set(shownEntry, anchor);
}

/** Show the images that the address asks for. A list that was shown before is shown again as it was. */
function showList() {
  const key = filterKey(state());
  listed = key;
  const hits = lists.get(key) ?? new Hits(state());
  lists.delete(key);
  lists.set(key, hits);
  for (const oldest of lists.keys()) {
    if (lists.size <= KEPT_LISTS) break;
    lists.delete(oldest);
  }
  hideEmpty();
  grid.show(hits, anchors.get(historyEntry()));
}

/** Ask for all images again: others may be in the list, or in another order. The grid stays where it is. */
function showAgain() {
  keepAnchor();
  lists.clear();
  showList();
  attempt(countEmotions);
}

function showLength() {
  header.showLength(grid.hits);
  showJump();
  viewer?.locate();
  if (grid.hits.isComplete && grid.hits.count === 0) sayEmpty();
  else hideEmpty();
}

function onGridProblem(error) {
  if (grid.hits.count) report(error);
  else if (error.status === 404 && filterKey(state()) === filterKey({ ...state(), ...cleared() })) sayEmpty();
  else sayProblem(error, () => { lists.clear(); showList(); });
}

/** Ask again for the facts of images whose labels were removed: the prediction is shown again. */
async function refetch(ids) {
  await attempt(() => Promise.all(ids.slice(0, 200).map(async (id) => {
    const { emotion, score, emotions, label } = await get(`/images/${id}`, { model: state().model });
    for (const hits of lists.values()) hits.change(id, { emotion, score, emotions, label });
  })));
}

function showView() {
  const view = state().view ?? "images";
  for (const section of document.querySelectorAll("[data-view]")) section.hidden = !section.dataset.view.split(" ").includes(view);
  for (const link of document.querySelectorAll("[data-view-link]")) {
    if (link.dataset.viewLink === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.documentElement.dataset.shown = view;
  const names = { images: "moodex", map: "Map · moodex", teach: "Teach · moodex", library: "Library · moodex" };
  const wanted = [state().text, ...state().emotion].filter(Boolean);
  document.title = view === "images" && wanted.length ? `${wanted.join(", ")} · moodex` : (names[view] ?? "moodex");
}
