// The mouse, the pen and the finger on the grid: open, select one, a range, or all in a rectangle.

import { el } from "./dom.js";
import { isSelected, MOST, select, selected, selectedCount, selectOnly } from "./selection.js";

const DRAG_PIXELS = 6;
const PRESS_MS = 450;
const EDGE_PIXELS = 48;
const EDGE_SPEED = 18;

/** Let a grid react. `open` is called with the place of an image that is to be shown. */
export function addGestures(grid, open) {
  let anchor = -1;
  let drag = null;
  let press = 0;
  let swallowClick = false;

  grid.element.addEventListener("click", (event) => {
    if (swallowClick) {
      swallowClick = false;
      return;
    }
    const tile = grid.tileOf(event.target);
    if (!tile?.hit) return;
    const isOnTick = event.clientX - tile.element.getBoundingClientRect().left < 34 && event.clientY - tile.element.getBoundingClientRect().top < 34;
    grid.activate(tile.index);
    if (event.shiftKey && anchor >= 0) selectRange(grid, anchor, tile.index);
    else if (event.ctrlKey || event.metaKey || selectedCount() || (isOnTick && matchMedia("(hover: hover)").matches)) toggle(tile);
    else open(tile.index);
    if (!event.shiftKey) anchor = tile.index;
  });

  grid.element.addEventListener("pointerdown", (event) => {
    swallowClick = false;
    if (event.button !== 0) return;
    if (event.pointerType !== "mouse") {
      const tile = grid.tileOf(event.target);
      if (tile?.hit) press = setTimeout(() => { swallowClick = true; toggle(tile); navigator.vibrate?.(10); }, PRESS_MS);
      return;
    }
    drag = { x: event.pageX, y: event.pageY, before: event.ctrlKey || event.metaKey || event.shiftKey ? selected() : [] };
  });
  for (const event of ["pointerup", "pointercancel", "pointermove"]) {
    grid.element.addEventListener(event, (moved) => {
      if (event !== "pointermove" || Math.abs(moved.movementX) + Math.abs(moved.movementY) > 4) clearTimeout(press);
    });
  }
  grid.element.addEventListener("contextmenu", (event) => swallowClick && event.preventDefault());

  addEventListener("pointermove", (event) => {
    if (!drag || event.pointerType !== "mouse") return;
    if (!drag.box) {
      if (Math.hypot(event.pageX - drag.x, event.pageY - drag.y) < DRAG_PIXELS) return;
      drag.box = el("div", { class: "rubber" });
      grid.element.append(drag.box);
      drag.scroller = setInterval(() => scrollAtEdge(drag), 16);
    }
    drag.at = event;
    stretch(grid, drag);
  });
  addEventListener("pointerup", () => {
    if (drag?.box) {
      drag.box.remove();
      clearInterval(drag.scroller);
      swallowClick = true;
      setTimeout(() => { swallowClick = false; });
    }
    drag = null;
  });
  addEventListener("scroll", () => drag?.box && stretch(grid, drag), { passive: true });

  function toggle(tile) {
    select([tile.hit.image_id], !isSelected(tile.hit.image_id));
    anchor = tile.index;
  }
}

/** Select the images from one place of the list to another. */
export async function selectRange(grid, from, to) {
  const ids = [];
  const first = Math.min(from, to);
  for (let index = first; index <= Math.max(from, to) && index < first + MOST; index++) {
    if (!grid.hits.at(index)) await grid.hits.need(index);
    const hit = grid.hits.at(index);
    if (hit) ids.push(hit.image_id);
  }
  select(ids);
}

function scrollAtEdge(drag) {
  const y = drag.at.clientY;
  if (y < EDGE_PIXELS) scrollBy(0, -EDGE_SPEED);
  else if (y > innerHeight - EDGE_PIXELS) scrollBy(0, EDGE_SPEED);
}

/** Draw the rectangle from where the drag began to where the mouse is, and select what it touches. */
function stretch(grid, drag) {
  const edges = grid.element.getBoundingClientRect();
  const [left, top] = [edges.left + scrollX, edges.top + scrollY];
  const [x, y] = [drag.at.clientX + scrollX, drag.at.clientY + scrollY];
  const box = { left: Math.min(drag.x, x) - left, top: Math.min(drag.y, y) - top, right: Math.max(drag.x, x) - left, bottom: Math.max(drag.y, y) - top };
  Object.assign(drag.box.style, { transform: `translate(${box.left}px, ${box.top}px)`, width: `${box.right - box.left}px`, height: `${box.bottom - box.top}px` });
  const inside = grid.inside(box.left, box.top, box.right, box.bottom).map((index) => grid.hits.at(index)?.image_id);
  selectOnly([...drag.before, ...inside.filter(Boolean)]);
}
