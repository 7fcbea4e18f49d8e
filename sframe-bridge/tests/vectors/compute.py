#!/usr/bin/env python3
"""Test vectors for what no published vectors cover, with nothing but hashlib and hmac.

    python3 compute.py > own.json

Verification codes follow the module documentation of `sframe_bridge::verification`, the ratchet
RFC 9605 section 5.1, the key of an RTP stream draft-ietf-avtcore-rtp-sframe-02. The tests compute
the same values through the backends of the crate and compare them with the committed file.
"""

import hashlib
import hmac
import json


def extract(name, salt, ikm):
    return hmac.new(salt, ikm, name).digest()


def expand(name, prk, info, length):
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), name).digest()
        out += block
        counter += 1
    return out[:length]


def part(value):
    return len(value).to_bytes(8, "big") + value


def long_code(name, case):
    roster = b""
    for entry in sorted(case["roster"], key=lambda entry: entry["leaf"]):
        roster += entry["leaf"].to_bytes(4, "big")
        roster += part(bytes.fromhex(entry["credential"]))
        roster += part(bytes.fromhex(entry["signature_key"]))
    roster_hash = hmac.new(b"Framelock 1.0 roster", roster, name).digest()
    label = b"Framelock 1.0 long code"
    prk = extract(name, label, bytes.fromhex(case["epoch_authenticator"]))

    def info(purpose):
        group = part(bytes.fromhex(case["group_id"]))
        return part(purpose) + group + case["epoch"].to_bytes(8, "big") + part(roster_hash)

    fingerprint = expand(name, prk, info(label), 32)
    digits = expand(name, prk, info(label + b" digits"), 40)
    groups = [int.from_bytes(digits[at : at + 5], "big") % 100_000 for at in range(0, 40, 5)]
    case["digits"] = " ".join(f"{group:05}" for group in groups)
    case["qr"] = (b"\x01" + case["epoch"].to_bytes(8, "big") + fingerprint).hex()
    return case


def seeded(text, length):
    return hashlib.shake_128(text.encode()).digest(length).hex()


def code_cases():
    for suite, name, length in ((4, "sha256", 32), (5, "sha512", 64)):
        for members, epoch in ((1, 0), (2, 12), (3, 2**40 + 5), (40, 2**64 - 1)):
            seed = f"{suite}/{members}"
            roster = [
                {
                    "leaf": (7 * index) % 64,
                    "credential": seeded(f"{seed}/credential/{index}", index % 20),
                    "signature_key": seeded(f"{seed}/key/{index}", 32 + 33 * (index % 2)),
                }
                for index in range(members)
            ]
            yield long_code(name, {
                "suite": suite,
                "epoch_authenticator": seeded(f"{seed}/authenticator", length),
                "group_id": seeded(f"{seed}/group", members),
                "epoch": epoch,
                "roster": roster,
            })


def key_cases():
    for suite, name, nk, nh in ((1, "sha256", 48, 32), (4, "sha256", 16, 32), (5, "sha512", 32, 64), (8, "sha512", 96, 64)):
        base = bytes.fromhex(seeded(f"base key {suite}", nk))
        steps = [base]
        for _ in range(3):
            steps.append(expand(name, extract(name, b"", steps[-1]), b"SFrame 1.0 Ratchet", nh))
        streams = []
        for ssrc in (0, 1, 0xDEADBEEF, 0xFFFFFFFF):
            prk = extract(name, ssrc.to_bytes(4, "big"), base)
            streams.append({"ssrc": ssrc, "key": expand(name, prk, b"SFrame 1.0 RTP Stream", nh).hex()})
        yield {
            "suite": suite,
            "base_key": base.hex(),
            "ratchet": [step.hex() for step in steps[1:]],
            "rtp_streams": streams,
        }


print(json.dumps({"long_codes": list(code_cases()), "keys": list(key_cases())}, indent=1))
