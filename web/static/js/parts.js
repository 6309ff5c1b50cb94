// The parts of the page that its first view does not need: each is loaded when it is first shown.

import { toast } from "./toast.js";

const FAILED = "A part of the page could not be loaded. Reload the page; if that does not help, start moodex serve again.";

/**
 * Return two functions: one loads a part by its name, the other one loads all. `makers` are functions by name that import a module
 * and prepare it; each is called once, unless it fails. A part that cannot be loaded is undefined, and the user is told.
 */
export function lateParts(makers) {
  const loading = new Map();
  const part = async (name) => {
    if (!loading.has(name)) loading.set(name, makers[name]());
    try {
      return await loading.get(name);
    } catch (error) {
      loading.delete(name);
      console.error(error);
      toast(FAILED, { isError: true });
      return undefined;
    }
  };
  return { part, allParts: () => Promise.all(Object.keys(makers).map(part)) };
}
