// The slider at the edge of the grid: it shows how far down the list one is, and leads to any place of it.

import { byId } from "./dom.js";
import { number } from "./text.js";

const LEAST_IMAGES = 500;
const REST_MS = 120;

/** Let the slider follow a grid and move it. Return the function that shows it again after a change of the list. */
export function addJump(grid) {
  const slider = byId("jump-slider");
  let rest = 0;
  let frame = 0;

  const describe = () => {
    const place = Number(slider.value);
    const text = `${number(place + 1)} of ${number(grid.hits.total)}`;
    slider.setAttribute("aria-valuetext", `Image ${text}`);
    byId("jump-place").textContent = text;
    byId("jump").style.setProperty("--share", place / (grid.hits.total - 1));
  };

  const draw = () => {
    const { hits } = grid;
    const isLong = Boolean(hits?.canJump && hits.isTotalExact && hits.total >= LEAST_IMAGES);
    byId("jump").hidden = !isLong;
    if (!isLong || rest) return;
    slider.max = hits.total - 1;
    slider.value = grid.place;
    describe();
  };

  slider.addEventListener("input", () => {
    describe();
    clearTimeout(rest);
    rest = setTimeout(async () => {
      await grid.jump(Number(slider.value));
      rest = 0;
    }, REST_MS);
  });
  addEventListener("scroll", () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      draw();
    });
  }, { passive: true });
  return draw;
}
