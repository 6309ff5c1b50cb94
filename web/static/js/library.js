// The view of the library: its folders, runs, failures, jobs and the doctor.

import { follow, get, post } from "./api.js";
import { tellChanges } from "./changes.js";
import { button, byId, el, fill } from "./dom.js";
import { progress } from "./progress.js";
import { state, subscribe } from "./state.js";
import { bytes, count, date, duration, number, shown } from "./text.js";
import { attempt, load, toast } from "./toast.js";

const RUNS = 10;
const FAILURES = 50;
const OUTCOMES = { done: "finished", failed: "failed", interrupted: "stopped", running: "is running" };

export class Library {
  #watching = null;

  constructor() {
    byId("index-all").addEventListener("click", () => this.start(null));
    byId("index-force").addEventListener("click", () => {
      toast("Analyzes all images again, even those that did not change.");
      this.start(null, { force: true });
    });
    subscribe((now, before) => now.view === "library" && before.view !== "library" && this.open());
    if (state().view === "library") this.open();
  }

  async open() {
    await Promise.all([this.#drawStatus(), this.#drawRoots(), this.#drawRuns(), this.#drawFailures(), this.#drawJobs(), this.#drawDoctor(), this.#resume()]);
  }

  /** Start a run over some roots, or over all. */
  async start(roots, options = {}) {
    const task = await attempt(() => post("/runs", { roots, ...options }));
    if (task) await this.#watch(task);
  }

  async #resume() {
    const tasks = await attempt(() => get("/tasks"));
    const task = tasks?.find((one) => one.state === "running" && (one.kind === "index" || one.kind === "check"));
    if (task) this.#watch(task);
  }

  async #watch(task) {
    if (this.#watching === task.id) return;
    this.#watching = task.id;
    const place = byId("run-now");
    const title = task.kind === "check" ? "Checking the library …" : "Indexing …";
    const stop = button({ text: "Stop", on: () => attempt(() => post(`/tasks/${task.id}/stop`, {})) });
    const line = progress(title, el("div", { class: "tools" }, stop));
    fill(place, line.element);
    try {
      this.#tell(await follow(task, line.update), place);
    } catch (error) {
      fill(place, el("p", { class: "result", role: "alert", text: error.message }));
    }
    this.#watching = null;
    tellChanges();
    if (state().view === "library") await Promise.all([this.#drawStatus(), this.#drawRoots(), this.#drawRuns(), this.#drawFailures(), this.#drawDoctor()]);
  }

  #tell(task, place) {
    const sentence = task.state === "done" ? (task.kind === "check" ? "The check is done." : indexed(task.result)) : task.error;
    fill(place, el("div", { class: `result ${task.state}`, role: "status", id: "run-result" }, el("p", { text: sentence }), task.warnings.slice(0, 5).map((text) => el("p", { class: "quiet", text }))));
  }

  async #drawStatus() {
    const place = byId("library-status");
    const facts = await load(place, () => get("/status"));
    if (!facts) return;
    const disk = Object.values(facts.disk_bytes).reduce((sum, one) => sum + one, 0);
    const hidden = facts.hidden ? `, ${number(facts.hidden)} of them hidden` : "";
    fill(place, el("p", { text: `${count(facts.images, "image")}${hidden}. The library is in ${shown(facts.home)} and takes ${bytes(disk)}.` }));
  }

  async #drawRoots() {
    const place = byId("roots");
    const roots = await load(place, () => get("/roots"));
    if (!roots) return;
    byId("index-all").disabled = !roots.length;
    if (!roots.length) {
      fill(place, el("p", {}, "Nothing is indexed yet. In a terminal, type: ", el("code", { text: "moodex index FOLDER" })));
      return;
    }
    const rows = roots.map((root) =>
      el("tr", {}, el("th", { scope: "row" }, el("code", { text: shown(root.path) }), !root.exists && el("em", { text: " is not there now" })), el("td", { class: "number", text: number(root.files) }), el("td", { text: date(root.indexed_at) }),
        el("td", {}, button({ icon: "run", text: "Index", label: `Index ${shown(root.path)} again`, on: () => this.start([root.id]) }))),
    );
    fill(place, table("Indexed folders", ["Folder", "Files", "Last indexed", ""], rows));
  }

  async #drawRuns() {
    const place = byId("runs-list");
    const answer = await load(place, () => get("/runs", { limit: RUNS }));
    if (!answer) return;
    const body = el("tbody", {}, answer.runs.map(runRow));
    let { next } = answer;
    const more = button({ text: "Earlier runs", on: async () => {
      const page = await attempt(() => get("/runs", { limit: RUNS, cursor: next }));
      if (!page) return;
      body.append(...page.runs.map(runRow));
      next = page.next;
      more.hidden = !next;
    } });
    more.hidden = !next;
    if (!answer.runs.length) fill(place, el("p", { class: "quiet", text: "There was no run yet." }));
    else fill(place, table("Runs", ["Began", "Took", "Outcome", "What happened"], body), more);
  }

  async #drawFailures() {
    const place = byId("failures");
    const answer = await load(place, () => get("/failures", { limit: FAILURES }));
    if (!answer) return;
    if (!answer.failures.length) {
      fill(place, el("p", { class: "quiet", text: "Every file could be read." }));
      return;
    }
    const rows = (list) => list.map((one) => el("tr", {}, el("th", { scope: "row" }, el("code", { text: shown(one.path) })), el("td", { text: one.reason })));
    const body = el("tbody", {}, rows(answer.failures));
    let { next } = answer;
    const more = button({ text: "More", on: async () => {
      const page = await attempt(() => get("/failures", { limit: FAILURES, cursor: next }));
      if (!page) return;
      body.append(...rows(page.failures));
      next = page.next;
      more.hidden = !next;
    } });
    more.hidden = !next;
    fill(place, table("Files that failed", ["File", "Reason"], body), more);
  }

  async #drawJobs() {
    const place = byId("jobs");
    const jobs = await load(place, () => get("/jobs"));
    if (!jobs) return;
    if (!jobs.length) {
      fill(place, el("p", { class: "quiet" }, "No job is scheduled. In a terminal, this one follows a folder: ", el("code", { text: "moodex schedule add NAME FOLDER --watch" })));
      return;
    }
    const rows = jobs.map((job) =>
      el("tr", {}, el("th", { scope: "row", text: shown(job.name) }), el("td", { text: when(job) }), el("td", { text: job.next_at ? date(job.next_at) : "—" }), el("td", {}, job.paths.map((path) => el("code", { text: shown(path) })))),
    );
    fill(place, table("Scheduled jobs", ["Job", "Runs", "Next", "Folders"], rows));
  }

  async #drawDoctor() {
    const place = byId("doctor");
    const facts = await load(place, () => get("/doctor"));
    if (!facts) return;
    const check = button({ icon: "run", text: "Check now", on: async () => {
      const task = await attempt(() => post("/doctor", {}));
      if (task) await this.#watch(task);
    } });
    if (!facts.report) {
      fill(place, el("p", { class: "quiet", text: "The check reads the whole library, and changes nothing." }), check);
      return;
    }
    const { sound, findings } = facts.report;
    const verdict = sound ? "The library is sound." : "The library needs a repair.";
    fill(
      place,
      el("p", { class: sound ? "good" : "bad", text: `${verdict} Checked ${date(facts.checked_at)}.` }),
      findings.length ? el("ul", {}, findings.map((one) => el("li", {}, `${one.severity}: ${one.what}. `, one.advice && el("span", { class: "quiet", text: one.advice })))) : null,
      check,
    );
  }
}

function runRow(run) {
  const parts = Object.entries(run.counts).map(([name, value]) => `${number(value)} ${name}`).join(", ");
  const outcome = OUTCOMES[run.outcome] ?? run.outcome;
  return el("tr", {}, el("th", { scope: "row", text: date(run.started_at) }), el("td", { text: run.seconds === null ? "—" : duration(run.seconds) }), el("td", { text: run.reason ? `${outcome}: ${run.reason}` : outcome }), el("td", { text: parts || "—" }));
}

function table(caption, names, rows) {
  const body = rows instanceof Element ? rows : el("tbody", {}, rows);
  return el("div", { class: "table", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", { class: "unseen", text: caption }), el("thead", {}, el("tr", {}, names.map(heading))), body));
}

/** Return the cell above a column: "Files" is a column of numbers, "" one of buttons. */
const heading = (name) => (name ? el("th", { scope: "col", class: name === "Files" && "number", text: name }) : el("td", {}));

function when(job) {
  if (job.watch) return "when files change";
  return job.cron ? `by ${job.cron}` : `every ${duration(job.every_seconds)}`;
}

/** Return the result of an index run in plain words. */
function indexed(result) {
  const parts = ["indexed", "moved", "removed", "failed"].filter((name) => result[name]).map((name) => `${number(result[name])} ${name}`);
  const what = parts.length ? parts.join(", ") : "nothing had changed";
  return `Read ${count(result.scanned, "file")} in ${duration(result.seconds)}: ${what}.`;
}
