// What somebody clicks, presses, pastes or drops before the scripts that react are loaded.

/** Keep such acts from now on. Return a function that repeats them, once something reacts, and keeps no more. */
export function keepEarly() {
  const kept = [];
  const acts = { click: keepNew, keydown: keepNew, input: keep, change: keep, paste: keepFiles, dragover: allowDrop, drop: keepFiles };
  for (const [type, act] of Object.entries(acts)) addEventListener(type, act, true);

  function keep(event) {
    kept.push([event.target, new event.constructor(event.type, event)]);
  }

  // The browser itself acts on these parts.
  function keepNew(event) {
    if (!event.target.closest?.("a, input, label, select, summary")) keep(event);
  }

  // The browser takes the files away from an event that is over, so they move to one of our own.
  function keepFiles(event) {
    const files = (event.clipboardData ?? event.dataTransfer)?.files ?? [];
    if (!files.length) return;
    event.preventDefault();
    const carrier = new DataTransfer();
    for (const file of files) carrier.items.add(file);
    const content = { bubbles: true, cancelable: true, clipboardData: carrier, dataTransfer: carrier };
    kept.push([event.target, new event.constructor(event.type, content)]);
  }

  return () => {
    for (const [type, act] of Object.entries(acts)) removeEventListener(type, act, true);
    for (const [target, event] of kept) target.dispatchEvent(event);
  };
}

// Without it, the browser leaves the page and opens the file.
function allowDrop(event) {
  if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
}
