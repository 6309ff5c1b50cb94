// The list of all keys.

import { byId, el, fill } from "./dom.js";
import { keyPlaces } from "./keys.js";

const ORDER = ["Images", "One image", "Map", "Teach", "Everywhere"];

/** Show the list of all keys. */
export function showKeys() {
  const dialog = byId("keys");
  const sections = ORDER.map((place) => ({ place, keys: keyPlaces().filter((one) => one.place === place).flatMap((one) => one.keys) })).map(({ place, keys }) =>
    el("section", {}, el("h3", { text: place }), el("dl", {}, keys.filter((one) => one.does).map((one) =>
      el("div", {}, el("dt", {}, shownKeys(one)), el("dd", { text: one.does })),
    ))),
  );
  fill(byId("keys-list"), sections);
  if (!dialog.open) dialog.showModal();
}

const shownKeys = (one) => (one.shown ?? [one.key].flat()[0]).split(" ").map((key) => el("kbd", { text: key.length === 1 ? key.toUpperCase() : key }));
