// Small functions that make elements. Text always becomes a text node: names of files and labels come from users.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Return a new element. `props` are attributes; `text` is its text, `on` its event listeners, `data` its data attributes.
 * An attribute that is null, undefined or false is left out; true makes it empty. Children that are null or false are left out.
 */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Return an icon of the page's sprite. It has no meaning for screen readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Return a button with an icon, a text, or both. `label` is its name for screen readers and its tooltip. */
export function button({ text, icon: name, label, kind = "", keys, on, ...attributes }) {
  const props = { type: "button", class: `button ${kind}`.trim(), title: keys ? `${label ?? text} (${keys})` : label, ...attributes };
  if (label) props["aria-label"] = label;
  return el("button", { ...props, on: { click: on } }, name && icon(name), text && el("span", { text }));
}

/** Return the element with an id. */
export const byId = (id) => document.getElementById(id);

/** Put children in the place of those that an element has. */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}
