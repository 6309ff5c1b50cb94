// The selected images, by id.

export const MOST = 10_000;

const chosen = new Set();
const listeners = new Set();

export const onSelection = (listener) => listeners.add(listener);
export const selected = () => [...chosen];
export const selectedCount = () => chosen.size;
export const isSelected = (imageId) => chosen.has(imageId);

/** Select images, or take them out. At most `MOST` are selected: a request names no more. */
export function select(imageIds, isIn = true) {
  for (const imageId of imageIds) {
    if (!isIn) chosen.delete(imageId);
    else if (chosen.size < MOST) chosen.add(imageId);
  }
  tell();
}

/** Select exactly some images. */
export function selectOnly(imageIds) {
  chosen.clear();
  select(imageIds);
}

export function clearSelection() {
  if (!chosen.size) return;
  chosen.clear();
  tell();
}

function tell() {
  for (const listener of listeners) listener(chosen.size);
}
