// The panel with the rarer filters: tags, folders, least probability, model, and three switches.

import { get } from "./api.js";
import { button, byId, el, fill } from "./dom.js";
import { modelInUse, onEmotions } from "./emotions.js";
import { showFolders } from "./folders.js";
import { onPreference, prefer, preference } from "./preferences.js";
import { cleared, countPanelFilters, filterKey, go, state, subscribe } from "./state.js";
import { showTagFilter } from "./tags.js";
import { count } from "./text.js";
import { attempt } from "./toast.js";

const SWITCHES = [
  ["exact", "Without sub-emotions", "sad without crying, happy without pleased"],
  ["dedupe", "Near-duplicates once", "of images that look almost the same, only the best"],
  ["hidden", "Hidden images too", "images that you keep out of searches"],
];

/** Fill the panel. Return the function that opens or closes it. */
export function showPanel() {
  const panel = byId("panel");
  const opener = byId("panel-button");
  const isNarrow = matchMedia("(max-width: 900px)");
  const setOpen = (isOpen) => {
    document.documentElement.classList.toggle("with-panel", isOpen);
    panel.hidden = !isOpen;
    opener.setAttribute("aria-expanded", String(isOpen));
  };
  const toggle = () => {
    const isOpen = panel.hidden;
    setOpen(isOpen);
    if (!isNarrow.matches) prefer("panel", isOpen);
    if (isOpen) panel.querySelector("button, input")?.focus();
  };
  byId("panel-close").addEventListener("click", toggle);
  byId("panel-done").addEventListener("click", toggle);
  // Where the panel covers the images, a press next to it closes it, and does nothing else.
  addEventListener("click", (event) => {
    if (panel.hidden || !isNarrow.matches || panel.contains(event.target) || opener.contains(event.target)) return;
    event.stopPropagation();
    event.preventDefault();
    toggle();
  }, { capture: true });
  onPreference((name, value) => name === "panel" && setOpen(value));
  setOpen(preference("panel") && !isNarrow.matches);

  showSlider();
  showSwitches();
  showTagFilter();
  byId("panel-clear").addEventListener("click", () => go(cleared()));
  const draw = () => {
    const chosen = countPanelFilters(state());
    byId("panel-count").textContent = chosen || "";
    opener.setAttribute("aria-label", chosen ? `Filters, ${count(chosen, "one is", "are")} set` : "Filters");
    byId("panel-clear").disabled = filterKey(state()) === filterKey({ ...state(), ...cleared() });
  };
  subscribe(draw);
  draw();
  attempt(() => Promise.all([showFolders(byId("folders")), showModels()]));
  return toggle;
}

function showSlider() {
  const slider = byId("min-score");
  const say = (percent) => { byId("min-score-value").textContent = percent ? `${percent}% or more` : "any"; };
  const draw = () => {
    const percent = Math.round(state().min_score * 100);
    slider.value = percent;
    say(percent);
  };
  slider.addEventListener("input", () => say(Number(slider.value)));
  slider.addEventListener("change", () => go({ min_score: Number(slider.value) / 100 }));
  subscribe(draw);
  draw();
}

function showSwitches() {
  const inputs = SWITCHES.map(([name, text, hint]) => {
    const input = el("input", { type: "checkbox", role: "switch", id: `switch-${name}`, "aria-describedby": `hint-${name}` });
    input.addEventListener("change", () => go({ [name]: input.checked }));
    byId("switches").append(
      el("label", { class: "switch", for: input.id }, input, el("span", { class: "text" }, el("span", { text }), el("small", { id: `hint-${name}`, text: hint }))),
    );
    return [name, input];
  });
  const draw = () => inputs.forEach(([name, input]) => { input.checked = state()[name]; });
  subscribe(draw);
  draw();
}

async function showModels() {
  const models = await attempt(() => get("/models"));
  if (!models) return;
  const place = byId("model");
  const draw = () => {
    if (models.length === 1) {
      fill(place, el("p", { class: "quiet", text: `${models[0].name}, the only one installed` }));
      return;
    }
    const choice = (name, label, options) => {
      const select = el("select", { "aria-label": label, on: { change: () => go({ [name]: select.value || null }) } }, options);
      select.value = state()[name] ?? "";
      return select;
    };
    const named = (one) => `${one.name}${one.default ? ", in use" : ""} (${count(one.images, "image")})`;
    const emotions = models.map((one) => el("option", { value: one.default ? "" : one.name, text: named(one) }));
    const likeness = [el("option", { value: "", text: "the same" }), ...models.map((one) => el("option", { value: one.name, text: named(one) }))];
    fill(place, choice("model", "Model of the emotions", emotions), el("h3", { text: "Alike by the model" }), choice("similar_by", "Model of the likeness", likeness));
  };
  subscribe(draw);
  onEmotions(() => modelInUse() && draw());
  draw();
}
