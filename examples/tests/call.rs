//! A short call with real clients over UDP on loopback: every promise, and recordings that play.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it leaves out"
)]

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use examples::media::{CLIP_AUDIO, CLIP_VIDEO, Clip, ivf, opus};
use examples::scenario::file::Scenario;
use examples::scenario::report::{Report, Verdict};
use examples::scenario::run;

const SCENARIO: &str = r#"
    name = "short"
    duration = 10
    grace = 1.0
    participant = [
        { name = "alice", moderator = true },
        { name = "bob" },
        { name = "carol" },
        { name = "dave", audio = false },
        { name = "erin", video = false, audio = false },
    ]
    step = [
        { at = 0.0, action = "join", who = ["alice"] },
        { at = 0.6, action = "join", who = ["bob", "carol"] },
        { at = 2.0, action = "join", who = ["erin"] },
        { at = 3.0, action = "crash", who = ["carol"] },
        { at = 3.5, action = "join", who = ["dave"] },
        { at = 4.8, action = "reconnect", who = ["bob"], away = 0.6 },
        { at = 5.0, action = "join", who = ["carol"] },
        { at = 7.0, action = "remove", who = ["dave"], by = "alice" },
        { at = 8.0, action = "leave", who = ["erin"] },
    ]
"#;

async fn play(record: Option<PathBuf>) -> Report {
    let scenario = Scenario::parse(SCENARIO).unwrap();
    run::run(&scenario, record).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_holds_and_recordings_play() {
    let folder = std::env::temp_dir().join(format!("framelock-call-{}", std::process::id()));
    let report = play(Some(folder.clone())).await;
    let json = report.to_json().unwrap();
    assert_eq!(report.failures, Vec::<String>::new(), "{json}");
    assert_eq!(report.exit_code, Verdict::Held as u8);
    assert_eq!(report.roster_changes, 8, "{json}");

    let frames = &report.frames;
    assert!(frames.received > 1000, "{json}");
    assert_eq!(frames.undecryptable, 0);
    assert_eq!(frames.mismatched, 0);
    let sum = frames.received + frames.lost_in_transport + frames.undecryptable;
    assert_eq!(frames.sent, sum + frames.mismatched);
    assert!(frames.lost_in_transport * 100 <= frames.sent, "{json}");

    // Keys of those who left were tried on what came later, keys of newcomers on what was before.
    // Carol crashed and came again, under fresh keys: every (key, counter) stands in the ledger.
    assert_eq!((report.after_leave_opened, report.before_join_opened), (0, 0));
    assert_eq!(report.after_leave.members, 3, "{json}");
    assert!(report.after_leave.attempts > 100 && report.before_join.attempts > 100);
    assert_eq!(report.reused_counters, 0);
    assert_eq!(report.crash_detection_ms.count, 1);
    assert_eq!(report.removals.len(), 3);
    assert!(report.removals.iter().all(|removal| removal.switch_ms.is_some()), "{json}");

    let videos = recordings(&folder, "ivf");
    let audios = recordings(&folder, "ogg");
    assert!(videos.len() >= 8, "{videos:?}");
    assert!(audios.len() >= 6, "{audios:?}");
    let picture = ivf::read(CLIP_VIDEO).unwrap();
    for path in &videos {
        follows_the_clip(&ivf::read(std::fs::File::open(path).unwrap()).unwrap(), &picture, path);
    }
    let sound = opus::read(Cursor::new(CLIP_AUDIO)).unwrap();
    for path in &audios {
        let recorded = opus::read(std::fs::File::open(path).unwrap()).unwrap();
        let known = |frame| sound.frames().contains(frame);
        assert!(recorded.frames().iter().all(known), "{}", path.display());
    }
    decode(videos.iter().chain(&audios));
    std::fs::remove_dir_all(folder).unwrap();
}

fn recordings(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for participant in std::fs::read_dir(folder).unwrap() {
        for file in std::fs::read_dir(participant.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|known| known == extension) {
                found.push(path);
            }
        }
    }
    found
}

/// A decoder meets no frame whose reference is missing: the recording starts with a keyframe, and
/// each frame is a keyframe or the one that follows in the clip.
fn follows_the_clip(recorded: &Clip, clip: &Clip, path: &Path) {
    let mut expected = None;
    assert!(recorded.frames()[0].keyframe, "{}", path.display());
    for (index, frame) in recorded.frames().iter().enumerate() {
        let place = clip
            .frames()
            .iter()
            .position(|known| known.data == frame.data)
            .unwrap_or_else(|| panic!("{}: frame {index} is not of the clip", path.display()));
        assert!(frame.keyframe || expected == Some(place), "{}: frame {index}", path.display());
        expected = Some((place + 1) % clip.frames().len());
    }
}

/// Decodes with ffmpeg where there is one.
fn decode<'a>(paths: impl Iterator<Item = &'a PathBuf>) {
    for path in paths {
        let run = Command::new("ffmpeg")
            .args(["-v", "error", "-xerror", "-i"])
            .arg(path)
            .args(["-f", "null", "-"])
            .output();
        let Ok(output) = run else {
            eprintln!("recordings NOT DECODED: there is no ffmpeg here");
            return;
        };
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && words.is_empty(), "{}: {words}", path.display());
    }
}
