// The tree of folders. Folders are asked for when their parent is opened.

import { get } from "./api.js";
import { button, el, fill } from "./dom.js";
import { go, state, subscribe } from "./state.js";
import { number, shown } from "./text.js";
import { attempt } from "./toast.js";

const open = new Set();
const known = new Map();

/** Fill an element with the tree, and keep it up to date. */
export function showFolders(element) {
  subscribe((now, before) => now.under.join() !== before.under.join() && reveal(element));
  return reveal(element);
}

/** Return a folder that was loaded, or undefined. */
export const folder = (id) => known.get(id);

/** Return the folder at a path, or above it, as deep as there is one; undefined if no root holds the path. */
export async function folderAt(path) {
  let found;
  let level = (await get("/folders")).folders;
  for (;;) {
    const next = level.find((one) => path === one.path || path.startsWith(one.path.endsWith("/") ? one.path : `${one.path}/`));
    if (!next) return found;
    found = next;
    if (!next.folders) return found;
    level = (await get("/folders", { parent: next.id })).folders;
  }
}

async function reveal(element) {
  const roots = await attempt(() => get("/folders"));
  if (!roots) return;
  for (const id of state().under) {
    const way = await get("/folders", { parent: id }).catch(() => null);
    for (const one of way?.path ?? []) {
      known.set(one.id, one);
      if (one.id !== id) open.add(one.id);
    }
  }
  fill(element, await branch(roots.folders));
}

async function branch(folders) {
  const items = folders.map(async (one) => {
    known.set(one.id, one);
    const below = open.has(one.id) ? await branch((await get("/folders", { parent: one.id })).folders) : null;
    return item(one, below);
  });
  return el("ul", { class: "tree" }, await Promise.all(items));
}

function item(one, below) {
  const isChosen = state().under.includes(one.id);
  const element = el("li", {});
  const unfold = one.folders > 0
    ? button({ icon: "chevron", kind: "bare fold", label: `Folders in ${shown(one.name)}`, "aria-expanded": String(below !== null), on: () => toggle(one, element) })
    : el("span", { class: "fold" });
  const choose = el(
    "button",
    { type: "button", class: "folder", title: shown(one.path), "aria-pressed": String(isChosen), on: { click: (event) => pick(one, event.ctrlKey || event.metaKey) } },
    el("span", { class: "name", text: shown(one.root ? one.path.split("/").slice(-2).join("/") : one.name) }),
    el("span", { class: "count", text: number(one.images) }),
  );
  element.append(el("div", { class: "line" }, unfold, choose));
  if (below) element.append(below);
  return element;
}

async function toggle(one, element) {
  if (open.delete(one.id)) element.querySelector(":scope > ul")?.remove();
  else {
    const answer = await attempt(() => get("/folders", { parent: one.id }));
    if (!answer) return;
    open.add(one.id);
    element.append(await branch(answer.folders));
  }
  element.querySelector(".fold").setAttribute("aria-expanded", String(open.has(one.id)));
}

function pick(one, adds) {
  const { under } = state();
  const rest = under.filter((id) => id !== one.id);
  if (under.includes(one.id) && (adds || under.length === 1)) go({ under: rest });
  else go({ under: adds ? [...rest, one.id] : [one.id] });
}
