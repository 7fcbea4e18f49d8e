// What a frame costs in the worker: encrypted in wasm, and by WebCrypto. Prints a table for the README.
//
//   node test/cipher.mjs PROGRAMS
//
// One page encrypts with the worker's own code, the other opens; the worker gets a few lines more that take the time.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { children, check, dist, launch, serve, until } from "./stage.mjs"

const [programs] = process.argv.slice(2)
if (!programs) throw new Error("expected the folder with the programs")
const LENGTHS = [200, 1_000, 2_000, 3_000, 10_000, 50_000, 200_000]

const STOPWATCH = `
const FRAMES = 100, TRACKS = 4, ROUNDS = 5
const stopwatch = new BroadcastChannel("stopwatch")
const micros = async (frames, run) => {
  const before = performance.now()
  await run()
  return ((performance.now() - before) * 1000) / frames
}
const inTurn = async (items, run) => { for (const item of items) await run(item) }
/** The best of some rounds: frames of one track, one after the other, and frames of several tracks at a time. */
async function best(rounds) {
  const found = { one: Infinity, many: Infinity }
  for (const [one, many] of rounds) {
    found.one = Math.min(found.one, await micros(FRAMES, one))
    found.many = Math.min(found.many, await micros(FRAMES, many))
  }
  return found
}
stopwatch.onmessage = async ({ data }) => {
  if (data.ask === "seal" && start?.identity.startsWith("Anna")) {
    for (let track = 0; track < TRACKS; track++) call.send_track(90 + track, "vp9")
    for (const length of data.lengths) {
      const plain = new Uint8Array(length).map((_, i) => i)
      const frames = []
      const to = (track) => async () => frames.push(await seal(call, track, plain, true))
      const share = Array(FRAMES / TRACKS).fill()
      const round = [() => inTurn(Array(FRAMES).fill(), to(90)), () => Promise.all([90, 91, 92, 93].map((track) => inTurn(share, to(track))))]
      const sealed = await best(Array(ROUNDS).fill(round))
      stopwatch.postMessage({ ask: "open", length, sealed, frames, by: start.identity })
    }
  } else if (data.ask === "open" && start?.identity.startsWith("Ben")) {
    const { length, sealed, frames, by } = data
    call.receive_track("watched", by, "vp9")
    let opened = 0
    const take = async (frame) => { if (await open(call, "watched", 0, frame)) opened++ }
    const part = () => frames.splice(0, FRAMES)
    const rounds = Array(ROUNDS).fill().map(() => {
      const [one, many] = [part(), part()]
      const shares = [0, 1, 2, 3].map((share) => many.filter((_, i) => i % TRACKS === share))
      return [() => inTurn(one, take), () => Promise.all(shares.map((share) => inTurn(share, take)))]
    })
    stopwatch.postMessage({ ask: "note", length, sealed, opened: await best(rounds), failed: 2 * ROUNDS * FRAMES - opened })
  }
}
`

/** Times by length, with WebCrypto for frames of at least `large` bytes. */
async function measure(browser, large) {
  const work = mkdtempSync(join(tmpdir(), "framelock-cipher-"))
  cpSync(dist, join(work, "page"), { recursive: true })
  const worker = join(work, "page/worker.js")
  const script = readFileSync(worker, "utf8")
  check(/const LARGE = \d+;/.test(script), "the worker names the border")
  writeFileSync(worker, script.replace(/const LARGE = \d+;/, `const LARGE = ${large};`) + STOPWATCH)
  const { server, origin } = await serve(programs, work, join(work, "page"))
  const context = await browser.newContext()
  const come = async (name, link) => {
    const page = await context.newPage()
    await page.goto(link)
    await page.fill("#name", name)
    await page.uncheck("#with-camera")
    await page.uncheck("#with-microphone")
    await page.keyboard.press("Enter")
    await until(() => page.locator("#people li").count(), `${name} is a member`)
    return page
  }
  try {
    const anna = await come("Anna", `${origin}/?room=cipher`)
    const ben = await come("Ben", anna.url())
    for (const page of [anna, ben]) await until(async () => (await page.locator("#people li").count()) === 2, "both are members")
    // Senders have switched by then.
    await anna.waitForTimeout(1000)
    return await anna.evaluate(
      (lengths) =>
        new Promise((done) => {
          const notes = []
          const stopwatch = new BroadcastChannel("stopwatch")
          stopwatch.onmessage = ({ data }) => {
            if (data.ask === "note" && notes.push(data) === lengths.length) done(notes)
          }
          stopwatch.postMessage({ ask: "seal", lengths })
        }),
      LENGTHS,
    )
  } finally {
    await context.close()
    server.kill("SIGTERM")
    await server.ended
    rmSync(work, { recursive: true, force: true })
  }
}

const browser = await launch()
try {
  const [wasm, web] = [await measure(browser, 0xffffffff), await measure(browser, 1)]
  console.log(`Chromium ${browser.version()}, ${cpus()[0].model}, ${new Date().toISOString().slice(0, 10)}; microseconds a frame`)
  console.log("| Frame | encrypt, wasm | WebCrypto | 4 tracks: wasm | WebCrypto | open, wasm | WebCrypto | 4 at a time: wasm | WebCrypto |\n|---|---|---|---|---|---|---|---|---|")
  for (const [index, { length, sealed, opened, failed }] of wasm.entries()) {
    const other = web[index]
    check(failed === 0 && other.failed === 0, `all frames of ${length} bytes are opened`)
    const values = [sealed.one, other.sealed.one, sealed.many, other.sealed.many, opened.one, other.opened.one, opened.many, other.opened.many]
    console.log(`| ${length} B | ${values.map((value) => value.toFixed(0)).join(" | ")} |`)
  }
} finally {
  await browser.close()
  for (const child of children) if (child.exitCode === null) child.kill("SIGKILL")
}
