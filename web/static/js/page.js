// The page: it brings the parts together.

import { get } from "./api.js";
import { showBrand } from "./brand.js";
import { onChanges } from "./changes.js";
import { showChips } from "./chips.js";
import { byId } from "./dom.js";
import { countEmotions } from "./emotions.js";
import { addGestures } from "./gestures.js";
import { addGridKeys } from "./grid-keys.js";
import { showHeader } from "./header.js";
import { Hits } from "./hits.js";
import { addJump } from "./jump.js";
import { onLabels } from "./labels.js";
import { anchors, grid } from "./main.js";
import { lateParts } from "./parts.js";
import { takeImages } from "./picture.js";
import { onPreference, preference } from "./preferences.js";
import { isSelected, onSelection } from "./selection.js";
import { cleared, countPanelFilters, filterKey, go, historyEntry, isByLikeness, parse, state, subscribe } from "./state.js";
import { attempt, report } from "./toast.js";
import { takeWords } from "./words.js";

const KEPT_LISTS = 6;

const lists = new Map();
let shownEntry = historyEntry();
let listed = null;

const header = showHeader();
const showJump = addJump(grid);
let viewer = null;

Object.assign(grid, { onChange: showLength, onProblem: onGridProblem, isSelected });

const { part, allParts } = lateParts({
  collect: async () => (await import("./collect.js")).showSelectionBar(),
  empty: () => import("./empty.js"),
  faces: async () => (await import("./faces.js")).showFacesOnHover(grid),
  keys: () => import("./key-list.js"),
  library: async () => new (await import("./library.js")).Library(),
  map: async () => new (await import("./map.js")).MapView(),
  panel: async () => (await import("./panel.js")).showPanel(),
  subject: async () => (await import("./subject.js")).showSubject(),
  teach: async () => new (await import("./teach.js")).Teach(),
  viewer: async () => {
    const { Viewer } = await import("./viewer.js");
    viewer = new Viewer(() => grid.hits);
  },
});

addGestures(grid, (index) => {
  const hit = grid.hits.at(index);
  if (hit) go({ image: hit.image_id });
});
addGridKeys(grid);
showBrand();
showChips(byId("chips"), byId("chips-lead"));
takeImages();
takeWords();
byId("grid").addEventListener("pointerover", () => part("faces"), { once: true });
byId("panel-button").addEventListener("click", async () => (await part("panel"))?.());
byId("keys-button").addEventListener("click", async () => {
  await allParts();
  (await part("keys"))?.showKeys();
});
for (const dialog of document.querySelectorAll("dialog.small-dialog")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.querySelector(".close")?.addEventListener("click", () => dialog.close());
}

subscribe((now, before) => {
  if (before.view === null && before.image === null) keepAnchor();
  showView();
  showParts();
  if (filterKey(now) !== filterKey(before)) attempt(countEmotions);
  if (filterKey(now) !== listed && now.view !== "map") showList();
  else if (before.view !== null && now.view === null) {
    grid.restore(anchors.get(historyEntry()) ?? { index: 0, offset: 0 });
  } else if (before.image && !now.image && viewer?.index >= 0) {
    // A moment later: the dialog closes first, and gives back the focus.
    queueMicrotask(() => {
      grid.activate(viewer.index);
      byId("grid").focus({ preventScroll: true });
    });
  }
  shownEntry = historyEntry();
});
onSelection((number) => {
  grid.refresh();
  if (number) part("collect");
});
onPreference((name) => {
  if (name === "size" || name === "layout") grid.arrange();
});
onLabels(async (ids, emotion) => {
  if (emotion === undefined || emotion === null) await refetch(ids);
  else for (const id of ids) for (const hits of lists.values()) hits.change(id, { label: emotion, emotion });
  grid.refresh();
});
onChanges(showAgain);
addEventListener("pagehide", () => {
  keepAnchor();
  sessionStorage.setItem("anchors", JSON.stringify([...anchors].slice(-50)));
});

showView();
keepFirstList();
showList();
showParts();
attempt(countEmotions);

function keepAnchor() {
  const anchor = grid.anchor();
  if (anchor) anchors.set(shownEntry, anchor);
}

/** Keep the list that the page began with: it has all images. */
function keepFirstList() {
  if (grid.hits) lists.set(filterKey(parse("")), grid.hits);
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
  byId("empty").hidden = true;
  if (hits === grid.hits) showLength();
  else grid.show(hits, anchors.get(historyEntry()));
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
  byId("empty").hidden = !isEmpty();
  if (isEmpty()) sayEmpty();
}

function isEmpty() {
  return grid.hits.isComplete && grid.hits.count === 0;
}

async function sayEmpty() {
  const { hits } = grid;
  (await part("empty"))?.sayEmpty(() => grid.hits === hits);
}

function onGridProblem(error) {
  if (grid.hits.count) report(error);
  else if (error.status === 404 && filterKey(state()) === filterKey({ ...state(), ...cleared() })) sayEmpty();
  else part("empty").then((empty) => empty?.sayProblem(error, () => { lists.clear(); showList(); }));
}

/** Ask again for the facts of images whose labels were removed: the prediction is shown again. */
async function refetch(ids) {
  await attempt(() => Promise.all(ids.slice(0, 200).map(async (id) => {
    const { emotion, score, emotions, label } = await get(`/images/${id}`, { model: state().model });
    for (const hits of lists.values()) hits.change(id, { emotion, score, emotions, label });
  })));
}

/** Load the parts that the address asks for, unless they are loaded. */
function showParts() {
  const { view, image } = state();
  if (view) part(view);
  if (image) part("viewer");
  if (isByLikeness(state())) part("subject");
  if (countPanelFilters(state()) || preference("panel")) part("panel");
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
