// The package's front: one participation in a call. Keys, MLS group and frames live in a worker; this is its handle.

import type {
  Codec,
  EpochEvent,
  FromWorker,
  MediaEvent,
  MediaRequest,
  Participant,
  Phase,
  Statistics,
  ToWorker,
  TransformOptions,
} from "./messages.js"

export type * from "./messages.js"

/** How to join a call; whoever comes first creates it. */
export interface JoinOptions {
  /** The server's WebSocket, for instance `wss://calls.example/v1/ws`. */
  url: string
  /** The token that lets this participant in. */
  token: string
  /** The secret of the invite link. Without one a server could add itself to the call. */
  invite?: string
}

/** The events of a call, by name. */
export interface CallEvents {
  /** Where the participation stands, in words for people. */
  status: { phase: Phase; words: string }
  /** An epoch has begun: roster and verification code. Also when a member has been verified. */
  epoch: EpochEvent
  /** Frames go out under this epoch from now on. */
  sending: { epoch: number }
  /** Somebody is leaving; fresh keys are on their way. */
  going: { identity: string }
  /** The server did what it must not do. */
  alarm: { words: string }
  /** The encoder of this track has to begin anew with a keyframe, and the browser cannot be asked for one in the worker. */
  keyframe: { track: number }
  /** Something went wrong, and the call goes on. */
  trouble: { words: string }
  /** Who is in the room, as the server says. */
  participants: { participants: Participant[] }
  /** The signalling connection stands; `media` says whether the server still has the media connection. */
  connected: { media: boolean }
  /** What the server says about media; `answers` the last offer. */
  media: { event: MediaEvent; answers: boolean }
}

/** Whether this browser can encrypt calls. */
export function isSupported(): boolean {
  return "RTCRtpScriptTransform" in globalThis && "WebAssembly" in globalThis
}

/** The identity that a token names. The signature is the server's to check. */
export function identityOf(token: string): string {
  const payload = token.split(".")[1]?.replaceAll("-", "+").replaceAll("_", "/")
  if (!payload) throw new Error("the token is not one of a server's")
  const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0))
  return JSON.parse(new TextDecoder().decode(bytes)).sub
}

/** An encoder that is switched off and on begins with a keyframe. */
async function restart(sender: RTCRtpSender | undefined): Promise<void> {
  for (const active of [false, true]) {
    const parameters = sender?.getParameters()
    if (!sender || !parameters?.encodings.length) return
    for (const encoding of parameters.encodings) encoding.active = active
    // Refused while the sender is being negotiated; the next frame that is held back asks again.
    await sender.setParameters(parameters).catch(() => undefined)
  }
}

/** One participation in a call. */
export class Call {
  readonly identity: string
  #worker: Worker
  #listeners = new Map<keyof CallEvents, Set<(event: never) => void>>()
  #senders = new Map<number, RTCRtpSender>()
  #statistics: ((statistics: Statistics) => void)[] = []

  private constructor(identity: string, worker: Worker) {
    this.identity = identity
    this.#worker = worker
    worker.onmessage = (event: MessageEvent<FromWorker>) => this.#heard(event.data)
    this.on("keyframe", ({ track }) => void restart(this.#senders.get(track)))
    worker.onerror = (event) => {
      this.#heard({ type: "status", phase: "failed", words: `the encryption has stopped: ${event.message}` })
    }
  }

  /** Joins the call that the token names, or creates it. Listen to `status` to learn how it goes. */
  static join(options: JoinOptions): Call {
    if (!isSupported()) throw new Error("this browser cannot encrypt calls: it lacks RTCRtpScriptTransform")
    const identity = identityOf(options.token)
    const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module", name: "framelock" })
    const call = new Call(identity, worker)
    const { url, token, invite = "" } = options
    call.#say({ type: "start", url, token, identity, invite })
    return call
  }

  /** Listens to an event. Returns what ends the listening. */
  on<Name extends keyof CallEvents>(name: Name, listener: (event: CallEvents[Name]) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(listener as (event: never) => void))
    return () => listeners.delete(listener as (event: never) => void)
  }

  /** Encrypts what this sender sends. To be called before the connection is negotiated; `track` tells the tracks apart. */
  attachSender(sender: RTCRtpSender, track: number, codec: Codec): void {
    this.#senders.set(track, sender)
    sender.transform = this.#transform({ side: "send", track, codec })
  }

  /** The track is over. */
  stopTrack(track: number): void {
    this.#senders.delete(track)
    this.#say({ type: "stop_track", track })
  }

  /** Opens what this receiver receives, if it is from this participant; everything else is thrown away. */
  attachReceiver(receiver: RTCRtpReceiver, mid: string, participant: string, codec: Codec): void {
    receiver.transform = this.#transform({ side: "receive", mid, participant, codec })
  }

  /** The m-line carries nothing any more. */
  endReceiver(mid: string): void {
    this.#say({ type: "end_track", mid })
  }

  /** Sends a request about media over the call's signalling. */
  requestMedia(request: MediaRequest): void {
    this.#say({ type: "media", request })
  }

  /** Records that the verification code was compared with this member and is the same. */
  verify(identity: string): void {
    this.#say({ type: "verify", identity })
  }

  /** Removes somebody; the server lets moderators do so. */
  remove(identity: string): void {
    this.#say({ type: "remove", identity })
  }

  /** What the tracks have seen. */
  statistics(): Promise<Statistics> {
    return new Promise((resolve) => {
      this.#statistics.push(resolve)
      this.#say({ type: "statistics" })
    })
  }

  /** Says goodbye. */
  leave(): void {
    this.#say({ type: "leave" })
  }

  /** Ends everything at once, without a goodbye. */
  close(): void {
    this.#worker.terminate()
  }

  #transform(options: TransformOptions): RTCRtpScriptTransform {
    return new RTCRtpScriptTransform(this.#worker, options)
  }

  #say(message: ToWorker): void {
    this.#worker.postMessage(message)
  }

  #heard(message: FromWorker): void {
    if (message.type === "statistics") {
      for (const resolve of this.#statistics.splice(0)) resolve(message.statistics)
      return
    }
    for (const listener of this.#listeners.get(message.type) ?? []) listener(message as never)
  }
}
