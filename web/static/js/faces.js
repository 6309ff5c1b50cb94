// Boxes around faces, over an image.

import { get } from "./api.js";
import { el } from "./dom.js";
import { paint, percent } from "./emotions.js";
import { state } from "./state.js";
import { focusOf } from "./tile.js";

const WAIT_MS = 120;
const KEPT = 200;

/** Return boxes for faces: elements whose edges are percentages of the image. */
export function boxes(faces, size) {
  return faces.filter((face) => face.box).map((face) => {
    const [left, top, right, bottom] = face.box;
    const box = el("span", { class: "face" }, el("span", { class: "face-name", text: face.label ? `${face.label} ✓` : `${face.emotion} ${percent(face.score)}` }));
    Object.assign(box.style, {
      left: `${(left / size[0]) * 100}%`,
      top: `${(top / size[1]) * 100}%`,
      width: `${((right - left) / size[0]) * 100}%`,
      height: `${((bottom - top) / size[1]) * 100}%`,
    });
    paint(box, face.emotion);
    return box;
  });
}

/** Show the faces of the tile under the mouse. */
export function showFacesOnHover(grid) {
  const known = new Map();
  let waiting = 0;
  let over = null;
  grid.element.addEventListener("pointerover", (event) => event.pointerType === "mouse" && enter(event.target));
  grid.element.addEventListener("pointerleave", clear);
  const under = grid.element.querySelector(".tile:hover");
  if (under) enter(under);

  function enter(target) {
    const tile = grid.tileOf(target);
    if (tile === over) return;
    clear();
    over = tile;
    if (!tile?.hit) return;
    const { hit } = tile;
    if (known.has(hit.image_id)) draw(tile, known.get(hit.image_id));
    else waiting = setTimeout(() => ask(tile, hit), WAIT_MS);
  }

  function clear() {
    clearTimeout(waiting);
    over?.element.querySelector(".faces")?.remove();
    over = null;
  }

  async function ask(tile, hit) {
    const facts = await get(`/images/${hit.image_id}`, { model: state().model }).catch(() => null);
    if (!facts) return;
    known.set(hit.image_id, facts.faces);
    if (known.size > KEPT) known.delete(known.keys().next().value);
    if (over === tile && tile.hit === hit) draw(tile, facts.faces);
  }
}

/** Lay boxes over a tile, which may cut its image. */
function draw(tile, faces) {
  const { width, height, hit } = tile;
  if (!hit.size) return;
  const scale = Math.max(width / hit.size[0], height / hit.size[1]);
  const [wide, high] = [hit.size[0] * scale, hit.size[1] * scale];
  const [x, y] = focusOf(hit, width, height) ?? [0.5, 0.5];
  const layer = el("span", { class: "faces", "aria-hidden": "true" }, boxes(faces, hit.size));
  Object.assign(layer.style, { width: `${wide}px`, height: `${high}px`, transform: `translate(${(width - wide) * x}px, ${(height - high) * y}px)` });
  tile.element.append(layer);
}
