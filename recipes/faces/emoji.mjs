// Emoji of one vendor, found by their Unicode (CLDR) names.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** Yields {name, svg} for each of `names` that the vendor draws; a drawing comes once. */
export function* drawings(vendor, names) {
  const set = require(`@iconify-json/${vendor}/icons.json`)
  const seen = new Set()
  for (const name of names) {
    const icon = set.icons[name] ?? set.icons[set.aliases?.[name]?.parent]
    if (!icon || seen.has(icon.body)) continue
    seen.add(icon.body)
    const { left = 0, top = 0, width = 16, height = 16, body } = { ...set, ...icon }
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${left} ${top} ${width} ${height}">${body}</svg>`
    yield { name, svg: svg.replaceAll('currentColor', '#222222') }
  }
}
