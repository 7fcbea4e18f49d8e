// The page: join with a name, see everyone, compare codes, leave.

import { Connection, type Publication } from "./connection.js"
import { Call, isSupported, type Codec, type EpochEvent, type Member, type Participant, type Statistics } from "./framelock.js"
import { qrCode } from "./qr.js"
import { Tiles } from "./tiles.js"

function element<Kind extends HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind
}

/** Where a reload finds who one was. */
const TOKEN = "framelock token"
const NAME = "framelock name"

/** The room stands in the query; the secret stands behind the #, which no server sees. */
const address = new URL(location.href)
const room = () => element<HTMLInputElement>("room").value.trim()
const secret = () => new URLSearchParams(location.hash.slice(1)).get("invite")

element<HTMLInputElement>("room").value = address.searchParams.get("room") ?? "demo"
element<HTMLInputElement>("name").value = sessionStorage.getItem(NAME) ?? ""
element<HTMLSelectElement>("codec").value = address.searchParams.get("codec") ?? "vp8"
element<HTMLFormElement>("join").addEventListener("submit", (event) => {
  event.preventDefault()
  void enter()
})
if (!isSupported()) {
  entranceTrouble("This browser cannot encrypt calls: it lacks RTCRtpScriptTransform. Current versions of Chrome, Edge, Firefox and Safari have it.")
} else if (sessionStorage.getItem(TOKEN)) {
  // Reloaded in the middle of a call.
  void enter()
}

function entranceTrouble(words: string): void {
  element("entrance-trouble").textContent = words
}

/** 128 random bits, so that nobody guesses them. */
function freshSecret(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("")
}

async function enter(): Promise<void> {
  entranceTrouble("")
  const name = element<HTMLInputElement>("name").value.trim()
  if (!secret()) {
    // Whoever comes first makes the secret; the others get it with the link.
    history.replaceState(null, "", `?room=${encodeURIComponent(room())}#invite=${freshSecret()}`)
  }
  try {
    const token = sessionStorage.getItem(TOKEN) ?? (await admission(name))
    const local = await devices()
    sessionStorage.setItem(TOKEN, token)
    sessionStorage.setItem(NAME, name)
    begin(token, local)
  } catch (error) {
    sessionStorage.removeItem(TOKEN)
    entranceTrouble(error instanceof Error ? error.message : String(error))
  }
}

async function admission(name: string): Promise<string> {
  const given = new URLSearchParams(location.hash.slice(1)).get("token")
  if (given) return given
  const request = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ room: room(), name }) }
  const response = await fetch("/v1/guest", request).catch(() => {
    throw new Error("The server cannot be reached.")
  })
  const answer = await response.json().catch(() => ({}))
  if (response.ok) return answer.token
  if (answer.code === "no_guests") throw new Error("This server lets nobody in without a token. Ask for a link that has one.")
  if (answer.code === "rate_limited") throw new Error("Too many people come in at this moment. Try again in a while.")
  throw new Error(`The server does not let you in: ${answer.message ?? response.status}`)
}

/** Camera and microphone, as far as they are wanted. */
async function devices(): Promise<MediaStream> {
  const video = element<HTMLInputElement>("with-camera").checked && { width: 640, height: 480 }
  const audio = element<HTMLInputElement>("with-microphone").checked
  if (!video && !audio) return new MediaStream()
  if (!navigator.mediaDevices) {
    throw new Error("The browser gives camera and microphone to pages over https only. Uncheck both to watch and listen.")
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio })
  } catch (error) {
    const denied = error instanceof DOMException && error.name === "NotAllowedError"
    throw new Error(
      denied
        ? "The browser was not allowed to use camera or microphone. Allow it, or uncheck them."
        : "No camera or microphone was found. Uncheck what is missing.",
    )
  }
}

function begin(token: string, local: MediaStream): void {
  const protocol = location.protocol === "https:" ? "wss" : "ws"
  const call = Call.join({ url: `${protocol}://${location.host}/v1/ws`, token, invite: secret() ?? "" })
  const video = element<HTMLSelectElement>("codec").value as Codec
  const publications: Publication[] = local.getTracks().map((track) =>
    track.kind === "video" ? { track, label: "camera", codec: video } : { track, label: "microphone", codec: "opus" },
  )
  const connection = new Connection(call, publications)
  const participants = new Map<string, Participant>()
  const nameOf = (identity: string) => participants.get(identity)?.name || identity
  const tiles = new Tiles(element("tiles"), (identity) => (identity === call.identity ? `${nameOf(identity)} (you)` : nameOf(identity)))
  let sending: number | null = null
  let roster: Member[] = []

  element("entrance").hidden = true
  element("call").hidden = false
  element("room-name").textContent = room()
  tiles.mine(call.identity, local)
  const trouble = (words: string) => {
    element("trouble").textContent = words
  }
  const pictureOn = () => local.getVideoTracks().some((track) => track.enabled)
  const showOwn = () => tiles.sends(call.identity, sending, pictureOn())
  showOwn()

  call.on("status", ({ phase, words }) => {
    element("status").textContent = words
    if (phase !== "member") {
      sending = null
      showOwn()
    }
    if (phase === "left" || phase === "removed" || phase === "failed") over(phase, words)
  })
  call.on("sending", ({ epoch }) => {
    sending = epoch
    showOwn()
  })
  call.on("epoch", (event) => {
    roster = event.roster
    trouble("")
    showEpoch(event)
    showPeople()
  })
  call.on("participants", (event) => {
    participants.clear()
    for (const participant of event.participants) participants.set(participant.identity, participant)
    tiles.rename()
    showPeople()
  })
  call.on("going", ({ identity }) => {
    element("status").textContent = `${nameOf(identity)} is going, fresh keys are on their way`
  })
  call.on("alarm", ({ words }) => trouble(`Warning: ${words}.`))
  call.on("trouble", ({ words }) => trouble(words))
  connection.ontrouble = trouble
  connection.ontracks = (tracks) => tiles.tracks(tracks, call.identity)

  const timer = setInterval(async () => {
    const [statistics, report] = await Promise.all([call.statistics(), connection.statistics()])
    tiles.update(statistics.received, call.identity)
    if (element<HTMLDetailsElement>("statistics-box").open) showStatistics(statistics, report, nameOf)
  }, 1000)

  toggle("microphone", "Sound", local.getAudioTracks(), () => undefined)
  toggle("camera", "Picture", local.getVideoTracks(), showOwn)
  element("invite").onclick = async () => {
    const link = `${location.origin}${location.pathname}?room=${encodeURIComponent(room())}#invite=${secret() ?? ""}`
    try {
      await navigator.clipboard.writeText(link)
      element("invite").textContent = "Link copied"
      setTimeout(() => (element("invite").textContent = "Copy invite link"), 2000)
    } catch {
      trouble(`Copy this link: ${link}`)
    }
  }
  element("leave").onclick = () => call.leave()

  function showPeople(): void {
    const lines = roster.map((member) => personLine(member, nameOf(member.identity), () => call.verify(member.identity)))
    element("people").replaceChildren(...lines)
  }

  function over(phase: string, words: string): void {
    clearInterval(timer)
    connection.close()
    sessionStorage.removeItem(TOKEN)
    for (const track of local.getTracks()) track.stop()
    setTimeout(() => call.close(), 500)
    element("tiles").replaceChildren()
    element("digits").replaceChildren()
    element("people").replaceChildren()
    element("call").hidden = true
    element("entrance").hidden = false
    entranceTrouble(phase === "left" ? "You have left the call." : explain(words))
    element<HTMLInputElement>("name").focus()
  }
}

/** The sentence, and what one can do. */
function explain(words: string): string {
  const sentence = `${words.charAt(0).toUpperCase()}${words.slice(1)}.`
  return /joining failed/.test(words)
    ? `${sentence} The secret in your invite link is not the one of this call: nothing can be shown. Ask for the link once more.`
    : sentence
}

function toggle(id: string, what: string, tracks: MediaStreamTrack[], changed: () => void): void {
  const button = element<HTMLButtonElement>(id)
  button.hidden = tracks.length === 0
  button.onclick = () => {
    const on = button.getAttribute("aria-pressed") !== "true"
    for (const track of tracks) track.enabled = on
    button.setAttribute("aria-pressed", String(on))
    button.textContent = `${what} ${on ? "on" : "off"}`
    changed()
  }
}

function showEpoch({ epoch, code }: EpochEvent): void {
  element("epoch").textContent = `Epoch ${epoch}. It changes whenever somebody comes or goes.`
  if (!code) return
  element("digits").replaceChildren(
    ...code.digits.split(" ").map((group) => {
      const item = document.createElement("li")
      item.textContent = group
      return item
    }),
  )
  const content = Uint8Array.from(code.qr.match(/../g) ?? [], (byte) => parseInt(byte, 16))
  drawCode(element<HTMLCanvasElement>("qr"), qrCode(content))
}

/** With the margin of four modules that readers need. */
function drawCode(canvas: HTMLCanvasElement, modules: boolean[][]): void {
  const context = canvas.getContext("2d")
  if (!context) return
  const unit = Math.floor(canvas.width / (modules.length + 8))
  context.fillStyle = "#fff"
  context.fillRect(0, 0, canvas.width, canvas.height)
  context.fillStyle = "#000"
  modules.forEach((line, row) => {
    line.forEach((dark, column) => {
      if (dark) context.fillRect((column + 4) * unit, (row + 4) * unit, unit, unit)
    })
  })
}

const VERIFICATION: Record<Member["verification"], string> = {
  self: "you",
  verified: "verified",
  unverified: "not verified",
  key_changed: "has another key than the one you verified",
}

function personLine(member: Member, name: string, verify: () => void): HTMLLIElement {
  const line = document.createElement("li")
  const who = document.createElement("span")
  who.textContent = name
  const state = document.createElement("small")
  state.className = member.verification
  state.textContent = VERIFICATION[member.verification]
  who.append(state)
  line.append(who)
  if (member.verification === "unverified" || member.verification === "key_changed") {
    const button = document.createElement("button")
    button.type = "button"
    button.textContent = "Codes match"
    button.setAttribute("aria-label", `The code matches with ${name}`)
    button.onclick = verify
    line.append(button)
  }
  return line
}

function showStatistics({ sent, received }: Statistics, report: RTCStatsReport | undefined, nameOf: (identity: string) => string): void {
  const decoded = new Map<string, number>()
  report?.forEach((entry) => {
    if (entry.type === "inbound-rtp" && entry.mid !== undefined) decoded.set(entry.mid, entry.framesDecoded ?? 0)
  })
  const rows = [
    ...sent.map((track) => ["sent", track.epoch ?? "none", track.sent, `${track.withheld} held back`, ""]),
    ...received.map((track) => {
      const refused = Object.values(track.refused).reduce((sum, count) => sum + count, 0)
      return [nameOf(track.participant), track.epoch ?? "none", track.opened, refused, decoded.get(track.mid) || ""]
    }),
  ]
  element("statistics").replaceChildren(
    ...rows.map((row) => {
      const line = document.createElement("tr")
      for (const value of row) line.insertCell().textContent = String(value)
      return line
    }),
  )
}
