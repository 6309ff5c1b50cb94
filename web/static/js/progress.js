// The progress of a task: a bar and a sentence.

import { el } from "./dom.js";
import { count, duration, number } from "./text.js";

const SCREEN_READER_MS = 5000;

/** Return a line for a task: its element, and `update`, which takes each state of the task. */
export function progress(title, extra) {
  const bar = el("progress", { "aria-label": title });
  const words = el("p", { class: "quiet" });
  const spoken = el("p", { class: "unseen", role: "status" });
  let saidAt = 0;
  const update = (task) => {
    if (task.total) {
      bar.max = task.total;
      bar.value = task.done;
    }
    words.textContent = sentence(task);
    if (performance.now() - saidAt > SCREEN_READER_MS) {
      saidAt = performance.now();
      spoken.textContent = words.textContent;
    }
  };
  return { element: el("div", { class: "progress" }, el("p", { class: "title", text: title }), bar, words, spoken, extra), update };
}

function sentence(task) {
  const failed = task.failed ? `, ${number(task.failed)} failed` : "";
  if (!task.total) return task.found ? `Found ${count(task.found, "file")} …` : "Starts …";
  const rate = task.done / Math.max(1, Date.now() / 1000 - task.started_at);
  const left = task.done && task.done < task.total ? `, about ${duration((task.total - task.done) / rate)} left` : "";
  return `${number(task.done)} of ${number(task.total)}${failed}${left}`;
}
