// Keys: each place of the page says which ones it has.

const places = [];

/** Return the places with keys: {place, isHere, keys}. */
export const keyPlaces = () => places;

/** Add the keys of a place. `isHere` tells whether they work now. `keys`: {key, shown, does, on}; `on` returns false to pass a key on. */
export function addKeys(place, isHere, keys) {
  places.push({ place, isHere, keys });
}

const isTyping = (target) => target.closest?.("input:not([type=range],[type=checkbox]), textarea, select, [contenteditable]");

/** Return the name of a pressed key with its modifiers, such as "Ctrl+z" or "ArrowLeft". Shift is part of letters, as in "?". */
function nameOf(event) {
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const shift = event.shiftKey && event.key.length > 1 ? "Shift+" : "";
  return control + shift + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
}

/** Return whether a key moves the slider that has the focus. */
const isSliding = (target, name) => target.matches?.("input[type=range]") && /^(Arrow|Page|Home|End)/.test(name);

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || isTyping(event.target)) return;
  const name = nameOf(event);
  if (isSliding(event.target, name)) return;
  // Space and Enter press what has the focus.
  const presses = (name === " " || name === "Enter") && event.target.closest?.("button, a, summary, input, label");
  for (const { isHere, keys } of [...places].reverse()) {
    if (presses || !isHere()) continue;
    const found = keys.find((one) => [one.key].flat().includes(name));
    if (found && found.on(event) !== false) {
      event.preventDefault();
      return;
    }
  }
});
