// Avatars of the DiceBear collection: the seed makes the character, single options make the face.
import { createAvatar } from '@dicebear/core'
import * as collection from '@dicebear/collection'

const camelCase = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase())

export function painter(style, { fixed }) {
  const drawing = collection[camelCase(style)]
  const known = drawing.schema.properties
  return (character, parts) => {
    const expression = {}
    for (const [option, value] of Object.entries(parts)) {
      if (!known[option]?.items.enum.includes(value)) throw new Error(`${style} has no ${option} "${value}".`)
      expression[option] = [value]
    }
    const options = { backgroundColor: ['transparent'], ...fixed, ...expression, seed: character }
    // Without its mask a body goes on below the picture's edge instead of ending there.
    return createAvatar(drawing, options).toString().replace(' mask="url(#viewboxMask)"', '')
  }
}
