// What page and worker say to each other, and the server's words that a page sees.

/** The codecs whose frames are encrypted. */
export type Codec = "opus" | "vp8" | "vp9"

/** Where a participation stands. */
export type Phase = "offline" | "joining" | "member" | "left" | "removed" | "failed"

/** Whether one has compared codes with a member; `key_changed` is a warning. */
export type Verification = "self" | "verified" | "unverified" | "key_changed"

/** A member as the group says. */
export interface Member {
  leaf: number
  identity: string
  verification: Verification
}

/** The code of an epoch, the same for all who are in it and for nobody else. */
export interface VerificationCode {
  /** 40 digits in 8 groups. */
  digits: string
  /** The content of the QR code, in hex. */
  qr: string
}

/** An epoch has begun, or a member has been verified. */
export interface EpochEvent {
  epoch: number
  roster: Member[]
  added: string[]
  removed: string[]
  code: VerificationCode | null
}

/** Somebody in the room, as the server says; no proof of membership. */
export interface Participant {
  identity: string
  name: string
  moderator: boolean
  connected: boolean
}

/** What a track that is sent has seen. */
export interface SentStatistics {
  track: number
  epoch: number | null
  sent: number
  /** Frames held back because there was no key. */
  withheld: number
}

/** What a track that is received has seen. */
export interface ReceivedStatistics {
  mid: string
  participant: string
  epoch: number | null
  opened: number
  /** Of those, frames that waited for their key. */
  waited: number
  /** Frames that wait for their key. */
  waiting: number
  /** Frames that could not be opened, by reason. */
  refused: Record<string, number>
}

export interface Statistics {
  sent: SentStatistics[]
  received: ReceivedStatistics[]
}

/** A track that the server forwards. */
export interface ForwardedTrack {
  mid: string
  participant: string
  track: string
  kind: "audio" | "video"
  label: string
  sframe: boolean
  codec?: Codec
}

/** What the server says about media. */
export type MediaEvent =
  | { type: "answer"; sdp: string }
  | { type: "offer"; offer: number; sdp: string; tracks: ForwardedTrack[] }
  | { type: "disconnected" }
  | { type: "refused"; code: string; message: string }

/** What a page asks about media. */
export type MediaRequest =
  | { type: "offer"; sdp: string; tracks: { mid: string; label: string; codec: Codec }[]; fresh: boolean }
  | { type: "answer"; offer: number; sdp: string }

/** The options of a transform. */
export type TransformOptions =
  | { side: "send"; track: number; codec: Codec }
  | { side: "receive"; mid: string; participant: string; codec: Codec }

export type ToWorker =
  | { type: "start"; url: string; token: string; identity: string; invite: string }
  | { type: "leave" }
  | { type: "remove"; identity: string }
  | { type: "verify"; identity: string }
  | { type: "media"; request: MediaRequest }
  | { type: "stop_track"; track: number }
  | { type: "end_track"; mid: string }
  | { type: "statistics" }

export type FromWorker =
  | { type: "status"; phase: Phase; words: string }
  | ({ type: "epoch" } & EpochEvent)
  | { type: "sending"; epoch: number }
  | { type: "going"; identity: string }
  | { type: "alarm"; words: string }
  | { type: "trouble"; words: string }
  | { type: "keyframe"; track: number }
  | { type: "participants"; participants: Participant[] }
  | { type: "connected"; media: boolean }
  | { type: "media"; event: MediaEvent; answers: boolean }
  | { type: "statistics"; statistics: Statistics }
