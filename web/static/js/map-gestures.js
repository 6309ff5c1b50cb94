// The mouse, the pen, fingers and keys on the map: move, enlarge, open, and select inside a line.

import { addKeys } from "./keys.js";
import { clearSelection, selectedCount } from "./selection.js";
import { state } from "./state.js";

const CLICK_PIXELS = 5;
const WHEEL_SPEED = 0.0016;
const KEY_ZOOM = 1.4;
const KEY_SHARE = 0.15;

/** Let a map react. Shift, or the tool, draws the line that selects. */
export function addMapGestures(map) {
  const { element } = map;
  const fingers = new Map();
  let line = null;
  let start = null;

  const place = (event) => {
    const edges = element.getBoundingClientRect();
    return [event.clientX - edges.left, event.clientY - edges.top];
  };

  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    map.camera.zoomBy(Math.exp(-event.deltaY * WHEEL_SPEED * (event.deltaMode ? 16 : 1)), ...place(event));
    map.changed();
  }, { passive: false });

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    start = fingers.size === 1 ? place(event) : null;
    const selects = event.shiftKey || element.classList.contains("lasso");
    line = selects && fingers.size === 1 ? [place(event)] : null;
  });

  element.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") map.hover(...now);
      return;
    }
    if (line) {
      line.push(now);
      drawLine(line);
    } else if (fingers.size === 2) pinch(event.pointerId, before, now);
    else {
      map.camera.pan(now[0] - before[0], now[1] - before[1]);
      map.changed();
    }
    fingers.set(event.pointerId, now);
    if (start && Math.hypot(now[0] - start[0], now[1] - start[1]) > CLICK_PIXELS) start = null;
  });

  element.addEventListener("pointerup", (event) => {
    if (!fingers.delete(event.pointerId)) return;
    if (start) map.openAt(...start);
    else if (line?.length > 2) map.selectInside(line);
    end();
  });
  element.addEventListener("pointercancel", (event) => { fingers.delete(event.pointerId); end(); });
  element.addEventListener("pointerleave", () => map.hover(-1e6, -1e6));

  function end() {
    line = start = null;
    drawLine([]);
  }

  /** Move and enlarge the map so that both fingers stay on their places. */
  function pinch(moved, before, now) {
    const [, other] = [...fingers].find(([finger]) => finger !== moved);
    const distance = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
    map.camera.zoomBy(distance(now) / distance(before), ...other);
    map.changed();
  }

  function drawLine(points) {
    element.querySelector("polygon").setAttribute("points", points.map((one) => one.join(",")).join(" "));
  }

  const move = (right, down) => () => {
    map.camera.pan(right * KEY_SHARE * map.camera.width, down * KEY_SHARE * map.camera.height);
    map.changed();
  };
  const zoom = (factor) => () => { map.camera.zoomBy(factor); map.changed(); };
  const isHere = () => state().view === "map" && !document.querySelector("dialog[open]");
  addKeys("Map", () => isHere() && document.activeElement === element, [
    { key: "ArrowLeft", shown: "← ↑ ↓ →", does: "move the map, when it has the focus", on: move(1, 0) },
    { key: "ArrowRight", on: move(-1, 0) },
    { key: "ArrowUp", on: move(0, 1) },
    { key: "ArrowDown", on: move(0, -1) },
  ]);
  addKeys("Map", isHere, [
    { key: ["+", "="], shown: "+ −", does: "enlarge and reduce the map", on: zoom(KEY_ZOOM) },
    { key: "-", on: zoom(1 / KEY_ZOOM) },
    { key: "0", does: "show the whole map", on: () => { map.camera.reset(); map.changed(); } },
    { key: "Escape", shown: "Esc", does: "select nothing", on: () => { if (!selectedCount()) return false; clearSelection(); return true; } },
  ]);
}
