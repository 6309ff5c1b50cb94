// Random numbers that depend on nothing but a text key: the same key always draws the same picture.
import { createHash } from 'node:crypto'

export function randomFrom(key) {
  let count = 0
  const next = () => createHash('sha256').update(`${key}/${count++}`).digest().readUInt32BE() / 2 ** 32
  return {
    between: (low, high) => low + next() * (high - low),
    chance: (probability) => next() < probability,
    pick: (list) => list[Math.floor(next() * list.length)],
    /** One entry of `list`, the likelier the greater its `weight(entry)`. */
    pickWeighted(list, weight) {
      let point = next() * list.reduce((sum, entry) => sum + weight(entry), 0)
      return list.find((entry) => (point -= weight(entry)) < 0) ?? list.at(-1)
    },
  }
}
