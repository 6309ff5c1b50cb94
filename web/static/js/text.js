// Words for numbers, times and names.

const numbers = new Intl.NumberFormat("en");
const dates = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

export const number = (value) => numbers.format(value);

/** Return a number with its noun: "1 image", "2 images". */
export const count = (value, noun, nouns = `${noun}s`) => `${number(value)} ${value === 1 ? noun : nouns}`;

/** Return a time, in seconds since 1970, as a date. */
export const date = (seconds) => dates.format(new Date(seconds * 1000));

/** Return a length of time in words. */
export function duration(seconds) {
  if (seconds < 1) return "under a second";
  if (seconds < 90) return count(Math.round(seconds), "second");
  if (seconds < 5400) return count(Math.round(seconds / 60), "minute");
  return `${numbers.format(Math.round(seconds / 360) / 10)} hours`;
}

/** Return a size in bytes in words. */
export function bytes(value) {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  const place = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  const scaled = value / 1000 ** place;
  return `${place && scaled < 10 ? scaled.toFixed(1) : Math.round(scaled)} ${units[place]}`;
}

/** Return the name of the file at a path. */
export const fileName = (path) => path.slice(path.lastIndexOf("/") + 1) || path;

/** Return the folder of a path. */
export const folderOf = (path) => path.slice(0, Math.max(1, path.lastIndexOf("/")));

/** Return a path as it can be shown: control characters and broken letters become visible. */
export const shown = (path) => path.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]/gu, "\ufffd");

/** Return words as a list: "a", "a and b", "a, b and c". */
export const listed = (words, last = "and") =>
  words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
