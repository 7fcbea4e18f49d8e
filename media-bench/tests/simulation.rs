//! The simulation: the same seed gives the same report, targets can be met and missed, stand-ins behave as full members do,
//! and the call survives what the network does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use media_bench::simulate::{Fidelity, Process, Report, Scenario, SignallingPath, play};

/// A call of six for twenty seconds.
const SMALL: &str = r#"
name = "small"
description = "Six people for twenty seconds"
duration_s = 20
members = 6
arrival_s = 3
[media]
samples = 2
[[process]]
kind = "churn"
every_s = 2
[targets]
undecryptable_no_key = 0
rotation_p99_ms = 3000
"#;

fn small() -> Scenario {
    Scenario::parse(SMALL).unwrap()
}

/// Plays, and checks what holds for every call.
fn played(scenario: &Scenario, seed: u64) -> Report {
    let report = play(scenario, seed).unwrap();
    let frames = &report.frames;
    let sum = frames.received
        + frames.lost_in_transport
        + frames.undecryptable_no_key
        + frames.undecryptable_other;
    assert_eq!(frames.sent, sum, "seed {seed}: {frames:?}");
    assert_eq!(frames.undecryptable_other, 0, "seed {seed}");
    assert_eq!(report.after_leave_opened, 0, "seed {seed}");
    assert_eq!(report.epochs_with_two_winners, 0, "seed {seed}");
    assert!(report.converged, "seed {seed}: {:?}", report.noticed);
    report
}

#[test]
fn the_scenarios_that_come_with_the_project_are_sound() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/scenarios");
    for name in ["pairs", "team", "fifty", "two-hundred", "town-hall", "webinar"] {
        Scenario::load(&folder.join(name).with_extension("toml")).unwrap();
    }
    let call = Scenario::load(&folder.join("default.toml")).unwrap_err();
    assert!(format!("{call:#}").contains("call --scenario"), "{call:#}");
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let first = played(&small(), 7).to_json().unwrap();
    assert_eq!(first, played(&small(), 7).to_json().unwrap());
    assert_ne!(first, played(&small(), 8).to_json().unwrap());
}

#[test]
fn a_short_call_meets_its_targets_and_others_are_missed() {
    let mut scenario = small();
    let report = played(&scenario, 1);
    assert!(report.targets_met, "seed 1: {:?}", report.targets);
    assert!(report.roster_changes >= 8 && report.frames.really_opened > 1_000, "{report:?}");
    scenario.targets.rotation_p99_ms = Some(1.0);
    assert!(!played(&scenario, 1).targets_met);
}

#[test]
fn the_report_has_the_names_that_are_promised() {
    let report = serde_json::to_value(played(&small(), 3)).unwrap();
    for name in [
        "members",
        "roster_changes",
        "epochs",
        "after_leave_opened",
        "key_traffic_kbit_s_per_member",
        "converged",
        "targets_met",
        "seed",
    ] {
        assert!(!report[name].is_null(), "{name}");
    }
    for name in ["rotation_ms", "exposure_ms", "join_to_first_frame_ms", "key_wait_ms"] {
        for percentile in ["p50", "p99", "max"] {
            assert!(report[name][percentile].is_number(), "{name}.{percentile}");
        }
    }
    for name in
        ["sent", "received", "lost_in_transport", "undecryptable_no_key", "undecryptable_other"]
    {
        assert!(report["frames"][name].is_number(), "frames.{name}");
    }
}

#[test]
fn stand_ins_and_full_members_agree() {
    let mut scenario = Scenario::parse(&SMALL.replace("members = 6", "members = 30")).unwrap();
    scenario.duration_s = 120.0;
    scenario.media.presenters = 5;
    scenario.computing.slow_share = 0.0;
    scenario.process = vec![Process::Churn { every_s: 1.0 }];
    let seed = 1;
    let full = played(&scenario, seed);
    scenario.fidelity = Fidelity::Sample;
    let sample = played(&scenario, seed);
    assert!(sample.full_members < full.full_members, "seed {seed}");
    assert_eq!(sample.roster_changes, full.roster_changes, "seed {seed}");
    assert_eq!(sample.members, full.members, "seed {seed}");
    let near = |name: &str, within: f64, value: fn(&Report) -> f64| {
        let (sample, full) = (value(&sample), value(&full));
        let apart = (sample / full - 1.0).abs();
        assert!(apart < within, "seed {seed}: {name} {sample} of stand-ins and {full}");
    };
    near("epochs", 0.05, |report| report.epochs as f64);
    near("exposure", 0.1, |report| report.exposure_ms.p50);
    near("rotation", 0.1, |report| report.rotation_ms.p50);
    near("ready", 0.1, |report| report.receivers_ready_ms.p50);
    near("joining", 0.1, |report| report.join_to_first_frame_ms.mean);
    near("traffic", 0.05, |report| report.key_traffic_kbit_s_per_member);
    near("processor time", 0.05, |report| report.cpu_ms_per_member_minute);
}

mod faults {
    use super::*;

    /// A small call on a bad network, over each path.
    fn survives(name: &str, change: impl Fn(&mut Scenario)) {
        for path in [SignallingPath::Stream, SignallingPath::TwoStreams, SignallingPath::Datagrams]
        {
            for seed in 1..=2 {
                let mut scenario = small();
                scenario.name = name.to_owned();
                scenario.signalling.path = path;
                change(&mut scenario);
                let report = played(&scenario, seed);
                assert!(report.epochs > 0, "{name}, seed {seed}, {path:?}");
            }
        }
    }

    #[test]
    fn loss_up_to_thirty_percent_converges() {
        for loss in [0.0, 0.1, 0.3] {
            survives("loss", |scenario| scenario.network.loss = loss);
        }
    }

    #[test]
    fn bursts_of_loss_converge() {
        survives("bursts", |scenario| {
            scenario.network.loss = 0.1;
            scenario.network.burst_ms = 200.0;
        });
    }

    #[test]
    fn duplicates_and_reordering_converge() {
        survives("duplicates", |scenario| {
            scenario.network.duplicate = 0.1;
            scenario.network.reorder = 0.2;
            scenario.network.reorder_ms = 300.0;
        });
    }

    #[test]
    fn a_partition_that_heals_converges() {
        for for_s in [2.0, 8.0, 25.0] {
            survives("partition", |scenario| {
                scenario.duration_s = 40.0;
                let at_s = 5.0;
                scenario.process.push(Process::Partition { at_s, for_s, share: 0.5 });
            });
        }
    }

    #[test]
    fn crashes_lost_networks_and_sleepers_converge() {
        survives("troubles", |scenario| {
            scenario.members = 9;
            scenario.process.push(Process::Flaky { every_s: 3.0, away_s: 2.0 });
            scenario.process.push(Process::Crash { every_s: 8.0 });
            scenario.process.push(Process::Sleep { every_s: 9.0, asleep_s: 6.0 });
        });
    }
}
