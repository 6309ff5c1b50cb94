// The probabilities of a face as bars. Each is a button that labels the image.

import { el } from "./dom.js";
import { keyOfEmotion, paint, percent } from "./emotions.js";

const CLOSE = 0.02;

/** Return a list of bars, the most probable first. `label` is the user's label; `onLabel` is called with an emotion, null to remove it. */
export function bars(face, label, onLabel) {
  const sorted = Object.entries(face.emotions).sort((one, other) => other[1] - one[1]);
  if (label && !(label in face.emotions)) sorted.unshift([label, null]);
  return el("ol", { class: "bars" }, sorted.map(([emotion, probability]) => bar(emotion, probability, emotion === label, onLabel)));
}

function bar(emotion, probability, isLabel, onLabel) {
  const key = keyOfEmotion(emotion);
  const share = probability === null ? "your emotion" : percent(probability);
  const line = el("span", { class: "line" });
  line.style.transform = `scaleX(${Math.max(probability ?? 0, 0.004)})`;
  const element = el(
    "button",
    {
      type: "button",
      class: `reading ${isLabel ? "is-label" : ""} ${probability !== null && probability < CLOSE ? "slight" : ""}`,
      "aria-pressed": String(isLabel),
      "aria-label": `${emotion}, ${share}. ${isLabel ? "Your label: press to remove it." : `Press to label the image ${emotion}.`}`,
      on: { click: () => onLabel(isLabel ? null : emotion) },
    },
    el("kbd", { text: key ?? "", class: key ? "" : "blank" }),
    el("span", { class: "name", text: emotion }),
    el("span", { class: "track" }, line),
    el("span", { class: "share", text: isLabel ? "your label" : share }),
  );
  paint(element, emotion);
  return el("li", {}, element);
}
