// Requests to the HTTP API of this server.

const BASE = "/api/v1";

/** An answer that reports an error. Its message is a sentence for people. */
export class ApiError extends Error {
  constructor(status, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const UNREACHABLE = "The server does not answer. Start it again with: moodex serve";

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(BASE + path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, UNREACHABLE);
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, problem.detail ?? `The server answered with status ${answer.status}.`, Number(answer.headers.get("Retry-After")));
}

const send = async (path, options) => (await ask(path, options)).json();

const withBody = (method) => (path, body) =>
  send(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const get = (path, parameters, signal) => send(path + query(parameters), { signal });
export const bytesOf = async (path, parameters, signal) => (await ask(path + query(parameters), { signal })).arrayBuffer();
export const post = withBody("POST");
export const put = withBody("PUT");

/** Send an image file, and return what the model sees in it. */
export function sendImage(file, parameters, signal) {
  const form = new FormData();
  form.append("image", file, "image");
  return send("/queries" + query(parameters), { method: "POST", body: form, signal });
}

/** Return parameters as the query of an address. Arrays repeat their name; empty values are left out. */
export function query(parameters = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== false && one !== "") words.append(name, one);
    }
  }
  const text = words.toString();
  return text && `?${text}`;
}

/** Follow a task until it ends: call `onChange` with each state of it, and return the last one. */
export function follow(task, onChange) {
  return new Promise((resolve, reject) => {
    const events = new EventSource(`${BASE}/tasks/${task.id}/events`);
    events.addEventListener("task", (event) => {
      const latest = JSON.parse(event.data);
      onChange(latest);
      if (latest.state === "running") return;
      events.close();
      resolve(latest);
    });
    events.addEventListener("error", () => {
      // A stream that ends without a last state: the server has gone, or it does not know the task any more.
      if (events.readyState === EventSource.CLOSED) reject(new ApiError(0, UNREACHABLE));
      else get(`/tasks/${task.id}`).catch((error) => { events.close(); reject(error); });
    });
  });
}

const side = (pixels) => (pixels <= 128 ? 128 : pixels <= 256 ? 256 : 512);

/** Return the address of a thumbnail whose longer side has at least some CSS pixels, if there is one as large. */
export const thumbnailUrl = (imageId, pixels) =>
  `${BASE}/images/${imageId}/thumbnail?side=${side(pixels * Math.min(2, window.devicePixelRatio || 1) * 0.85)}`;
export const originalUrl = (imageId, download = false) => `${BASE}/images/${imageId}/original${download ? "?download=true" : ""}`;
export const queryThumbnailUrl = (queryId) => `${BASE}/queries/${queryId}/thumbnail`;
export const collectionUrl = (id, form) => `${BASE}/collections/${id}/${form}`;
