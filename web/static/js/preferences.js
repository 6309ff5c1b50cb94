// How this browser likes to look at images. Nothing here chooses images: that is in the address.

const DEFAULTS = { layout: "justified", size: 190, names: true, panel: false };
const listeners = new Set();
let values = { ...DEFAULTS, ...stored() };

function stored() {
  try {
    return JSON.parse(localStorage.getItem("moodex") ?? "{}");
  } catch {
    return {};
  }
}

export const preference = (name) => values[name];
export const onPreference = (listener) => listeners.add(listener);

/** Keep a preference, and tell all who listen. */
export function prefer(name, value) {
  if (values[name] === value) return;
  values = { ...values, [name]: value };
  try {
    localStorage.setItem("moodex", JSON.stringify(values));
  } catch {
    // Without storage the preference lasts as long as the page.
  }
  for (const listener of listeners) listener(name, value);
}
