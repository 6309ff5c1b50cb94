// The start of the page: it shows the images that came with the document, and then loads everything else.

import { byId } from "./dom.js";
import { keepEarly } from "./early.js";
import { Grid } from "./grid.js";
import { Hits } from "./hits.js";
import { historyEntry, state } from "./state.js";

/** Where one was in the list of each entry of the history. */
export const anchors = new Map(JSON.parse(sessionStorage.getItem("anchors") ?? "[]"));
export const grid = new Grid(byId("grid"));

const repeatEarly = keepEarly();
const firstPage = byId("first-page");
if (firstPage) {
  grid.show(new Hits(state(), JSON.parse(firstPage.textContent)), anchors.get(historyEntry()));
  // The next frame shows the images; scripts that came before would delay it.
  requestAnimationFrame(() => setTimeout(loadAll));
} else loadAll();

async function loadAll() {
  try {
    await import("./page.js");
    repeatEarly();
  } catch (error) {
    byId("length").textContent = "The page could not be loaded. Reload it; if that does not help, start moodex serve again.";
    console.error(error);
  }
}
