// Draws the training pictures: node render.mjs OUT [--per-class N] [--seed S] [--size PIXELS] [--only SET...] [--cut-out]
// Each set is one style; OUT/<set>/<emotion>/*.png, with a manifest and the licence beside them.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { randomFrom } from './random.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const readJson = (...path) => JSON.parse(readFileSync(join(here, ...path), 'utf8'))
const installed = (name, file) => join(here, 'node_modules', name, file)

const AVATARS = readJson('avatars.json')
const EMOJI = readJson('emoji.json')
const SETS = [
  ...Object.keys(AVATARS).map((style) => `avatar_${style}`),
  ...Object.keys(EMOJI.vendors).map((vendor) => `emoji_${vendor}`),
]
const USAGE = 'usage: node render.mjs OUT [--per-class N] [--seed S] [--size PIXELS] [--only SET...] [--cut-out]'

function fail(sentence) {
  console.error(`render.mjs: ${sentence}`)
  process.exit(2)
}

function readArguments() {
  const options = {
    'per-class': { type: 'string', default: '160' },
    seed: { type: 'string', default: '0' },
    size: { type: 'string', default: '256' },
    only: { type: 'string', multiple: true, default: [] },
    'cut-out': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  }
  let parsed
  try {
    parsed = parseArgs({ options, allowPositionals: true })
  } catch (error) {
    fail(`${error.message.split(/[.\n]/)[0]} (${USAGE})`)
  }
  const { values, positionals: [out, ...more] } = parsed
  if (values.help) {
    console.log(`${USAGE}\nsets: ${SETS.join(' ')}`)
    process.exit(0)
  }
  if (!out) fail(`the folder to write to is missing (${USAGE})`)
  const whole = (name, least) => {
    const number = Number(values[name])
    if (!Number.isInteger(number) || number < least) fail(`--${name} must be a whole number from ${least} up, not "${values[name]}".`)
    return number
  }
  // "--only A B" leaves B among the positionals.
  const only = [...values.only, ...more]
  if (more.length && !values.only.length) fail(`"${more[0]}" is one argument too many (${USAGE})`)
  const unknown = only.find((name) => !SETS.includes(name))
  if (unknown) fail(`there is no set "${unknown}"; the sets are ${SETS.join(', ')}.`)
  const sets = SETS.filter((name) => !only.length || only.includes(name))
  return { out, sets, perClass: whole('per-class', 1), seed: whole('seed', 0), size: whole('size', 16), cutOut: values['cut-out'] }
}

async function loadPackages() {
  try {
    return {
      painters: {
        dicebear: (await import('./dicebear.mjs')).painter,
        bigheads: (await import('./bigheads.mjs')).painter,
        kawaii: (await import('./kawaii.mjs')).painter,
      },
      emoji: await import('./emoji.mjs'),
      picture: await import('./picture.mjs'),
    }
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
    fail(`the npm packages are not installed; run "npm ci" in ${here} first.`)
  }
}

const combinations = ({ parts }) => Object.values(parts).reduce((product, values) => product * values.length, 1)

/** Avatars: the number makes the character, the emotion its face; so every emotion shows the same people. */
function* avatarPictures(style, { perClass, seed, cutOut }, { painters, picture }) {
  const entry = AVATARS[style]
  const paint = painters[entry.from](style, entry)
  const source = `${entry.package}@${version(entry.package)}`
  for (const [emotion, choices] of Object.entries(entry.emotions)) {
    for (let number = seed; number < seed + perClass; number++) {
      const random = randomFrom(`${style}/${emotion}/${number}`)
      const choice = random.pickWeighted(choices, combinations)
      const parts = Object.fromEntries(Object.entries(choice.parts).map(([option, values]) => [option, random.pick(values)]))
      const drawing = paint(String(number), parts)
      const svg = cutOut ? picture.cutOut(drawing, entry) : picture.pose(drawing, random, entry)
      const words = Object.entries(parts).map((pair) => pair.join('='))
      yield {
        file: `${style}_${String(number).padStart(4, '0')}_${emotion}.png`,
        emotion, confidence: choice.confidence, svg, source: [source, ...words].join(' '),
      }
    }
  }
}

/** Emoji: each vendor's drawing of each name once. */
function* emojiPictures(vendor, { cutOut }, { emoji, picture }) {
  const source = `@iconify-json/${vendor}@${version(`@iconify-json/${vendor}`)}`
  const { names: list = 'cldr', without = [] } = EMOJI.vendors[vendor]
  const table = EMOJI.names[list]
  for (const [emotion, levels] of Object.entries(table)) {
    const confidenceOf = Object.fromEntries(Object.entries(levels).flatMap(([level, names]) => names.map((name) => [name, level])))
    for (const { name, svg } of emoji.drawings(vendor, Object.keys(confidenceOf).filter((name) => !without.includes(name)))) {
      yield { file: `${vendor}_${name}.png`, emotion, confidence: confidenceOf[name], svg: cutOut ? picture.cutOut(svg) : picture.still(svg), source: `${source} ${name}` }
    }
  }
}

const version = (name) => JSON.parse(readFileSync(installed(name, 'package.json'), 'utf8')).version

function licenceText({ credit, licence, url }, name) {
  const file = ['LICENSE', 'LICENSE.md'].map((file) => installed(name, file)).find(existsSync)
  const head = `${credit}\nLicence of the pictures: ${licence}\n${url}\nDrawn from the npm package ${name} ${version(name)}.\n`
  return file ? `${head}\n${readFileSync(file, 'utf8')}` : head
}

const csvCell = (cell) => (/[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell)
const csvLine = (row) => `${row.map(csvCell).join(',')}\n`

function writeSet(set, settings, packages) {
  const [kind, style] = [set.slice(0, set.indexOf('_')), set.slice(set.indexOf('_') + 1)]
  const entry = kind === 'avatar' ? AVATARS[style] : { package: `@iconify-json/${style}`, ...EMOJI.vendors[style] }
  const pictures = (kind === 'avatar' ? avatarPictures : emojiPictures)(style, settings, packages)
  const folder = join(settings.out, set)
  rmSync(folder, { recursive: true, force: true })
  const manifest = ['file,label,confidence,source\n']
  for (const { file, emotion, confidence, svg, source } of pictures) {
    mkdirSync(join(folder, emotion), { recursive: true })
    writeFileSync(join(folder, emotion, file), packages.picture.toPng(svg, settings.size))
    manifest.push(csvLine([`${emotion}/${file}`, emotion, confidence, source]))
  }
  writeFileSync(join(folder, 'manifest.csv'), manifest.join(''))
  writeFileSync(join(folder, 'LICENSE.txt'), licenceText(entry, entry.package))
  return [set, entry.artist, entry.licence, entry.credit, entry.url, manifest.length - 1]
}

/** One line a set; the lines of sets that an earlier run wrote stay. */
function writeOverview(out, lines) {
  const path = join(out, 'sets.csv')
  const earlier = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(1) : []
  const all = { ...Object.fromEntries(earlier.map((line) => [line.split(',')[0], `${line}\n`])), ...lines }
  const present = SETS.filter((set) => all[set] && existsSync(join(out, set)))
  writeFileSync(path, 'set,artist,licence,credit,url,count\n' + present.map((set) => all[set]).join(''))
}

const settings = readArguments()
const packages = await loadPackages()
const lines = {}
for (const [index, set] of settings.sets.entries()) {
  const row = writeSet(set, settings, packages)
  lines[set] = csvLine(row)
  console.error(`[${index + 1}/${settings.sets.length}] ${set}: ${row.at(-1)} pictures`)
}
writeOverview(settings.out, lines)
