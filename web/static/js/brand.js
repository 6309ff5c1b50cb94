// The mark of the page: a face that has the emotion that is searched for.

import { byId } from "./dom.js";
import { paint } from "./emotions.js";
import { state, subscribe } from "./state.js";

/** Eyes and mouth of a face in a square of 24 units, as the data of a path. */
const FACES = {
  happy: "M8.5 9.5v1M15.5 9.5v1M7.5 13.5c1.2 4.2 7.8 4.2 9 0z",
  pleased: "M7 10.6c.8-1.3 2.2-1.3 3 0M14 10.6c.8-1.3 2.2-1.3 3 0M8.5 14.5c1.6 2 5.4 2 7 0",
  sad: "M8.5 10v1M15.5 10v1M8.5 16.5c1.6-2.2 5.4-2.2 7 0M6.8 8.4l2.4-1M17.2 8.4l-2.4-1",
  crying: "M7 10.5h3M14 10.5h3M9 17c1.4-2.2 4.6-2.2 6 0M8.5 12.5v3M15.5 12.5v3",
  angry: "M8.5 11v.6M15.5 11v.6M8.8 16h6.4M6.8 8l3.2 1.4M17.2 8L14 9.4",
  surprise: "M8.5 9v1M15.5 9v1M12 13.4a2 2.3 0 1 0 .01 0z",
  fear: "M8.5 9v1.4M15.5 9v1.4M8 15.5l1.6-1 1.6 1 1.6-1 1.6 1 1.2-.8",
  disgust: "M7 10l2.6.8M17 10l-2.6.8M8.5 15.5c2-1.4 3.6 1.4 7-.6",
  embarrassed: "M8.5 10v.8M15.5 10v.8M9.5 15c1.2.8 3.8.8 5 0M5.8 13.4h1.6M16.6 13.4h1.6",
  neutral: "M8.5 9.8v1M15.5 9.8v1M9 15h6",
};

const USUAL = "M8.5 9.8v1M15.5 9.8v1M8.5 14c1.6 2.4 5.4 2.4 7 0";

export function showBrand() {
  const mark = byId("brand-face");
  const draw = () => {
    const emotion = state().emotion[0];
    mark.querySelector(".features").setAttribute("d", FACES[emotion] ?? USUAL);
    if (emotion) paint(mark, emotion);
    else delete mark.dataset.emotion;
  };
  subscribe(draw);
  draw();
}
