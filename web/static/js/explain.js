// Which parts of an image speak for an emotion: a heat map over the image.

import { get } from "./api.js";
import { button, el, fill } from "./dom.js";
import { percent } from "./emotions.js";
import { state } from "./state.js";

/** Return a control that shows the heat map of a face's emotion in a layer over the image. */
export function explainer(facts, emotion, layer) {
  const place = el("div", { class: "explain" });
  const offer = (sentence) => {
    layer.replaceChildren();
    fill(place, button({ icon: "heat", text: `Why ${emotion}?`, on: ask }), sentence && el("p", { class: "quiet", text: sentence }));
  };
  const ask = async () => {
    fill(place, button({ icon: "heat", text: "Computing the heat map …", kind: "busy", disabled: true, on: () => {} }));
    try {
      const answer = await get(`/images/${facts.image_id}/explanation`, { emotion, model: state().model });
      if (!place.isConnected) return;
      show(answer);
    } catch (error) {
      offer(error.message);
    }
  };
  const show = (answer) => {
    const box = answer.box ?? facts.faces[0].box ?? [0, 0, ...facts.size];
    const heat = el("img", { class: "heat", src: answer.heat, alt: `Heat map: bright parts speak for ${answer.emotion}` });
    Object.assign(heat.style, {
      left: `${(box[0] / facts.size[0]) * 100}%`,
      top: `${(box[1] / facts.size[1]) * 100}%`,
      width: `${((box[2] - box[0]) / facts.size[0]) * 100}%`,
      height: `${((box[3] - box[1]) / facts.size[1]) * 100}%`,
    });
    fill(layer, heat);
    layer.scrollIntoView({ block: "nearest" });
    const sentence = `Bright parts speak for ${answer.emotion} (${percent(answer.probability)} in this view, by ${answer.method}).`;
    fill(place, button({ icon: "heat", text: "Hide the heat map", kind: "on", on: () => offer() }), el("p", { class: "quiet", text: sentence }));
  };
  offer();
  return place;
}
