// Heads of facesjs.
import { faceToSvgString, generate } from 'facesjs'
import { randomFrom } from './random.mjs'

// Eyes that are narrowed or wide open say something themselves.
const EYES = {
  male: ['eye1', 'eye2', 'eye4', 'eye5', 'eye6', 'eye8', 'eye13', 'eye14', 'eye16', 'eye18', 'eye19'],
  female: ['female1', 'female2', 'female4', 'female9', 'female10', 'female12', 'female16'],
}
const CLOTHES = ['#c0392b', '#2e86c1', '#239b56', '#f1c40f', '#7d3c98', '#34495e', '#ecf0f1', '#e67e22', '#17202a']

/** What `generate` draws lots for comes from a character's own numbers. */
function generateWith(random, overrides, options) {
  const usual = Math.random
  Math.random = () => random.between(0, 1)
  try {
    return generate(overrides, options)
  } finally {
    Math.random = usual
  }
}

export function painter() {
  return (character, { mouth, brows }) => {
    const random = randomFrom(`facesjs/${character}`)
    const gender = random.pick(['male', 'female'])
    const overrides = {
      teamColors: [random.pick(CLOTHES), random.pick(CLOTHES), random.pick(CLOTHES)],
      eye: { id: random.pick(EYES[gender]) },
      smileLine: { id: 'none' },
      ...(random.chance(0.6) && { facialHair: { id: 'none' } }),
    }
    const face = generateWith(random, overrides, { gender })
    face.mouth.id = mouth
    face.eyebrow.angle = brows
    return faceToSvgString(face)
  }
}
