// Search by words: the field above the grid, for models that read text.

import { byId } from "./dom.js";
import { modelReadsText, onEmotions } from "./emotions.js";
import { go, state, subscribe } from "./state.js";

/** Let the field follow the address, and the address follow the field. */
export function takeWords() {
  const form = byId("words-form");
  const field = byId("words");
  const search = () => {
    const text = field.value.trim() || null;
    if (text !== state().text) go({ text, view: null, image: null, order: null });
  };
  const draw = () => {
    form.hidden = !modelReadsText() && !state().text;
    if (document.activeElement !== field) field.value = state().text ?? "";
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
    field.blur();
  });
  // The cross of the field, which empties it.
  field.addEventListener("input", () => field.value || search());
  onEmotions(draw);
  subscribe(draw);
  draw();
}
