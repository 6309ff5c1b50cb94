// The bar of the selection: label, copy, download, export, link, hide.

import { collectionUrl, post } from "./api.js";
import { copyText } from "./copy.js";
import { button, byId, el, fill } from "./dom.js";
import { keyOfEmotion, onEmotions, paint, shortlist } from "./emotions.js";
import { hide, label } from "./labels.js";
import { askOwnEmotion } from "./own-emotion.js";
import { clearSelection, MOST, onSelection, selected, selectedCount } from "./selection.js";
import { bytes, count } from "./text.js";
import { attempt, toast } from "./toast.js";

/** Show the bar while images are selected. */
export function showSelectionBar() {
  const bar = byId("selection");
  const draw = () => {
    const number = selectedCount();
    bar.hidden = number === 0;
    document.documentElement.classList.toggle("selecting", number > 0);
    byId("selection-count").textContent = `${count(number, "image")} selected${number === MOST ? ", the most" : ""}`;
  };
  byId("selection-clear").addEventListener("click", clearSelection);
  onSelection(draw);
  onEmotions(drawLabels);
  prepareLinks();
  drawLabels();
  drawActions();
  draw();
}

function drawLabels() {
  const chips = shortlist().map((one) => {
    const key = keyOfEmotion(one.emotion);
    const chip = el(
      "button",
      { type: "button", class: "chip small", "aria-label": `Label ${one.emotion}`, on: { click: () => labelSelection(one.emotion) } },
      el("i", { class: "dot" }),
      el("span", { class: "name", text: one.emotion }),
      key && el("kbd", { text: key }),
    );
    paint(chip, one.emotion);
    return chip;
  });
  fill(byId("selection-labels"), chips, button({ icon: "plus", label: "Own emotion …", kind: "bare", on: () => askOwnEmotion(selected()) }), button({ icon: "undo", label: "Remove labels", kind: "bare", on: () => labelSelection(null) }));
}

/** Label the selected images. */
const labelSelection = (emotion) => label(selected(), emotion);

function drawActions() {
  fill(
    byId("selection-actions"),
    button({ icon: "copy", text: "Copy paths", on: copyPaths }),
    button({ icon: "download", text: "Zip", on: () => download("zip") }),
    button({ text: "CSV", on: () => download("csv") }),
    button({ text: "JSON", on: () => download("json") }),
    button({ icon: "link", text: "Folder of links", on: askLinks }),
    button({ icon: "hide", text: "Hide", on: hideSelection }),
  );
}

const collect = () => attempt(() => post("/collections", { image_ids: selected() }));

async function copyPaths() {
  const collection = await collect();
  if (!collection) return;
  const done = await attempt(async () => {
    const answer = await fetch(collectionUrl(collection.id, "paths"));
    await copyText((await answer.text()).trimEnd());
    return true;
  });
  if (done) toast(`Copied ${count(collection.images, "path")}.`);
}

async function download(form) {
  const collection = await collect();
  if (!collection) return;
  const link = el("a", { href: collectionUrl(collection.id, form), download: `moodex.${form}` });
  document.body.append(link);
  link.click();
  link.remove();
  toast(form === "zip" ? `Downloads ${count(collection.images, "image")}, ${bytes(collection.bytes)}.` : `Downloads a table of ${count(collection.images, "image")}.`);
}

async function hideSelection() {
  if (await hide(selected(), true)) clearSelection();
}

function askLinks() {
  byId("links-about").textContent = `The new folder is in collections, in the folder of the library, and gets links to ${count(selectedCount(), "file")}; the files stay where they are.`;
  byId("links").showModal();
}

/** Let the dialog for the folder of links work. */
function prepareLinks() {
  const dialog = byId("links");
  byId("links-cancel").addEventListener("click", () => dialog.close());
  byId("links-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const collection = await collect();
    dialog.close();
    if (!collection) return;
    const made = await attempt(() => post(`/collections/${collection.id}/links`, { name: byId("links-name").value.trim() }));
    if (!made) return;
    const present = made.present ? ` ${count(made.present, "was", "were")} there already.` : "";
    const missing = made.missing.length ? ` ${count(made.missing.length, "file")} could not be linked.` : "";
    toast(`Wrote ${count(made.done, "link")} into ${made.folder}.${present}${missing}`, {
      action: { text: "Copy the path", on: () => attempt(() => copyText(made.folder)) },
    });
  });
}
