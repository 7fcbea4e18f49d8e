// A member of a call's group on ts-mls. Requests come in as lines of JSON, and each is answered by one
// line; byte strings are hex. After every epoch it says the SFrame base key (RFC 9605, section 5.2) that
// it derives.
import { createInterface } from "node:readline"
import { p256 } from "@noble/curves/nist.js"
import {
  acceptAll,
  createCommit,
  decodeMlsMessage,
  defaultCapabilities,
  emptyPskIndex,
  encodeMlsMessage,
  generateKeyPackageWithKey,
  getCiphersuiteFromName,
  getCiphersuiteImpl,
  joinGroup,
  mlsExporter,
  processMessage,
} from "ts-mls"

// What ts-mls proposes, centuries, is refused by the members of a call.
const WEEK = 604_800n
const lifetime = () => {
  const now = BigInt(Math.floor(Date.now() / 1000))
  return { notBefore: now - 3600n, notAfter: now + WEEK }
}

const hex = (bytes) => Buffer.from(bytes).toString("hex")
const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"))

/** One MLSMessage that fills `text`, of the wire format expected. */
function message(text, ...wireformats) {
  const encoded = bytes(text)
  const decoded = decodeMlsMessage(encoded, 0)
  if (!decoded || decoded[1] !== encoded.length) throw new Error("expected one MLSMessage")
  if (!wireformats.includes(decoded[0].wireformat)) throw new Error(`expected ${wireformats.join(" or ")}`)
  return decoded[0]
}

/** Of P-256, ts-mls 1.6.4 makes compressed public keys; RFC 9420, section 5.1.1, demands uncompressed ones. */
async function signatureKeys() {
  if (suite.name !== "MLS_128_DHKEMP256_AES128GCM_SHA256_P256") return suite.signature.keygen()
  const signKey = p256.utils.randomSecretKey()
  return { signKey, publicKey: p256.getPublicKey(signKey, false) }
}

let suite
let own
let psks = emptyPskIndex
let state

/** What the epoch is and gives. */
async function epoch({ label, length }) {
  const key = await mlsExporter(state.keySchedule.exporterSecret, label, new Uint8Array(), length, suite)
  return {
    epoch: Number(state.groupContext.epoch),
    base_key: hex(key),
    authenticator: hex(state.keySchedule.epochAuthenticator),
    leaf: state.privatePath.leafIndex,
  }
}

const answers = {
  async key_package({ suite: name, identity, extensions, psk }) {
    suite = await getCiphersuiteImpl(getCiphersuiteFromName(name))
    const credential = { credentialType: "basic", identity: new TextEncoder().encode(identity) }
    const capabilities = { ...defaultCapabilities(), extensions }
    own = await generateKeyPackageWithKey(credential, capabilities, lifetime(), [], await signatureKeys(), suite)
    if (psk) {
      const found = (id) => id.psktype === "external" && hex(id.pskId) === psk.id
      psks = { findPsk: (id) => (found(id) ? bytes(psk.secret) : undefined) }
    }
    const keyPackage = { keyPackage: own.publicPackage, wireformat: "mls_key_package", version: "mls10" }
    return { key_package: hex(encodeMlsMessage(keyPackage)) }
  },
  async join({ welcome, ...wanted }) {
    const decoded = message(welcome, "mls_welcome").welcome
    state = await joinGroup(decoded, own.publicPackage, own.privatePackage, psks, suite)
    return epoch(wanted)
  },
  async process({ commit, ...wanted }) {
    const decoded = message(commit, "mls_public_message", "mls_private_message")
    state = (await processMessage(decoded, state, psks, acceptAll, suite)).newState
    return epoch(wanted)
  },
  async commit(wanted) {
    const result = await createCommit({ state, cipherSuite: suite, pskIndex: psks }, { wireAsPublicMessage: true })
    state = result.newState
    return { commit: hex(encodeMlsMessage(result.commit)), ...(await epoch(wanted)) }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { ask, ...request } = JSON.parse(line)
  let answer
  try {
    answer = await answers[ask](request)
  } catch (error) {
    answer = { error: String(error.stack ?? error) }
  }
  process.stdout.write(JSON.stringify(answer) + "\n")
}
