// Avatars of @bigheads/core.
import { BigHead } from '@bigheads/core'
import { createElement } from 'react'
import { renderToStaticMarkup } from 'react-dom/server'
import { randomFrom } from './random.mjs'

const COLORS = ['white', 'blue', 'black', 'green', 'red']

function person(character) {
  const random = randomFrom(`bigheads/${character}`)
  return {
    skinTone: random.pick(['light', 'yellow', 'brown', 'dark', 'red', 'black']),
    hair: random.pick(['none', 'long', 'bun', 'short', 'pixie', 'balding', 'buzz', 'afro', 'bob']),
    hairColor: random.pick(['blonde', 'orange', 'black', 'white', 'brown', 'blue', 'pink']),
    hat: random.chance(0.2) ? random.pick(['beanie', 'turban']) : 'none',
    hatColor: random.pick(COLORS),
    accessory: random.chance(0.25) ? random.pick(['roundGlasses', 'tinyGlasses']) : 'none',
    facialHair: random.chance(0.15) ? 'stubble' : 'none',
    body: random.pick(['chest', 'breasts']),
    clothing: random.pick(['shirt', 'dressShirt', 'vneck', 'tankTop', 'dress']),
    clothingColor: random.pick(COLORS),
    lipColor: random.pick(['red', 'purple', 'pink', 'turqoise', 'green']),
    lashes: random.chance(0.4),
  }
}

const PLAIN = { graphic: 'none', mask: false, faceMask: false, circleColor: 'blue' }

export function painter() {
  return (character, parts) =>
    renderToStaticMarkup(createElement(BigHead, { ...PLAIN, ...person(character), ...parts }))
}
