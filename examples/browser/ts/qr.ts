// QR codes of version 3, error correction M, byte mode: 29 by 29 modules for up to 42 bytes, which is what a verification
// code needs (ISO/IEC 18004).

const SIZE = 29
const DATA = 44
const CORRECTION = 26
/** The longest content, in bytes: four bits of mode and eight of length go before it. */
export const MAX_BYTES = 42

/** The modules of the QR code, row by row; true is dark. */
export function qrCode(content: Uint8Array): boolean[][] {
  if (content.length > MAX_BYTES) throw new Error(`expected at most ${MAX_BYTES} bytes`)
  const data = codewords(content)
  const bits = [...data, ...correction(data)]
  let best: boolean[][] | undefined
  let least = Infinity
  for (let mask = 0; mask < 8; mask++) {
    const modules = draw(bits, mask)
    const found = penalty(modules)
    if (found < least) [best, least] = [modules, found]
  }
  return best as boolean[][]
}

/** Mode 4 (bytes), the length, the content, then padding. */
function codewords(content: Uint8Array): number[] {
  const nibbles = [4, content.length >> 4, content.length & 15]
  for (const byte of content) nibbles.push(byte >> 4, byte & 15)
  nibbles.push(0)
  const words: number[] = []
  for (let i = 0; i < nibbles.length && words.length < DATA; i += 2) {
    words.push(((nibbles[i] ?? 0) << 4) | (nibbles[i + 1] ?? 0))
  }
  for (let pad = 0xec; words.length < DATA; pad ^= 0xec ^ 0x11) words.push(pad)
  return words
}

/** Product in GF(256) modulo x^8 + x^4 + x^3 + x^2 + 1. */
function product(a: number, b: number): number {
  let result = 0
  for (let bit = 7; bit >= 0; bit--) {
    result = (result << 1) ^ ((result >> 7) * 0x11d)
    if ((b >> bit) & 1) result ^= a
  }
  return result
}

/** The Reed-Solomon code words: the remainder by the product of (x - 2^i). */
function correction(data: number[]): number[] {
  let generator = [1]
  let root = 1
  for (let i = 0; i < CORRECTION; i++) {
    const next = [...generator, 0]
    for (let j = 0; j < generator.length; j++) {
      next[j + 1] = (next[j + 1] ?? 0) ^ product(generator[j] ?? 0, root)
    }
    generator = next
    root = product(root, 2)
  }
  const remainder = new Array<number>(CORRECTION).fill(0)
  for (const word of data) {
    const factor = word ^ (remainder.shift() ?? 0)
    remainder.push(0)
    for (let i = 0; i < CORRECTION; i++) {
      remainder[i] = (remainder[i] ?? 0) ^ product(generator[i + 1] ?? 0, factor)
    }
  }
  return remainder
}

const MASKS: ((row: number, column: number) => boolean)[] = [
  (r, c) => (r + c) % 2 === 0,
  (r) => r % 2 === 0,
  (_, c) => c % 3 === 0,
  (r, c) => (r + c) % 3 === 0,
  (r, c) => (Math.floor(r / 2) + Math.floor(c / 3)) % 2 === 0,
  (r, c) => ((r * c) % 2) + ((r * c) % 3) === 0,
  (r, c) => (((r * c) % 2) + ((r * c) % 3)) % 2 === 0,
  (r, c) => (((r + c) % 2) + ((r * c) % 3)) % 2 === 0,
]

function draw(words: number[], mask: number): boolean[][] {
  const modules = Array.from({ length: SIZE }, () => new Array<boolean | undefined>(SIZE).fill(undefined))
  const set = (row: number, column: number, dark: boolean) => {
    const line = modules[row]
    if (line && column >= 0 && column < SIZE) line[column] = dark
  }
  // Timing, then finders with their margins, then the one alignment pattern.
  for (let i = 0; i < SIZE; i++) {
    set(6, i, i % 2 === 0)
    set(i, 6, i % 2 === 0)
  }
  for (const [row, column] of [[3, 3], [3, SIZE - 4], [SIZE - 4, 3]] as const) {
    for (let r = -4; r <= 4; r++) {
      for (let c = -4; c <= 4; c++) {
        const ring = Math.max(Math.abs(r), Math.abs(c))
        set(row + r, column + c, ring !== 2 && ring !== 4)
      }
    }
  }
  for (let r = -2; r <= 2; r++) {
    for (let c = -2; c <= 2; c++) set(22 + r, 22 + c, Math.max(Math.abs(r), Math.abs(c)) !== 1)
  }
  drawFormat(set, mask)
  // The content goes up and down in pairs of columns, from the right, past the timing column.
  let bit = 0
  for (let right = SIZE - 1; right > 0; right -= 2) {
    if (right === 6) right = 5
    const upward = ((right + 1) & 2) === 0
    for (let step = 0; step < SIZE; step++) {
      const row = upward ? SIZE - 1 - step : step
      for (const column of [right, right - 1]) {
        if (modules[row]?.[column] !== undefined) continue
        const dark = (((words[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1) === 1
        bit++
        set(row, column, dark !== (MASKS[mask]?.(row, column) ?? false))
      }
    }
  }
  return modules as boolean[][]
}

/** Level M is 00; the 15 bits are a BCH code, masked. They stand twice. */
function drawFormat(set: (row: number, column: number, dark: boolean) => void, mask: number): void {
  let rest = mask
  for (let i = 0; i < 10; i++) rest = (rest << 1) ^ ((rest >> 9) * 0x537)
  const format = ((mask << 10) | rest) ^ 0x5412
  const dark = (i: number) => ((format >> i) & 1) === 1
  for (let i = 0; i <= 5; i++) set(i, 8, dark(i))
  set(7, 8, dark(6))
  set(8, 8, dark(7))
  set(8, 7, dark(8))
  for (let i = 9; i < 15; i++) set(8, 14 - i, dark(i))
  for (let i = 0; i < 8; i++) set(8, SIZE - 1 - i, dark(i))
  for (let i = 8; i < 15; i++) set(SIZE - 15 + i, 8, dark(i))
  set(SIZE - 8, 8, true)
}

/** How hard the picture is to read: runs, blocks, what looks like a finder, and imbalance. */
function penalty(modules: boolean[][]): number {
  const at = (row: number, column: number) => modules[row]?.[column] ?? false
  let score = 0
  let darks = 0
  for (const turned of [false, true]) {
    for (let line = 0; line < SIZE; line++) {
      const cells = Array.from({ length: SIZE }, (_, i) => (turned ? at(i, line) : at(line, i)))
      const text = cells.map((dark) => (dark ? "1" : "0")).join("")
      for (const run of text.match(/0{5,}|1{5,}/g) ?? []) score += run.length - 2
      for (const finder of ["10111010000", "00001011101"]) {
        for (let i = text.indexOf(finder); i >= 0; i = text.indexOf(finder, i + 1)) score += 40
      }
      if (!turned) darks += cells.filter(Boolean).length
    }
  }
  for (let row = 0; row + 1 < SIZE; row++) {
    for (let column = 0; column + 1 < SIZE; column++) {
      const dark = at(row, column)
      if (dark === at(row, column + 1) && dark === at(row + 1, column) && dark === at(row + 1, column + 1)) score += 3
    }
  }
  return score + 10 * Math.floor(Math.abs((darks / SIZE ** 2) * 20 - 10))
}
