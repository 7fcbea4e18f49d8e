// The worker: WebSocket, keys and encoded frames. No secret leaves it.
//
// Events of transforms are lost unless somebody listens from the first moment on, so the listeners stand before anything
// is waited for.

import init, { Call, type Task } from "./framelock_browser.js"
import type { FromWorker, MediaEvent, MediaRequest, Participant, Phase, ToWorker, TransformOptions } from "./messages.js"

interface EncodedFrame {
  data: ArrayBuffer
  /** Of video only. */
  type?: "key" | "delta" | "empty"
}

interface Transformer {
  readable: ReadableStream<EncodedFrame>
  writable: WritableStream<EncodedFrame>
  options: TransformOptions
  generateKeyFrame?: () => Promise<unknown>
  sendKeyFrameRequest?: () => Promise<unknown>
}

interface Scope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null
  onrtctransform: ((event: { transformer: Transformer }) => void) | null
  postMessage(message: FromWorker): void
}

interface Receiving {
  controller: TransformStreamDefaultController<EncodedFrame>
  waiting: Map<number, EncodedFrame>
  transformer: Transformer
}

/** How long a page tries to come back after its connection broke, in milliseconds. */
const PATIENCE = 20_000
const RETRY = 500
/** How long the worker is silent at most, so that the server knows that it is there. */
const PING = 5_000
/** An encoder is asked for keyframes at most this often. */
const KEYFRAME_SPACING = 500
/** Frames of at least so many bytes are left to WebCrypto, which is faster from there on. */
const LARGE = 2048
/** How long a goodbye may take. */
const GOODBYE = 2_000

const scope = self as unknown as Scope
let call: Call | undefined
let socket: WebSocket | undefined
let start: Extract<ToWorker, { type: "start" }> | undefined
let phase: Phase = "offline"
/** A goodbye has been said: a connection that ends is not made anew. */
let leaving = false
let connectedAt = performance.now()
let timer: ReturnType<typeof setTimeout> | undefined
/** Odd, as the session takes the even numbers. */
let nextRequest = 1
let lastOffer: number | undefined
let frameNumber = 0
const participants = new Map<string, Participant>()
const receiving = new Map<string, Receiving>()
const started: Transformer[] = []

scope.onrtctransform = (event) => {
  if (call) transform(call, event.transformer)
  else started.push(event.transformer)
}
scope.onmessage = (event) => {
  void handle(event.data)
}

function tell(message: FromWorker): void {
  scope.postMessage(message)
}

async function handle(message: ToWorker): Promise<void> {
  switch (message.type) {
    case "start":
      start = message
      try {
        await init({ module_or_path: new URL("framelock_browser_bg.wasm", import.meta.url) })
        call = new Call(message.identity, message.invite, LARGE)
      } catch (error) {
        fail(`the encryption could not be loaded: ${String(error)}`)
        return
      }
      for (const transformer of started.splice(0)) transform(call, transformer)
      setInterval(() => say({ family: "session", type: "ping" }), PING)
      connect()
      return
    case "leave":
      leaving = true
      call?.leave(performance.now(), Date.now())
      settle()
      setTimeout(() => socket?.close(), GOODBYE)
      return
    case "remove":
      try {
        call?.remove(message.identity, performance.now(), Date.now())
      } catch (error) {
        tell({ type: "trouble", words: `${message.identity} cannot be removed: ${String(error)}` })
      }
      settle()
      return
    case "verify":
      call?.verify(message.identity)
      settle()
      return
    case "media":
      request(message.request)
      return
    case "stop_track":
      call?.stop_track(message.track)
      return
    case "end_track":
      receiving.delete(message.mid)
      call?.end_track(message.mid)
      return
    case "statistics":
      if (call) tell({ type: "statistics", statistics: JSON.parse(call.statistics()) })
      return
  }
}

function fail(words: string): void {
  phase = "failed"
  tell({ type: "status", phase, words })
}

const isOver = () => phase === "left" || phase === "removed" || phase === "failed"

function connect(): void {
  if (!start || !call || isOver()) return
  const opened = new WebSocket(`${start.url}?token=${encodeURIComponent(start.token)}`)
  socket = opened
  opened.onmessage = (event: MessageEvent<string>) => {
    connectedAt = performance.now()
    read(event.data)
  }
  opened.onclose = () => {
    if (socket !== opened) return
    socket = undefined
    if (isOver()) return
    call?.disconnected(performance.now(), Date.now())
    // The server has heard the goodbye or will notice the absence.
    if (leaving) call?.leave(performance.now(), Date.now())
    settle()
    if (leaving) return
    if (performance.now() - connectedAt > PATIENCE) {
      fail("the server cannot be reached; check the connection and join again")
    } else {
      setTimeout(connect, RETRY)
    }
  }
}

function say(message: object): void {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message))
}

function request(body: MediaRequest): void {
  const id = nextRequest
  nextRequest += 2
  if (body.type === "offer") lastOffer = id
  say({ id, family: "media", ...body })
}

/** A text frame of the server: about media it is for the page, everything else is for the session. */
function read(text: string): void {
  const message = JSON.parse(text)
  const ours = typeof message.re === "number" && message.re % 2 === 1
  if (message.family === "media" || (ours && message.type === "refused")) {
    const { re, family: _, ...event } = message
    tell({ type: "media", event: event as MediaEvent, answers: re === lastOffer })
    return
  }
  if (ours) return
  if (message.family === "session") presence(message)
  call?.message(text, performance.now(), Date.now())
  settle()
}

function presence(message: {
  type: string
  participant?: Participant
  participants?: Participant[]
  you?: Participant
  identity?: string
  media?: boolean
}): void {
  switch (message.type) {
    case "welcome":
      participants.clear()
      for (const participant of [message.you, ...(message.participants ?? [])]) {
        if (participant) participants.set(participant.identity, participant)
      }
      tell({ type: "connected", media: message.media ?? false })
      break
    case "participant_changed":
      if (message.participant) participants.set(message.participant.identity, message.participant)
      break
    case "participant_left":
      if (message.identity) participants.delete(message.identity)
      break
    default:
      return
  }
  tell({ type: "participants", participants: [...participants.values()] })
}

/** Sends and tells what the session wants, hands out frames whose key has come, and sets the timer. */
function settle(): void {
  if (!call) return
  for (let event = call.poll(); event !== undefined; event = call.poll()) {
    const message = JSON.parse(event)
    if (message.type === "send") {
      if (socket?.readyState === WebSocket.OPEN) socket.send(message.text)
      continue
    }
    if (message.type === "status") {
      phase = message.phase
      if (isOver()) socket?.close()
    }
    tell(message)
  }
  for (const [mid, track] of receiving) handOut(call, mid, track)
  for (const cipher of call.dropped()) ciphers.delete(cipher)
  clearTimeout(timer)
  const due = call.next_deadline(performance.now())
  if (due !== undefined && !isOver()) {
    const wait = Math.min(Math.max(due - performance.now(), 0), 1000)
    timer = setTimeout(() => {
      call?.tick(performance.now(), Date.now())
      settle()
    }, wait)
  }
}

function transform(keys: Call, transformer: Transformer): void {
  const { readable, writable, options } = transformer
  const stream = options.side === "send" ? sending(keys, transformer, options) : opening(keys, transformer, options)
  // The pipe breaks when the track ends.
  readable.pipeThrough(stream).pipeTo(writable).catch(() => undefined)
}

function spaced(ask: (() => Promise<unknown>) | undefined): () => void {
  let before = -KEYFRAME_SPACING
  return () => {
    const now = performance.now()
    if (!ask || now - before < KEYFRAME_SPACING) return
    before = now
    // Refused while the encoder or decoder is not running yet.
    ask().catch(() => undefined)
  }
}

/** The keys of WebCrypto, by the number of their cipher. */
const ciphers = new Map<number, Promise<CryptoKey>>()

/** Does a task that a large frame has left. Fails if a frame to be opened is not authentic. */
async function carryOut(task: Task, way: "encrypt" | "decrypt"): Promise<Uint8Array> {
  let key = ciphers.get(task.cipher)
  if (!key) {
    const raw = task.key() as Uint8Array<ArrayBuffer>
    key = crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"])
    // It has been copied by then.
    raw.fill(0)
    ciphers.set(task.cipher, key)
  }
  const parameters = { name: "AES-GCM", iv: task.nonce() as BufferSource, additionalData: task.aad() as BufferSource }
  return new Uint8Array(await crypto.subtle[way](parameters, await key, task.take_text() as BufferSource))
}

/** Encrypts a frame; without a key nothing comes out. */
async function seal(keys: Call, track: number, plain: Uint8Array, keyframe: boolean): Promise<Uint8Array | undefined> {
  const sealed = keys.protect(track, plain, keyframe, performance.now())
  const task = keys.task()
  if (!task) return sealed
  const ciphertext = await carryOut(task, "encrypt").catch(() => undefined)
  task.free()
  if (!ciphertext) return undefined
  sealed?.set(ciphertext, sealed.length - ciphertext.length)
  return sealed
}

/** Opens a frame, if it can be opened now. */
async function open(keys: Call, mid: string, number: number, sealed: Uint8Array): Promise<Uint8Array | undefined> {
  const plain = keys.open(mid, number, sealed, performance.now())
  const task = keys.task()
  if (!task) return plain
  const opened = await carryOut(task, "decrypt").catch(() => undefined)
  return keys.opened(mid, number, sealed, task, opened, performance.now())
}

function sending(
  keys: Call,
  transformer: Transformer,
  { track, codec }: Extract<TransformOptions, { side: "send" }>,
): TransformStream<EncodedFrame, EncodedFrame> {
  keys.send_track(track, codec)
  const generate = transformer.generateKeyFrame?.bind(transformer)
  const wantKeyframe = spaced(generate ?? (async () => tell({ type: "keyframe", track })))
  return new TransformStream({
    async transform(frame, controller) {
      const sealed = await seal(keys, track, new Uint8Array(frame.data), frame.type === "key")
      // Whoever has just joined asks over RTCP as well; only after a frame that was held back nobody else asks.
      if (keys.keyframe_wanted(track) && (generate || !sealed)) wantKeyframe()
      // Without a key nothing goes out.
      if (!sealed) return
      frame.data = sealed.buffer as ArrayBuffer
      controller.enqueue(frame)
    },
  })
}

function opening(
  keys: Call,
  transformer: Transformer,
  { mid, participant, codec }: Extract<TransformOptions, { side: "receive" }>,
): TransformStream<EncodedFrame, EncodedFrame> {
  keys.receive_track(mid, participant, codec)
  const wantKeyframe = codec === "opus" ? () => undefined : spaced(transformer.sendKeyFrameRequest?.bind(transformer))
  return new TransformStream({
    start(controller) {
      receiving.set(mid, { controller, waiting: new Map(), transformer })
    },
    async transform(frame, controller) {
      const number = frameNumber++ >>> 0
      const plain = await open(keys, mid, number, new Uint8Array(frame.data))
      if (plain) {
        frame.data = plain.buffer as ArrayBuffer
        controller.enqueue(frame)
      } else if (keys.waits()) {
        receiving.get(mid)?.waiting.set(number, frame)
        settle()
      } else {
        wantKeyframe()
      }
    },
  })
}

/** Frames that waited for their key go on, or are forgotten. */
function handOut(keys: Call, mid: string, track: Receiving): void {
  for (let late = keys.late(mid, performance.now()); late; late = keys.late(mid, performance.now())) {
    const frame = track.waiting.get(late.frame)
    track.waiting.delete(late.frame)
    const plain = late.take()
    late.free()
    if (!frame || !plain) continue
    frame.data = plain.buffer as ArrayBuffer
    try {
      track.controller.enqueue(frame)
    } catch {
      // The track has ended in the meantime.
      return
    }
  }
}
