//! Clips that real encoders made, through protection, packetizer, and back.

use super::{Pair, packets};
use sframe_bridge::codec::Codec;
use std::process::Command;

const PICTURE: &str = "testsrc2=size=320x180:rate=25:duration=2";
const SOUND: &str = "sine=frequency=440:duration=2";

/// What ffmpeg makes of its test source, or `None` (said loudly) where there is no ffmpeg.
fn encode(source: &str, name: &str, options: &[&str]) -> Option<Vec<u8>> {
    let path = std::env::temp_dir().join(format!("framelock-{}-{name}", std::process::id()));
    let run = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source])
        .args(options)
        .arg(&path)
        .status();
    let Ok(status) = run else {
        println!("codecs: {name} SKIPPED: ffmpeg not found (Debian package ffmpeg)");
        return None;
    };
    assert!(status.success(), "ffmpeg failed for {name}");
    let clip = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    Some(clip)
}

/// The frames of an IVF file.
fn ivf_frames(mut clip: &[u8]) -> Vec<Vec<u8>> {
    clip = &clip[32..];
    let mut frames = Vec::new();
    while let Some((head, rest)) = clip.split_at_checked(12) {
        let length = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        frames.push(rest[..length].to_vec());
        clip = &rest[length..];
    }
    frames
}

/// The access units of a byte stream in which each begins with a delimiter.
fn access_units(clip: &[u8]) -> Vec<Vec<u8>> {
    let starts = (0..clip.len() - 5).filter(|&at| clip[at..at + 5] == [0, 0, 0, 1, 9]);
    let mut starts: Vec<_> = starts.collect();
    starts.push(clip.len());
    starts.windows(2).map(|pair| clip[pair[0]..pair[1]].to_vec()).collect()
}

fn through(codec: Codec, name: &str, frames: &[Vec<u8>]) {
    assert!(frames.len() >= 50, "{name}: {} frames", frames.len());
    let mut pair = Pair::new();
    let (mut plain_bytes, mut wire_bytes, mut keyframes) = (0, 0, 0);
    for frame in frames {
        let wire = pair.protect(codec, frame);
        assert_eq!(codec.is_keyframe(&wire), codec.is_keyframe(frame));
        let arrived = packets::there_and_back(codec, &wire, 1200);
        assert_eq!(&pair.open(codec, &arrived).unwrap(), frame);
        plain_bytes += frame.len();
        wire_bytes += wire.len();
        keyframes += usize::from(codec.is_keyframe(&wire) == Some(true));
    }
    let overhead = (wire_bytes - plain_bytes) as f64 / frames.len() as f64;
    println!(
        "codecs: {name}: {} frames, {keyframes} seen as keyframes, {overhead:.1} bytes more each",
        frames.len()
    );
    if matches!(codec, Codec::Vp8 | Codec::H264 | Codec::Av1) {
        assert_eq!(keyframes, 2, "{name}: a keyframe each second");
    }
}

#[test]
fn vp8() {
    let options = ["-c:v", "libvpx", "-b:v", "400k", "-g", "25", "-auto-alt-ref", "0", "-f", "ivf"];
    if let Some(clip) = encode(PICTURE, "vp8.ivf", &options) {
        through(Codec::Vp8, "VP8 (libvpx)", &ivf_frames(&clip));
    }
}

#[test]
fn vp9() {
    let options =
        ["-c:v", "libvpx-vp9", "-b:v", "400k", "-g", "25", "-deadline", "realtime", "-f", "ivf"];
    if let Some(clip) = encode(PICTURE, "vp9.ivf", &options) {
        through(Codec::Vp9, "VP9 (libvpx)", &ivf_frames(&clip));
    }
}

#[test]
fn h264_with_several_slices() {
    let parameters = "slices=4:keyint=25:scenecut=0:bframes=0:aud=1";
    let options = ["-c:v", "libx264", "-b:v", "400k", "-x264-params", parameters, "-f", "h264"];
    if let Some(clip) = encode(PICTURE, "slices.h264", &options) {
        through(Codec::H264, "H.264 (x264, four slices)", &access_units(&clip));
    }
}

#[test]
fn h264_baseline() {
    let parameters = "keyint=25:scenecut=0:aud=1";
    let options = [
        "-c:v",
        "libx264",
        "-profile:v",
        "baseline",
        "-tune",
        "zerolatency",
        "-pix_fmt",
        "yuv420p",
    ];
    let rest = ["-x264-params", parameters, "-f", "h264"];
    if let Some(clip) = encode(PICTURE, "baseline.h264", &[&options[..], &rest].concat()) {
        through(Codec::H264, "H.264 (x264, baseline)", &access_units(&clip));
    }
}

#[test]
fn av1() {
    let options = [
        "-c:v",
        "libaom-av1",
        "-b:v",
        "400k",
        "-g",
        "25",
        "-usage",
        "realtime",
        "-cpu-used",
        "8",
        "-f",
        "ivf",
    ];
    if let Some(clip) = encode(PICTURE, "av1.ivf", &options) {
        through(Codec::Av1, "AV1 (libaom)", &ivf_frames(&clip));
    }
}

#[test]
fn opus() {
    let Some(clip) = encode(SOUND, "opus.ogg", &["-c:a", "libopus", "-b:a", "24k"]) else { return };
    let mut pages = ogg::PacketReader::new(std::io::Cursor::new(clip));
    let mut packets = Vec::new();
    while let Some(packet) = pages.read_packet().unwrap() {
        packets.push(packet.data);
    }
    // The first two packets are the stream's headers.
    through(Codec::Opus, "Opus (libopus)", &packets[2..]);
}
