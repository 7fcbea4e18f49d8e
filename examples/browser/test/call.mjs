// A call of Chromium pages and a webrtc-rs client over the real server. Prints one closing line; fails with a sentence.
//
//   node test/call.mjs PROGRAMS [SCREENSHOTS]
//
// PROGRAMS is the folder with `sfu-sim` and `client`; with SCREENSHOTS, pictures of the page are left there.
import { execFileSync, spawn } from "node:child_process"
import { createSocket } from "node:dgram"
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import jsQR from "jsqr"
import { chromium } from "playwright-core"

const [programs, screenshots] = process.argv.slice(2)
if (!programs) throw new Error("expected the folder with the programs")
const room = "test"
const work = mkdtempSync(join(tmpdir(), "framelock-browser-"))
const children = []
/** What a busy machine may take for anything, in milliseconds. */
const PATIENCE = 60_000

function check(holds, words) {
  if (!holds) throw new Error(words)
}

const freeTcp = () =>
  new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => done(port))
    })
  })
const freeUdp = () =>
  new Promise((done) => {
    const socket = createSocket("udp4").bind(0, "127.0.0.1", () => {
      const { port } = socket.address()
      socket.close(() => done(port))
    })
  })

function start(program, args) {
  const child = spawn(resolve(programs, program), args, { stdio: ["ignore", "pipe", "pipe"] })
  child.output = ""
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (child.output += data))
  child.ended = new Promise((done) => child.on("exit", done))
  children.push(child)
  return child
}

/** Asks until the answer is truthy. */
async function until(question, words, patience = PATIENCE) {
  const end = Date.now() + patience
  let last
  while (Date.now() < end) {
    last = await question()
    if (last) return last
    await new Promise((done) => setTimeout(done, 250))
  }
  throw new Error(`${words} within ${patience / 1000} s`)
}

// Runs in the page before anything else, so that the test sees what the page's own code does not show.
function watch() {
  window.peers = []
  const Peer = RTCPeerConnection
  window.RTCPeerConnection = class extends Peer {
    constructor(...options) {
      super(...options)
      window.peers.push(this)
    }
  }
  const Plain = Worker
  window.Worker = class extends Plain {
    constructor(...options) {
      super(...options)
      this.addEventListener("message", ({ data }) => {
        if (data.type === "statistics") window.frames_seen = data.statistics
        if (data.type === "epoch") window.epoch = data
      })
    }
  }
}

const everybody = []

class Person {
  constructor(name, page) {
    everybody.push(this)
    this.name = name
    this.page = page
    this.errors = []
    page.on("pageerror", (error) => this.errors.push(String(error)))
    page.on("console", (message) => {
      // The guest's token is refused where that is tested.
      if (message.type() === "error") this.errors.push(message.text())
    })
  }

  static async come(browser, name, link, codec, alter) {
    const context = await browser.newContext({ permissions: ["camera", "microphone"], viewport: { width: 1100, height: 800 } })
    const page = await context.newPage()
    const person = new Person(name, page)
    await page.addInitScript(watch)
    if (alter) await alter(page)
    await page.goto(link)
    await page.fill("#name", name)
    await page.selectOption("#codec", codec)
    await page.keyboard.press("Enter")
    return person
  }

  get link() {
    return this.page.url()
  }

  async member() {
    await until(() => this.page.evaluate(() => window.epoch?.code), `${this.name} is a member`).catch(async (error) => {
      const words = await this.page.locator("#status, .trouble").allTextContents()
      throw new Error(`${error.message}; the page says: ${words.join(" ")}; errors: ${this.errors.join("; ")}`)
    })
  }

  epoch() {
    return this.page.evaluate(() => window.epoch?.epoch ?? -1)
  }

  roster() {
    return this.page.evaluate(() => (window.epoch?.roster ?? []).map(({ identity }) => identity))
  }

  /** Which tracks are decoded: whose, of which codec, how many frames or samples of sound. */
  async received() {
    return this.page.evaluate(async () => {
      const found = []
      const peer = window.peers.at(-1)
      const report = await peer?.getStats()
      const owners = new Map((window.frames_seen?.received ?? []).map((track) => [track.mid, track]))
      report?.forEach((entry) => {
        const track = entry.type === "inbound-rtp" && owners.get(entry.mid)
        if (!track) return
        const codec = report.get(entry.codecId)?.mimeType?.split("/")[1] ?? ""
        const decoded = entry.kind === "video" ? entry.framesDecoded : Math.floor((entry.totalAudioEnergy ?? 0) * 1e6)
        found.push({ participant: track.participant, kind: entry.kind, codec, decoded: decoded ?? 0, opened: track.opened })
      })
      return found
    })
  }

  /** Waits until pictures and sound of all these people grow. */
  async decodes(people) {
    const key = ({ participant, kind }) => `${participant} ${kind}`
    let before = new Map((await this.received()).map((track) => [key(track), track.decoded]))
    let missing
    const grown = async () => {
      const tracks = await this.received()
      missing = people.flatMap((identity) =>
        ["video", "audio"].filter((kind) => {
          const track = tracks.find((track) => track.participant === identity && track.kind === kind)
          return !track || track.decoded <= (before.get(key(track)) ?? 0) + (kind === "video" ? 5 : 0)
        }).map((kind) => `${identity}'s ${kind}`),
      )
      return missing.length === 0
    }
    await until(grown, `${this.name} decodes everybody`).catch(async (error) => {
      const seen = JSON.stringify(await Promise.all(everybody.map((person) => person.page.evaluate(() => window.frames_seen).catch(() => undefined))))
      throw new Error(`${error.message}; missing: ${missing.join(", ")}; frames: ${seen}; errors: ${this.errors.join("; ")}`)
    })
  }

  /** Whether the pictures of all others move. */
  async moves() {
    const picture = () =>
      this.page.evaluate(() =>
        [...document.querySelectorAll("figure:not(.mine) video")].map((video) => {
          const canvas = document.createElement("canvas")
          canvas.width = canvas.height = 64
          const context = canvas.getContext("2d")
          context.drawImage(video, 0, 0, 64, 64)
          return [...context.getImageData(0, 0, 64, 64).data].join(",")
        }),
      )
    const first = await picture()
    await until(async () => {
      const now = await picture()
      return now.length > 0 && now.length === first.length && now.every((pixels, i) => pixels !== first[i])
    }, `the pictures at ${this.name} move`)
  }

  /** Frames that came and were not opened although they should have been. What was sent before one joined is for others. */
  undecryptable() {
    return this.page.evaluate(() =>
      (window.frames_seen?.received ?? []).reduce((sum, { refused }) => {
        return sum + Object.entries(refused).reduce((n, [reason, count]) => n + (reason === "before-join" ? 0 : count), 0)
      }, 0),
    )
  }

  async code() {
    const groups = await this.page.locator("#digits li").allTextContents()
    const image = await this.page.evaluate(() => {
      const canvas = document.getElementById("qr")
      const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
      return { data: [...data], width, height }
    })
    const qr = jsQR(Uint8ClampedArray.from(image.data), image.width, image.height)
    return { digits: groups.join(" "), qr: qr && Buffer.from(qr.binaryData).toString("hex") }
  }
}

async function run() {
  const [signalling, media] = [await freeTcp(), await freeUdp()]
  const config = join(work, "sfu.toml")
  writeFileSync(
    config,
    `[signalling]\nlisten = "127.0.0.1:${signalling}"\n[media]\nlisten = "127.0.0.1:${media}"\n` +
      `[tokens]\nsecret_file = "${join(work, "token.secret")}"\n[log]\nfilter = "warn"\n`,
  )
  const server = start("sfu-sim", ["serve", config, "--page", resolve(import.meta.dirname, "../dist")])
  const origin = `http://127.0.0.1:${signalling}`
  await until(() => fetch(`${origin}/healthz`).then((answer) => answer.ok, () => false), "the server starts")

  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      "--autoplay-policy=no-user-gesture-required",
      // A script that the test has altered has no address, and so may not speak to this machine otherwise.
      "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
      // All pages are in the foreground, as they would be on different machines.
      "--disable-backgrounding-occluded-windows",
      "--disable-renderer-backgrounding",
      "--disable-background-timer-throttling",
    ],
  })
  const version = browser.version().split(".")[0]
  let decoded = 0
  let undecryptable = 0
  const count = async (person) => {
    decoded += (await person.received()).reduce((sum, track) => sum + (track.kind === "video" ? track.decoded : 0), 0)
    undecryptable += await person.undecryptable()
  }
  try {
    const alice = await Person.come(browser, "Alice", `${origin}/?room=${room}`, "vp8")
    await alice.member()
    const link = alice.link
    const invite = new URL(link).hash.split("invite=")[1]
    const bob = await Person.come(browser, "Bob", link, "vp9")
    await bob.member()

    const token = execFileSync(resolve(programs, "sfu-sim"), ["token", config, "--room", room, "--identity", "rust"], { encoding: "utf8" })
    const recordings = join(work, "recordings")
    const rust = start("client", [
      "--url", `ws://127.0.0.1:${signalling}/v1/ws`, "--token", token.trim(), "--invite", invite, "--for-browsers", "--record", recordings,
    ])
    await until(async () => (await alice.roster()).length === 3 && (await bob.roster()).length === 3, "all three are members")
    const [a, b] = [(await alice.roster()).find((name) => name.startsWith("Alice")), (await alice.roster()).find((name) => name.startsWith("Bob"))]
    await Promise.all([alice.decodes([b, "rust"]), bob.decodes([a, "rust"])])
    await Promise.all([alice.moves(), bob.moves()])
    const codecs = new Set([...(await alice.received()), ...(await bob.received())].map((track) => track.codec))
    for (const codec of ["VP8", "VP9", "opus"]) check(codecs.has(codec), `expected ${codec} among ${[...codecs]}`)
    await until(() => rust.output.includes(`${a}: `) && rust.output.includes(`${b}: `), "the Rust client opens frames of both")

    const [first, second] = [await alice.code(), await bob.code()]
    check(/^(\d{5} ){7}\d{5}$/.test(first.digits), `expected a code of 40 digits, found ${first.digits}`)
    check(first.digits === second.digits, "both see the same code")
    check(first.qr?.length === 82 && first.qr === second.qr, "both show the same QR code, and it can be read")
    await alice.page.getByRole("button", { name: "The code matches with Bob" }).click()
    await until(async () => (await alice.page.locator("#people .verified").count()) === 1, "Bob shows as verified")
    if (screenshots) await pictures(alice)

    // One joins, one leaves, one reloads.
    const carol = await Person.come(browser, "Carol", link, "vp8")
    await carol.member()
    const c = (await carol.roster()).find((name) => name.startsWith("Carol"))
    await Promise.all([alice.decodes([b, c, "rust"]), bob.decodes([a, c, "rust"]), carol.decodes([a, b, "rust"])])
    check((await alice.page.locator("#people .verified").count()) === 1, "Bob is still verified in the next epoch")
    await count(bob)
    await bob.page.getByRole("button", { name: "Leave" }).click()
    await until(() => bob.page.getByText("You have left the call.").isVisible(), "Bob reads that he has left")
    await until(async () => (await alice.roster()).length === 3, "Bob is removed")
    await Promise.all([alice.decodes([c, "rust"]), carol.decodes([a, "rust"])])
    await count(carol)
    const before = await alice.epoch()
    await carol.page.reload()
    await carol.member()
    await until(async () => (await alice.epoch()) > before && (await alice.roster()).length === 3, "Carol is back")
    await Promise.all([alice.decodes([c, "rust"]), carol.decodes([a, "rust"])])
    await Promise.all([alice.moves(), carol.moves()])

    // A link with another secret: nothing is shown, and the page says so.
    const wrong = await Person.come(browser, "Mallory", link.replace(/invite=.*/, "invite=00112233"), "vp8")
    await until(() => wrong.page.getByText("nothing can be shown").isVisible(), "Mallory reads that the secret is wrong")
    check((await wrong.page.locator("figure").count()) === 0, "Mallory sees no tile")
    if (screenshots) await wrong.page.screenshot({ path: join(screenshots, "wrong-link.png") })
    await wrong.page.context().close()
    await until(async () => (await alice.roster()).length === 3, "Mallory is gone")

    // Keys that do not fit, as every frame is altered before it is opened: nothing is shown, and each tile says so.
    const deaf = await Person.come(browser, "Dora", link, "vp8", (page) =>
      page.route("**/worker.js", async (route) => {
        const answer = await route.fetch()
        const script = (await answer.text()).replace("keys.open(mid, number, new Uint8Array(frame.data)", "keys.open(mid, number, new Uint8Array(frame.data).map((byte, i, all) => i === all.length - 1 ? byte ^ 1 : byte)")
        check(script.includes("byte ^ 1"), "the worker opens frames where the test expects it")
        await route.fulfill({ response: answer, body: script })
      }),
    )
    await deaf.member()
    const closed = deaf.page.locator('figure[data-state="closed"]')
    await until(async () => (await closed.count()) === 3, "all tiles of others say that they cannot be opened")
    check((await closed.first().locator(".cover").textContent()).includes("wrong key"), "the tile says why")
    check((await deaf.received()).every((track) => track.decoded === 0 && track.opened === 0), "nothing was decoded")
    if (screenshots) await deaf.page.screenshot({ path: join(screenshots, "wrong-key.png") })
    await deaf.page.getByRole("button", { name: "Leave" }).click()
    await until(async () => (await alice.roster()).length === 3, "Dora is removed")
    await alice.decodes([c, "rust"])

    const epochs = (await alice.epoch()) + 1
    await Promise.all([count(alice), count(carol)])
    rust.kill("SIGINT")
    check((await rust.ended) === 0, `the Rust client ends in order:\n${rust.output}`)
    check(!/not opened/.test(rust.output.replaceAll(/\d+ not opened \(before-join\)/g, "")), `the Rust client opened everything:\n${rust.output}`)
    const native = recorded(recordings)
    for (const person of [alice, carol]) check(person.errors.length === 0, `no errors at ${person.name}: ${person.errors.join("; ")}`)
    check(undecryptable === 0, `expected no undecryptable frame, found ${undecryptable}`)
    return (
      `browser: 6 pages in Chromium ${version} and 1 webrtc-rs client, VP8, VP9 and Opus, ${epochs} epochs, ` +
      `${decoded} frames decoded in pages and ${native.frames} of ${native.files} recordings of the webrtc-rs client, ${undecryptable} undecryptable`
    )
  } finally {
    await browser.close()
    server.kill("SIGTERM")
    await server.ended
  }
}

/** Decodes what the Rust client has recorded. */
function recorded(folder) {
  let frames = 0
  const files = readdirSync(folder).filter((name) => name.endsWith(".ivf"))
  for (const name of files) {
    const args = ["-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames,codec_name", "-of", "csv=p=0"]
    const found = execFileSync("ffprobe", [...args, join(folder, name)], { encoding: "utf8" }).trim().split(",")
    check(Number(found[1]) > 0, `expected decodable frames in ${name}, found ${found}`)
    frames += Number(found[1])
  }
  check(files.length >= 3, `expected recordings of three, found ${files}`)
  check(frames > 100, `expected more than 100 decodable frames, found ${frames}`)
  return { frames, files: files.length }
}

async function pictures({ page }) {
  const shot = (name) => page.screenshot({ path: join(screenshots, name) })
  await page.emulateMedia({ colorScheme: "light" })
  await page.locator("#statistics-box summary").click()
  await page.waitForTimeout(1500)
  await shot("call.png")
  await page.emulateMedia({ colorScheme: "dark" })
  await page.setViewportSize({ width: 390, height: 844 })
  await page.waitForTimeout(500)
  await shot("phone.png")
  await page.emulateMedia({ colorScheme: null })
  await page.setViewportSize({ width: 1100, height: 800 })
  await page.locator("#statistics-box summary").click()
}

try {
  console.log(await run())
} catch (error) {
  console.error(`browser: FAILED: ${error.message}`)
  process.exitCode = 1
} finally {
  for (const child of children) if (child.exitCode === null) child.kill("SIGKILL")
  rmSync(work, { recursive: true, force: true })
}
