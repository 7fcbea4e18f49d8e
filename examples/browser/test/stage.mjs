// What the tests in Chromium share: programs, a server with the page, a browser.
import { spawn } from "node:child_process"
import { createSocket } from "node:dgram"
import { writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join, resolve } from "node:path"
import { chromium } from "playwright-core"

/** What a busy machine may take for anything, in milliseconds. */
const PATIENCE = 60_000

/** The programs that were started. */
export const children = []

export function check(holds, words) {
  if (!holds) throw new Error(words)
}

/** Asks until the answer is truthy. */
export async function until(question, words, patience = PATIENCE) {
  const end = Date.now() + patience
  let last
  while (Date.now() < end) {
    last = await question()
    if (last) return last
    await new Promise((done) => setTimeout(done, 250))
  }
  throw new Error(`${words} within ${patience / 1000} s`)
}

export function start(program, args) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] })
  child.output = ""
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (child.output += data))
  child.ended = new Promise((done) => child.on("exit", done))
  children.push(child)
  return child
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

/** Where the page is built. */
export const dist = resolve(import.meta.dirname, "../dist")

/** A server with the page; its own files are kept in the folder `work`. */
export async function serve(programs, work, page = dist) {
  const [signalling, media] = [await freeTcp(), await freeUdp()]
  const config = join(work, "sfu.toml")
  writeFileSync(
    config,
    `[signalling]\nlisten = "127.0.0.1:${signalling}"\n[media]\nlisten = "127.0.0.1:${media}"\n` +
      `[tokens]\nsecret_file = "${join(work, "token.secret")}"\n[log]\nfilter = "warn"\n`,
  )
  const server = start(resolve(programs, "sfu-sim"), ["serve", config, "--page", page])
  const address = `127.0.0.1:${signalling}`
  await until(() => fetch(`http://${address}/healthz`).then((answer) => answer.ok, () => false), "the server starts")
  return { server, config, address, origin: `http://${address}` }
}

export function launch() {
  return chromium.launch({
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
      // All pages are in the foreground, as they would be on different machines.
      "--disable-backgrounding-occluded-windows",
      "--disable-renderer-backgrounding",
      "--disable-background-timer-throttling",
    ],
  })
}
