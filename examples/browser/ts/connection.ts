// Media over this project's SFU: a peer connection whose frames the call encrypts and opens.

import type { Call, Codec, ForwardedTrack, MediaEvent } from "./framelock.js"

/** A track to publish. */
export interface Publication {
  track: MediaStreamTrack
  label: string
  codec: Codec
}

/** Somebody's track. */
export interface RemoteTrack extends ForwardedTrack {
  media: MediaStreamTrack
}

/** When media is tried again after the server refused it, in milliseconds. */
const RETRY = 400

const codecOf = (track: ForwardedTrack): Codec => track.codec ?? (track.kind === "audio" ? "opus" : "vp8")

/** The media connection of one participation. It follows the call: it opens, and opens anew, by itself. */
export class Connection {
  /** Called with all tracks that are received, whenever they change. */
  ontracks: (tracks: RemoteTrack[]) => void = () => undefined
  /** Called when media cannot be connected. */
  ontrouble: (words: string) => void = () => undefined

  #call: Call
  #publications: Publication[]
  #peer: RTCPeerConnection | undefined
  #tracks = new Map<string, RemoteTrack>()
  /** An offer of ours awaits its answer: the server's offers do not count. */
  #offered = false
  #closed = false
  #nextTrack = 0
  /** The numbers of the tracks that are sent over this connection. */
  #sent: number[] = []
  /** One negotiation after the other. */
  #turn: Promise<void> = Promise.resolve()

  constructor(call: Call, publications: Publication[]) {
    this.#call = call
    this.#publications = publications
    call.on("connected", ({ media }) => {
      if (!(media && this.#peer)) this.#next(() => this.#open())
    })
    call.on("media", ({ event, answers }) => this.#next(() => this.#heard(event, answers)))
    call.on("status", ({ phase }) => {
      if (phase === "left" || phase === "removed" || phase === "failed") this.close()
    })
  }

  /** The connection's own statistics. */
  async statistics(): Promise<RTCStatsReport | undefined> {
    return this.#peer?.getStats()
  }

  close(): void {
    this.#closed = true
    this.#drop()
  }

  #next(step: () => Promise<void>): void {
    this.#turn = this.#turn.then(step).catch((error: unknown) => this.ontrouble(`media: ${String(error)}`))
  }

  #drop(): void {
    this.#peer?.close()
    this.#peer = undefined
    for (const track of this.#sent.splice(0)) this.#call.stopTrack(track)
    for (const mid of this.#tracks.keys()) this.#call.endReceiver(mid)
    this.#tracks.clear()
    this.ontracks([])
  }

  async #open(): Promise<void> {
    if (this.#closed) return
    this.#drop()
    const peer = new RTCPeerConnection()
    this.#peer = peer
    peer.onconnectionstatechange = () => {
      if (peer === this.#peer && peer.connectionState === "failed") this.#next(() => this.#open())
    }
    const lines = this.#publications.map((publication) => {
      const transceiver = peer.addTransceiver(publication.track, { direction: "sendonly" })
      preferCodec(transceiver, publication)
      this.#sent.push(this.#nextTrack)
      this.#call.attachSender(transceiver.sender, this.#nextTrack++, publication.codec)
      return { transceiver, publication }
    })
    if (lines.length === 0) peer.createDataChannel("presence")
    await peer.setLocalDescription(await peer.createOffer())
    const tracks = lines.map(({ transceiver, publication: { label, codec } }) => {
      return { mid: transceiver.mid ?? "", label, codec }
    })
    this.#offered = true
    this.#call.requestMedia({ type: "offer", sdp: peer.localDescription?.sdp ?? "", tracks, fresh: true })
  }

  async #heard(event: MediaEvent, answers: boolean): Promise<void> {
    const peer = this.#peer
    switch (event.type) {
      case "answer":
        if (!peer || !answers) return
        this.#offered = false
        await peer.setRemoteDescription({ type: "answer", sdp: event.sdp })
        return
      case "offer":
        if (!peer || this.#offered) return
        await peer.setRemoteDescription({ type: "offer", sdp: event.sdp })
        this.#place(peer, event.tracks)
        await peer.setLocalDescription(await peer.createAnswer())
        this.#call.requestMedia({ type: "answer", offer: event.offer, sdp: peer.localDescription?.sdp ?? "" })
        this.ontracks([...this.#tracks.values()])
        return
      case "disconnected":
        return this.#open()
      case "refused":
        if (!answers || this.#closed) return
        // A removal is pending, or the server is busy. If we are let in again, so is our media.
        this.#offered = false
        this.#drop()
        setTimeout(() => this.#next(() => (this.#peer ? Promise.resolve() : this.#open())), RETRY)
    }
  }

  /** Takes up new m-lines and gives up those that are not listed any more. */
  #place(peer: RTCPeerConnection, tracks: ForwardedTrack[]): void {
    const listed = new Map(tracks.map((track) => [track.mid, track]))
    for (const mid of this.#tracks.keys()) {
      if (!listed.has(mid)) {
        this.#tracks.delete(mid)
        this.#call.endReceiver(mid)
      }
    }
    for (const { mid, receiver } of peer.getTransceivers()) {
      const track = mid === null ? undefined : listed.get(mid)
      if (!track || this.#tracks.has(track.mid)) continue
      // In the SFrame payload format, which browsers do not know.
      if (track.sframe) {
        this.ontrouble(`${track.participant} sends ${track.kind} in a form that browsers cannot receive`)
        continue
      }
      this.#call.attachReceiver(receiver, track.mid, track.participant, codecOf(track))
      this.#tracks.set(track.mid, { ...track, media: receiver.track })
    }
  }
}

/** Offers the one codec, and retransmission. */
function preferCodec(transceiver: RTCRtpTransceiver, { track, codec }: Publication): void {
  const capabilities = RTCRtpReceiver.getCapabilities(track.kind)?.codecs ?? []
  const wanted = capabilities.filter(({ mimeType, sdpFmtpLine }) => {
    const name = mimeType.split("/")[1]?.toLowerCase()
    return name === "rtx" || (name === codec && !(sdpFmtpLine ?? "").match(/profile-id=[1-9]/))
  })
  if (!wanted.some(({ mimeType }) => mimeType.toLowerCase().endsWith(codec))) {
    throw new Error(`this browser does not send ${codec}`)
  }
  transceiver.setCodecPreferences(wanted)
}
