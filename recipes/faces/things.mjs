// Draws what a detector of faces learns from beside the avatars: node things.mjs OUT [--size PIXELS]
// OUT/heads/<vendor>/*.png are animals' heads that fill the picture; OUT/things/<vendor>/*.png have no face. Nothing lies behind them.
import { createRequire } from 'node:module'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { drawings } from './emoji.mjs'
import { cutOut, toPng } from './picture.mjs'

const require = createRequire(import.meta.url)
const VENDORS = ['noto', 'twemoji', 'openmoji', 'fluent-emoji-flat', 'emojione', 'streamline-emojis']
const HEADS = [
  'dog-face', 'mouse-face', 'hamster', 'rabbit-face', 'fox', 'bear', 'panda', 'koala', 'tiger-face', 'lion', 'cow-face', 'pig-face',
  'frog', 'monkey-face', 'polar-bear', 'unicorn', 'dragon-face', 'wolf', 'horse-face', 'robot', 'alien', 'ghost',
]
const FACELESS = ['Activities', 'Flags', 'Food & Drink', 'Food Drink', 'Objects', 'Symbols', 'Travel & Places', 'Travel Places']
const NATURE = /blossom|bouquet|cactus|tree|flower|hibiscus|rose|tulip|leaf|herb|shamrock|clover|seedling|sheaf|wilted|mushroom|shell|paw|feather|nest/
const MAY_HAVE_A_FACE = new RegExp(
  'face|moon|sun|snowman|teddy|doll|lantern|goblin|ogre|skull|robot|alien|ghost|poo|statue|genie|moai|carp|person|people|man|woman|men|' +
    'boy|girl|baby|child|family|santa|puppet|playing|joker|mask|portrait|framed|cinema|selfie|id-|mirror|yo-yo|piñata|pinata|nazar|eye|' +
    'bear|cat|dog|fish|crab|shrimp|lobster|squid|octopus|bird|chicken|turkey|horse|monkey|dragon|astro|aquarius|virgo|gemini|leo|taurus|' +
    'aries|capricorn|pisces|sagittarius|scorpio|cancer|globe|japanese|wind|bust|speaking|pregnant|breast|restroom|wheelchair|litter|' +
    'passport|customs|bellhop|performing|pirate|map|slot|game-die|video|television|camera|mobile-phone-off|nesting|maracas|fuel|cloud',
)

const NOT_DRAWABLE = ['rainbow-flag', 'package'] // the renderer gives up on them

const { values, positionals: [out] } = parseArgs({ options: { size: { type: 'string', default: '192' } }, allowPositionals: true })
if (!out) {
  console.error('things.mjs: the folder to write to is missing (usage: node things.mjs OUT [--size PIXELS])')
  process.exit(2)
}

function write(kind, vendor, names) {
  const folder = join(out, kind, vendor)
  mkdirSync(folder, { recursive: true })
  let count = 0
  for (const { name, svg } of drawings(vendor, names)) {
    writeFileSync(join(folder, `${name}.png`), toPng(cutOut(svg), Number(values.size)))
    count += 1
  }
  return count
}

for (const vendor of VENDORS) {
  const { categories = {} } = require(`@iconify-json/${vendor}/metadata.json`)
  const plants = Object.values(categories).flat().filter((name) => NATURE.test(name))
  const objects = FACELESS.flatMap((category) => categories[category] ?? []).filter((name) => !name.includes('keycap'))
  const things = [...plants, ...objects].filter((name) => !MAY_HAVE_A_FACE.test(name) && !NOT_DRAWABLE.includes(name))
  console.error(`${vendor}: ${write('heads', vendor, HEADS)} heads, ${write('things', vendor, things)} things`)
}
