// Tells the parts of the page when any image may differ: after a run, after a teaching, and after images were hidden.

const listeners = new Set();

/** Call a function after each such change. */
export const onChanges = (listener) => listeners.add(listener);

/** Tell all who listen. */
export function tellChanges() {
  for (const listener of listeners) listener();
}
