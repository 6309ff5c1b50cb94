// From a drawing (SVG text) to a picture (PNG bytes).
import { Resvg } from '@resvg/resvg-js'

const BACKGROUNDS = [
  '#ffffff', '#f4f4f2', '#dfe3e6', '#b9c2c9', '#7d8b97', '#39424e', '#22303c',
  '#ffe9d2', '#ffd3dc', '#ffc9a3', '#fff3bf', '#f2d16b', '#e4f4d4', '#b7dfc3',
  '#7fb69a', '#d5efff', '#a9d3f0', '#6f9fc8', '#e6dcff', '#bfa8e6', '#e08a72',
]

/** Gives the drawing's outer <svg> tag other attributes and keeps the rest of them. */
function withAttributes(svg, attributes) {
  return svg.replace(/^<svg([^>]*)>/, (_, old) => {
    const names = Object.keys(attributes).join('|')
    const kept = old.replace(new RegExp(`\\s(${names})="[^"]*"`, 'g'), '')
    const added = Object.entries(attributes).map(([name, value]) => ` ${name}="${value}"`)
    return `<svg${kept}${added.join('')}>`
  })
}

/** Lays a drawing on a random plain background: turned, mirrored, scaled and shifted a little. */
export function pose(svg, random, { zoom = 1, viewBox, backgrounds = BACKGROUNDS, turn = 9, spread = 0.1 } = {}) {
  const background = random.pick(backgrounds)
  const mirror = random.chance(0.5) ? -1 : 1
  const angle = random.between(-turn, turn)
  const scale = zoom * random.between(1 - spread, 1 + spread)
  const [dx, dy] = [random.between(-4, 4), random.between(-4, 4)]
  const inner = withAttributes(svg, { x: -50, y: -50, width: 100, height: 100, overflow: 'visible', ...(viewBox && { viewBox }) })
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="-50 -50 100 100">
    <rect x="-50" y="-50" width="100" height="100" fill="${background}"/>
    <g transform="translate(${dx} ${dy}) rotate(${angle}) scale(${mirror * scale} ${scale})">${inner}</g></svg>`
}

/** Lays a drawing on white with a narrow margin, as it is. */
export function still(svg) {
  const inner = withAttributes(svg, { x: -45, y: -45, width: 90, height: 90 })
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="-50 -50 100 100">
    <rect x="-50" y="-50" width="100" height="100" fill="#ffffff"/>${inner}</svg>`
}

/** The drawing alone, upright, on nothing. */
export function cutOut(svg, { viewBox } = {}) {
  const inner = withAttributes(svg, { x: 0, y: 0, width: 100, height: 100, ...(viewBox && { viewBox }) })
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 100">${inner}</svg>`
}

export function toPng(svg, size) {
  return new Resvg(svg, { fitTo: { mode: 'width', value: size }, font: { loadSystemFonts: false } }).render().asPng()
}
