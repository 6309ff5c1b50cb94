// Things with faces of react-kawaii.
import * as kawaii from 'react-kawaii'
import { createElement } from 'react'
import { renderToStaticMarkup } from 'react-dom/server'
import { randomFrom } from './random.mjs'

const THINGS = [
  'Astronaut', 'Backpack', 'Browser', 'Cat', 'Chocolate', 'CreditCard', 'Cyborg', 'File', 'Folder', 'Ghost',
  'HumanCat', 'HumanDinosaur', 'IceCream', 'Mug', 'Planet', 'SpeechBubble',
]
const COLORS = [
  '#ffd57e', '#f9b27c', '#f4978e', '#ffa9c6', '#d9a7e8', '#b39ddb', '#8fb8f0', '#82d4f5', '#86dcc8', '#a5de8f',
  '#dce775', '#e3e6ea', '#c7b29b',
]

export function painter() {
  return (character, parts) => {
    const random = randomFrom(`kawaii/${character}`)
    const thing = kawaii[random.pick(THINGS)]
    return renderToStaticMarkup(createElement(thing, { size: 240, color: random.pick(COLORS), ...parts }))
  }
}
