// The bar at the top: its views, the order and size of the grid. It leaves while one scrolls down.

import { byId, el, fill } from "./dom.js";
import { onPreference, prefer, preference } from "./preferences.js";
import { address, go, isByLikeness, orderOf, state, subscribe } from "./state.js";
import { count, number } from "./text.js";

const DOWN_PIXELS = 60;
const UP_PIXELS = 12;
const ORDERS = { newest: "newest first", best: "most probable first", alike: "most alike first" };

export function showHeader() {
  followScroll();
  const top = byId("top");
  new ResizeObserver(() => document.documentElement.style.setProperty("--header", `${top.offsetHeight}px`)).observe(top);
  showOrder();
  showForm();
  for (const link of document.querySelectorAll("[data-view-link]")) {
    const view = link.dataset.viewLink === "images" ? null : link.dataset.viewLink;
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go({ view, at: null, image: null });
      scrollTo(0, 0);
    });
    const draw = () => link.setAttribute("href", address({ view, at: null, image: null }));
    subscribe(draw);
    draw();
  }
  return { showLength };
}

/** Say how many images there are, and in which order. */
function showLength(hits) {
  const order = isByLikeness(state()) ? "alike" : orderOf(state());
  const length = byId("length");
  const images = hits.isTotalExact ? count(hits.total, "image") : `more than ${number(hits.total)} images`;
  if (!hits.count && !hits.isComplete) length.textContent = "";
  else if (hits.total === null) length.textContent = ORDERS[order];
  else fill(length, images, el("span", { class: "in-order", text: `, ${ORDERS[order]}` }));
  byId("panel-done").textContent = hits.total === null ? "Show the images" : `Show ${images}`;
}

function showOrder() {
  const inputs = document.querySelectorAll("input[name=order]");
  const draw = () => {
    const isFixed = isByLikeness(state()) || state().dedupe;
    for (const input of inputs) {
      input.checked = input.value === orderOf(state());
      input.disabled = isFixed;
    }
    byId("order").hidden = isFixed;
  };
  for (const input of inputs) input.addEventListener("change", () => go({ order: input.value }));
  subscribe(draw);
  draw();
}

function showForm() {
  const size = byId("size");
  const square = byId("square");
  const names = byId("names");
  const draw = () => {
    size.value = preference("size");
    square.setAttribute("aria-pressed", String(preference("layout") === "square"));
    names.setAttribute("aria-pressed", String(preference("names")));
    document.documentElement.classList.toggle("with-names", preference("names"));
  };
  size.addEventListener("input", () => prefer("size", Number(size.value)));
  square.addEventListener("click", () => prefer("layout", preference("layout") === "square" ? "justified" : "square"));
  names.addEventListener("click", () => prefer("names", !preference("names")));
  onPreference(draw);
  draw();
}

function followScroll() {
  const classes = document.documentElement.classList;
  let turn = scrollY;
  let isDown = false;
  addEventListener("scroll", () => {
    const wasDown = isDown;
    if (scrollY > turn ? !isDown : isDown) {
      if (Math.abs(scrollY - turn) > (isDown ? UP_PIXELS : DOWN_PIXELS)) [isDown, turn] = [!isDown, scrollY];
    } else turn = scrollY;
    if (scrollY < DOWN_PIXELS) isDown = false;
    if (isDown !== wasDown) classes.toggle("scrolled-down", isDown && !byId("top").contains(document.activeElement));
  }, { passive: true });
}
