// A call of Chromium pages and a webrtc-rs client over the real server. Prints one closing line; fails with a sentence.
//
//   node test/call.mjs PROGRAMS [SCREENSHOTS]
//
// PROGRAMS is the folder with `sfu-sim` and `client`; with SCREENSHOTS, pictures of the page are left there.
import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import jsQR from "jsqr"
import { check, children, launch, serve, start, until } from "./stage.mjs"

const [programs, screenshots] = process.argv.slice(2)
if (!programs) throw new Error("expected the folder with the programs")
const room = "test"
const work = mkdtempSync(join(tmpdir(), "framelock-browser-"))
/** More frames than this are in each recording; the test waits for them before anybody leaves. */
const RECORDED = 20

// Runs in the page before anything else, so that the test sees what the page's own code does not show.
function watch() {
  window.peers = []
  window.told = []
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
        if (data.type === "statistics" || data.type === "participants") return
        const { type, epoch, phase, words, identity, event } = data
        const sent = window.frames_seen?.sent.map((track) => track.epoch)
        window.told.push({ at: Date.now(), type, epoch, phase, words, identity, media: event?.type, sent })
      })
    }
  }
}

const everybody = []

/** What everybody has heard and seen lately, for whoever reads why a run failed. */
async function stories() {
  const of = async ({ name, page, errors }) => {
    const seen = await page.evaluate(() => ({ told: window.told.slice(-40), frames: window.frames_seen })).catch(() => undefined)
    const told = (seen?.told ?? []).map(({ at, ...what }) => `${new Date(at).toISOString().slice(14, 23)} ${JSON.stringify(what)}`)
    return [`== ${name}`, ...told, JSON.stringify(seen?.frames), ...errors].join("\n")
  }
  const programs = children.map((child) => `== ${child.spawnargs[0]}\n${child.output.slice(-4000)}`)
  return [...(await Promise.all(everybody.map(of))), ...programs].join("\n")
}

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
    await until(() => this.page.evaluate(() => window.epoch?.code), `${this.name} is a member`)
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
    await until(grown, `${this.name} decodes everybody`).catch((error) => {
      throw new Error(`${error.message}; missing: ${missing.join(", ")}`)
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

  /** Frames of everybody but this one that were not opened although they should have been. What was sent before one joined is for others. */
  undecryptable(but) {
    return this.page.evaluate(
      (but) =>
        (window.frames_seen?.received ?? []).reduce((sum, { participant, refused }) => {
          const counts = Object.entries(participant === but ? {} : refused)
          return sum + counts.reduce((n, [reason, count]) => n + (reason === "before-join" ? 0 : count), 0)
        }, 0),
      but,
    )
  }

  /** Waits until the tiles of these people say that they cannot be opened, and why; nothing of them is decoded. */
  async isShownNothingOf(people) {
    const cover = (identity) => this.page.locator(`figure[data-identity="${identity}"][data-state="closed"] .cover`)
    await until(async () => {
      const said = await Promise.all(people.map((identity) => cover(identity).allTextContents()))
      return said.every(([words]) => words?.includes("Nothing is shown: wrong key"))
    }, `${this.name} reads that ${people.join(", ")} cannot be opened`)
    const theirs = (await this.received()).filter(({ participant }) => people.includes(participant))
    check(theirs.length === 2 * people.length, `${this.name} receives picture and sound of ${people.join(", ")}`)
    check(theirs.every((track) => track.decoded === 0 && track.opened === 0), `${this.name} decodes nothing of ${people.join(", ")}`)
  }

  /** Walks through the page by the tabulator key up to the element that `wanted` describes, and returns what it met. */
  async walk(wanted) {
    const met = []
    for (let steps = 0; steps < 40; steps++) {
      await this.page.keyboard.press("Tab")
      met.push(await this.page.evaluate(() => document.activeElement?.id || document.activeElement?.getAttribute("aria-label") || document.activeElement?.localName))
      if (met.at(-1) === wanted) return met
    }
    throw new Error(`${this.name} reaches ${wanted} by keyboard, found ${met}`)
  }

  /** Whether all of the call stands in a window as wide as a phone's. */
  async fitsPhone() {
    await this.page.setViewportSize({ width: 360, height: 740 })
    const outside = await this.page.evaluate(() =>
      [...document.querySelectorAll("#call button, #call h2, #call figure, #digits li, #qr")]
        .filter((element) => element.getClientRects().length > 0 && element.getBoundingClientRect().right > innerWidth)
        .map((element) => element.id || element.textContent),
    )
    const width = await this.page.evaluate(() => document.documentElement.scrollWidth)
    check(outside.length === 0 && width <= 360, `everything fits a phone, found a page of ${width} pixels and outside: ${outside}`)
    await this.page.setViewportSize({ width: 1100, height: 800 })
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
  const { server, config, address, origin } = await serve(programs, work)
  const browser = await launch()
  const version = browser.version().split(".")[0]
  let decoded = 0
  let undecryptable = 0
  const count = async (person, but) => {
    decoded += (await person.received()).reduce((sum, track) => sum + (track.kind === "video" ? track.decoded : 0), 0)
    undecryptable += await person.undecryptable(but)
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
    const recorded = (identity) => until(() => recordedFrames(recordings, identity) > RECORDED, `the Rust client records ${identity}`)
    const rust = start(resolve(programs, "client"), [
      "--url", `ws://${address}/v1/ws`, "--token", token.trim(), "--invite", invite, "--for-browsers", "--record", recordings,
    ])
    await until(async () => (await alice.roster()).length === 3 && (await bob.roster()).length === 3, "all three are members")
    const [a, b] = [(await alice.roster()).find((name) => name.startsWith("Alice")), (await alice.roster()).find((name) => name.startsWith("Bob"))]
    await Promise.all([alice.decodes([b, "rust"]), bob.decodes([a, "rust"])])
    await Promise.all([alice.moves(), bob.moves()])
    const codecs = new Set([...(await alice.received()), ...(await bob.received())].map((track) => track.codec))
    for (const codec of ["VP8", "VP9", "opus"]) check(codecs.has(codec), `expected ${codec} among ${[...codecs]}`)
    await Promise.all([recorded(a), recorded(b)])

    // An epoch may begin between the two readings.
    const [first, second] = await until(async () => {
      const codes = [await alice.code(), await bob.code()]
      return codes[0].digits === codes[1].digits && codes
    }, "both see the same code")
    check(/^(\d{5} ){7}\d{5}$/.test(first.digits), `expected a code of 40 digits, found ${first.digits}`)
    check(first.qr?.length === 82 && first.qr === second.qr, "both show the same QR code, and it can be read")
    // With the keyboard alone.
    const met = await alice.walk("The code matches with Bob")
    for (const control of ["microphone", "camera", "invite", "leave"]) check(met.includes(control), `the keyboard reaches ${control}, found ${met}`)
    await alice.page.keyboard.press("Enter")
    await until(async () => (await alice.page.locator("#people .verified").count()) === 1, "Bob shows as verified")
    await alice.fitsPhone()
    if (screenshots) await pictures(alice)

    // One joins, one leaves, one reloads.
    const carol = await Person.come(browser, "Carol", link, "vp8")
    await carol.member()
    const c = (await carol.roster()).find((name) => name.startsWith("Carol"))
    await Promise.all([alice.decodes([b, c, "rust"]), bob.decodes([a, c, "rust"]), carol.decodes([a, b, "rust"])])
    check((await alice.page.locator("#people .verified").count()) === 1, "Bob is still verified in the next epoch")
    await recorded(c)
    await count(bob)
    await bob.walk("leave")
    await bob.page.keyboard.press("Enter")
    await until(() => bob.page.getByText("You have left the call.").isVisible(), "Bob reads that he has left")
    await until(async () => (await alice.roster()).length === 3, "Bob is removed")
    await Promise.all([alice.decodes([c, "rust"]), carol.decodes([a, "rust"])])
    await count(carol)
    const before = await alice.epoch()
    await carol.page.reload()
    await carol.member()
    await until(async () => (await alice.epoch()) > before && (await alice.roster()).length === 3, "Carol is back")
    await Promise.all([alice.decodes([c, "rust"]), carol.decodes([a, "rust"])])
    await Promise.all([alice.moves(), carol.moves(), recorded(c)])

    // A link with another secret: nothing is shown, and the page says so.
    const wrong = await Person.come(browser, "Mallory", link.replace(/invite=.*/, "invite=00112233"), "vp8")
    await until(() => wrong.page.getByText("nothing can be shown").isVisible(), "Mallory reads that the secret is wrong")
    check((await wrong.page.locator("figure").count()) === 0, "Mallory sees no tile")
    if (screenshots) await wrong.page.screenshot({ path: join(screenshots, "wrong-link.png") })
    await wrong.page.context().close()
    await until(async () => (await alice.roster()).length === 3, "Mallory is gone")

    // A member with other media keys: it derives them under another exporter label. Nothing is shown, at it and of it, and each tile says so.
    const deaf = await Person.come(browser, "Dora", link, "vp8", otherLabel)
    await deaf.member()
    const d = (await deaf.roster()).find((name) => name.startsWith("Dora"))
    await Promise.all([deaf.isShownNothingOf([a, c, "rust"]), alice.isShownNothingOf([d]), carol.isShownNothingOf([d])])
    if (screenshots) await deaf.page.screenshot({ path: join(screenshots, "wrong-key.png") })
    await Promise.all([alice.decodes([c, "rust"]), carol.decodes([a, "rust"])])
    await Promise.all([count(alice, d), count(carol, d)])
    await deaf.page.getByRole("button", { name: "Leave" }).click()
    await until(async () => (await alice.roster()).length === 3, "Dora is removed")
    await Promise.all([alice.decodes([c, "rust"]), carol.decodes([a, "rust"])])

    const epochs = (await alice.epoch()) + 1
    rust.kill("SIGINT")
    check((await rust.ended) === 0, "the Rust client ends in order")
    const shown = rust.output.trimEnd().split("\n").findLast((line) => line.startsWith("  sent ")) ?? ""
    const of = (identity) => shown.split("; ").find((part) => part.startsWith(`${identity}: `)) ?? ""
    check(/: 0 video, 0 audio(, \d+ not opened \((unauthentic|before-join)\))+$/.test(of(d)), `the Rust client opened nothing of Dora's: ${of(d)}`)
    const rest = shown.replace(of(d), "").replaceAll(/\d+ not opened \(before-join\)/g, "")
    check(!rest.includes("not opened"), `the Rust client opened everything else: ${shown}`)
    const native = recordedMedia(recordings)
    check(native.names.filter((name) => name.startsWith(b)).every((name) => native.codecs.get(name) === "vp9"), "Bob sends VP9")
    check(!native.names.some((name) => name.startsWith("Dora")), "nothing of Dora's was recorded")
    for (const person of [alice, carol]) check(person.errors.length === 0, `no errors at ${person.name}: ${person.errors.join("; ")}`)
    check(undecryptable === 0, `expected no undecryptable frame, found ${undecryptable}`)
    return (
      `browser: 6 pages in Chromium ${version} and 1 webrtc-rs client, VP8, VP9 and Opus, ${epochs} epochs, ` +
      `${decoded} frames decoded in pages and ${native.frames} of ${native.names.length} recordings of the webrtc-rs client, ${undecryptable} undecryptable; ` +
      "a page with other media keys was shown nothing, and said so"
    )
  } catch (error) {
    console.error(await stories())
    throw error
  } finally {
    await browser.close()
    server.kill("SIGTERM")
    await server.ended
  }
}

/** Frames in the newest of the Rust client's recordings of somebody, as far as they are on the disk. */
function recordedFrames(folder, identity) {
  const number = (name) => Number(/-(\d+)\.ivf$/.exec(name.slice(identity.length))?.[1] ?? 1)
  const names = readdirSync(folder).filter((name) => name.startsWith(identity) && name.endsWith(".ivf"))
  const newest = names.sort((one, other) => number(one) - number(other)).at(-1)
  if (!newest) return 0
  const file = readFileSync(join(folder, newest))
  let frames = 0
  for (let at = 32; at + 12 <= file.length; frames++) {
    at += 12 + file.readUInt32LE(at)
    if (at > file.length) break
  }
  return frames
}

/** Decodes what the Rust client has recorded, pictures and sound. */
function recordedMedia(folder) {
  let frames = 0
  const codecs = new Map()
  for (const name of readdirSync(folder)) {
    const args = ["-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames,codec_name", "-of", "csv=p=0"]
    const [codec, count] = execFileSync("ffprobe", [...args, join(folder, name)], { encoding: "utf8" }).trim().split(",")
    check(Number(count) > RECORDED, `expected more than ${RECORDED} decodable frames in ${name}, found ${count} of ${codec}`)
    codecs.set(name, codec)
    if (codec !== "opus") frames += Number(count)
  }
  const names = [...codecs.keys()].filter((name) => name.endsWith(".ivf"))
  check(names.length >= 4 && codecs.size >= 8, `expected recordings of Alice, Bob, and Carol before and after her reload, found ${[...codecs.keys()]}`)
  return { frames, names, codecs }
}

const LABEL = Buffer.from("SFrame 1.0 Base Key")

/** A page that exports its base keys under another label. */
function otherLabel(page) {
  return page.route("**/*.wasm", async (route) => {
    const answer = await route.fetch()
    const wasm = await answer.body()
    const at = wasm.indexOf(LABEL)
    check(at > 0 && wasm.indexOf(LABEL, at + 1) < 0, "the label of the base key stands in the wasm once")
    wasm.write("X", at)
    await route.fulfill({ response: answer, body: wasm })
  })
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
