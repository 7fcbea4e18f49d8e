// The pictures of a call: one tile for each person, with what its encryption does in words.

import type { RemoteTrack } from "./connection.js"
import type { ReceivedStatistics } from "./framelock.js"

/** `open`: frames come and are opened. `closed`: they come and cannot be opened. `idle`: nothing comes. */
type State = "open" | "waiting" | "closed" | "idle"

const REASONS: Record<string, string> = {
  unauthentic: "wrong key, or altered on the way",
  "expired-epoch": "encrypted with a key that has expired",
  "before-join": "encrypted before you joined",
  "no-key-in-time": "its key never came",
  "other-sender": "it comes from somebody else",
  "blank-leaf": "its sender is not in the call",
  "malformed-header": "not encrypted as this call demands",
  "too-short": "not encrypted as this call demands",
}

const words = (reason: string) => REASONS[reason] ?? reason.replaceAll("-", " ")

interface Seen {
  opened: number
  refused: number
}

/** The tile of one person. */
class Tile {
  readonly figure = document.createElement("figure")
  readonly video = document.createElement("video")
  readonly stream = new MediaStream()
  #cover = document.createElement("p")
  #name = document.createElement("span")
  #state = document.createElement("span")
  #seen = new Map<string, Seen>()

  constructor(identity: string) {
    this.figure.dataset["identity"] = identity
    this.video.autoplay = true
    this.video.playsInline = true
    this.video.srcObject = this.stream
    this.#cover.className = "cover"
    this.#name.className = "name"
    this.#state.className = "state"
    const caption = document.createElement("figcaption")
    caption.append(this.#name, this.#state)
    this.figure.append(this.video, this.#cover, caption)
    this.show("idle", "connecting", "No picture yet")
  }

  name(name: string): void {
    this.#name.textContent = name
    this.video.setAttribute("aria-label", `Picture of ${name}`)
  }

  /** Without a picture that may be seen, the cover says why. */
  show(state: State, words: string, cover: string): void {
    this.figure.dataset["state"] = state
    this.#state.textContent = words
    this.#cover.textContent = cover
    this.#cover.hidden = cover === ""
  }

  tracks(tracks: MediaStreamTrack[]): void {
    for (const track of this.stream.getTracks()) {
      if (!tracks.includes(track)) this.stream.removeTrack(track)
    }
    for (const track of tracks) {
      if (!this.stream.getTracks().includes(track)) this.stream.addTrack(track)
    }
  }

  /** What has happened since the last time says what the tile shows. */
  update(tracks: ReceivedStatistics[], hasVideo: boolean): void {
    let opened = 0
    let epoch: number | null = null
    let waiting = false
    let refusal: string | undefined
    for (const track of tracks) {
      const refused = Object.values(track.refused).reduce((sum, count) => sum + count, 0)
      const before = this.#seen.get(track.mid) ?? { opened: 0, refused: 0 }
      this.#seen.set(track.mid, { opened: track.opened, refused })
      opened += track.opened - before.opened
      waiting ||= track.waiting > 0
      if (refused > before.refused) refusal = Object.entries(track.refused).sort((a, b) => b[1] - a[1])[0]?.[0]
      if (track.epoch !== null) epoch = Math.max(epoch ?? 0, track.epoch)
    }
    if (opened > 0) {
      const picture = this.video.videoWidth > 0 || !hasVideo
      this.show("open", `encrypted, epoch ${epoch}`, hasVideo ? (picture ? "" : "The picture is coming") : "Sound only")
    } else if (refusal !== undefined) {
      this.show("closed", "cannot be opened", `Nothing is shown: ${words(refusal)}`)
    } else if (waiting) {
      this.show("waiting", "waiting for the key", "Waiting for the key")
    } else {
      this.show("idle", "nothing comes in", "Nothing comes in")
    }
  }
}

/** All tiles of a call. */
export class Tiles {
  #place: HTMLElement
  #tiles = new Map<string, Tile>()
  #tracks: RemoteTrack[] = []
  #names: (identity: string) => string

  constructor(place: HTMLElement, names: (identity: string) => string) {
    this.#place = place
    this.#names = names
  }

  /** One's own tile. */
  mine(identity: string, stream: MediaStream): void {
    const tile = this.#tile(identity)
    tile.figure.classList.add("mine")
    tile.video.muted = true
    tile.tracks(stream.getTracks())
  }

  /** What one sends, in words. */
  sends(identity: string, epoch: number | null, picture: boolean): void {
    const cover = picture ? "" : "Your picture is off"
    if (epoch === null) this.#tile(identity).show("waiting", "nothing is sent without a key", cover)
    else this.#tile(identity).show("open", `encrypted, epoch ${epoch}`, cover)
  }

  /** The tracks that are received, all of them. */
  tracks(tracks: RemoteTrack[], own: string): void {
    this.#tracks = tracks
    const people = new Set([own, ...tracks.map((track) => track.participant)])
    for (const [identity, tile] of this.#tiles) {
      if (!people.has(identity)) {
        tile.figure.remove()
        this.#tiles.delete(identity)
      }
    }
    for (const identity of people) {
      if (identity !== own) {
        const theirs = tracks.filter((track) => track.participant === identity)
        this.#tile(identity).tracks(theirs.map((track) => track.media))
      }
    }
  }

  rename(): void {
    for (const [identity, tile] of this.#tiles) tile.name(this.#names(identity))
  }

  update(received: ReceivedStatistics[], own: string): void {
    for (const [identity, tile] of this.#tiles) {
      if (identity === own) continue
      const theirs = received.filter((track) => track.participant === identity)
      tile.update(theirs, this.#tracks.some((track) => track.participant === identity && track.kind === "video"))
    }
  }

  #tile(identity: string): Tile {
    let tile = this.#tiles.get(identity)
    if (!tile) {
      tile = new Tile(identity)
      tile.name(this.#names(identity))
      this.#tiles.set(identity, tile)
      this.#place.append(tile.figure)
    }
    return tile
  }
}
