// The keys of the grid.

import { byId } from "./dom.js";
import { emotionOfKey } from "./emotions.js";
import { selectRange } from "./gestures.js";
import { addKeys } from "./keys.js";
import { hide, label, undoLabel } from "./labels.js";
import { prefer, preference } from "./preferences.js";
import { clearSelection, isSelected, select, selected, selectedCount } from "./selection.js";
import { go, state } from "./state.js";

const SIZE_STEP = 30;
const SIZES = [90, 400];
const MOST_BY_KEY = 2000;

export function addGridKeys(grid) {
  let anchor = -1;
  const isHere = () => state().view === null && !document.querySelector("dialog[open]");
  const activeHit = () => (grid.active >= 0 ? grid.hits.at(grid.active) : undefined);
  const chosen = () => (selectedCount() ? selected() : activeHit() ? [activeHit().image_id] : []);

  /** Go to another image; with shift, select all from where shift was pressed first. */
  const move = (target) => async (event) => {
    if (!grid.rows?.placed) return;
    const from = grid.active;
    byId("grid").focus({ preventScroll: true });
    await grid.activate(from < 0 ? grid.hits.indexOf(grid.hits.at(grid.anchor()?.index ?? 0)?.image_id) : target(from));
    if (!event.shiftKey) anchor = -1;
    else {
      if (anchor < 0) anchor = from;
      selectRange(grid, anchor, grid.active);
    }
  };

  const onImages = (action) => (event) => {
    const ids = chosen();
    if (!ids.length) return false;
    action(ids, event);
    return true;
  };

  const keys = (name) => [name, `Shift+${name}`];
  addKeys("Images", isHere, [
    { key: keys("ArrowLeft"), shown: "← ↑ ↓ →", does: "go from image to image; with Shift, select", on: (event) => { move((index) => index - 1)(event); } },
    { key: keys("ArrowRight"), on: (event) => { move((index) => index + 1)(event); } },
    { key: keys("ArrowUp"), on: (event) => { move((index) => grid.rowsFrom(index, -1))(event); } },
    { key: keys("ArrowDown"), on: (event) => { move((index) => grid.rowsFrom(index, 1))(event); } },
    { key: keys("PageUp"), on: (event) => grid.active < 0 ? false : void move((index) => grid.rowsFrom(index, -grid.rowsInView()))(event) },
    { key: keys("PageDown"), on: (event) => grid.active < 0 ? false : void move((index) => grid.rowsFrom(index, grid.rowsInView()))(event) },
    { key: "Home", shown: "Home", does: "go to the first image", on: (event) => { if (grid.active < 0) return false; move(() => 0)(event); return true; } },
    { key: "End", shown: "End", does: "go to the last image", on: (event) => { if (grid.active < 0 || !grid.hits.isTotalExact) return false; move(() => grid.hits.total - 1)(event); return true; } },
    { key: "Enter", does: "show the image", on: () => { const hit = activeHit(); if (!hit) return false; go({ image: hit.image_id }); return true; } },
    { key: [" ", "x"], shown: "Space", does: "select the image, or take it out", on: () => { const hit = activeHit(); if (!hit) return false; select([hit.image_id], !isSelected(hit.image_id)); return true; } },
    { key: "Ctrl+a", shown: "Ctrl A", does: "select all that are loaded", on: () => { selectRange(grid, grid.rows.from, Math.min(grid.hits.count, grid.rows.from + MOST_BY_KEY) - 1); } },
    { key: "Escape", shown: "Esc", does: "select nothing", on: () => { if (!selectedCount()) return false; clearSelection(); return true; } },
    { key: [..."1234567890"], shown: "1 … 0", does: "label the selected images, or this one", on: (event) => { const emotion = emotionOfKey(event.key); return emotion ? onImages((ids) => label(ids, emotion))(event) : false; } },
    { key: "Backspace", shown: "⌫", does: "remove their labels", on: onImages((ids) => label(ids, null)) },
    { key: ["u", "Ctrl+z"], shown: "U", does: "undo the last label", on: () => { undoLabel(); } },
    { key: "m", does: "more like this", on: () => { const hit = activeHit(); if (!hit) return false; go({ like: hit.image_id, query: null, order: null }); return true; } },
    { key: "h", does: "hide them from searches", on: onImages(async (ids) => (await hide(ids, true)) && clearSelection()) },
    { key: "d", does: "show or hide the names of emotions", on: () => { prefer("names", !preference("names")); } },
    { key: ["+", "="], shown: "+ −", does: "larger and smaller tiles", on: () => { grow(1); } },
    { key: "-", on: () => { grow(-1); } },
    { key: "f", does: "open or close the filters", on: () => { byId("panel-button").click(); } },
    { key: "o", does: "search by an image of yours", on: () => { byId("find-by-image").click(); } },
  ]);
  addKeys("Everywhere", () => !document.querySelector("dialog[open]"), [
    { key: "i", does: "images", on: () => { go({ view: null }); } },
    { key: "p", does: "map", on: () => { go({ view: "map" }); } },
    { key: "t", does: "teach", on: () => { go({ view: "teach" }); } },
    { key: "l", does: "library", on: () => { go({ view: "library" }); } },
    { key: "?", does: "show the keys", on: () => { byId("keys-button").click(); } },
  ]);
}

function grow(by) {
  prefer("size", Math.min(SIZES[1], Math.max(SIZES[0], preference("size") + by * SIZE_STEP)));
}
