//! The section on frames.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use sframe_bridge::{CipherSuite, crypto::PROVIDERS};

use super::{Document, Extent, run::Step};
use crate::{
    frames::{Backend, Ours, Parallel, Raw, SframePeer, Subject, in_parallel, suite_name},
    measure::{Effort, Samples, Unit},
};

const AES128_GCM: CipherSuite = CipherSuite::Aes128GcmSha256_128;
const AES256_GCM: CipherSuite = CipherSuite::Aes256GcmSha512_128;

struct Plan {
    /// Sizes of frames in bytes, for each suite.
    frames: Vec<(CipherSuite, Vec<usize>)>,
    parallel: Vec<usize>,
    backends: Vec<Backend>,
    effort: Effort,
}

fn plan(extent: Extent) -> Plan {
    let effort = |least, most, milliseconds| Effort {
        least,
        most,
        time: Duration::from_millis(milliseconds),
    };
    match extent {
        Extent::Tiny => Plan {
            frames: every_suite(&[80, 1_200], &[80]),
            parallel: vec![80],
            backends: Vec::new(),
            effort: effort(1, 1, 0),
        },
        Extent::Quick => Plan {
            frames: vec![(AES128_GCM, vec![80, 1_200, 10_000, 200_000])],
            parallel: vec![1_200],
            backends: vec![Backend::Ring, Backend::RustCrypto],
            effort: effort(20, 200, 2_500),
        },
        Extent::Full => Plan {
            frames: every_suite(
                &[80, 200, 500, 1_200, 3_000, 10_000, 50_000, 200_000],
                &[80, 1_200, 50_000],
            ),
            parallel: vec![80, 1_200, 10_000],
            backends: Backend::ALL.to_vec(),
            effort: effort(50, 1_000, 5_000),
        },
    }
}

/// The suite that calls use by default with some sizes, and the others with fewer.
fn every_suite(default: &[usize], others: &[usize]) -> Vec<(CipherSuite, Vec<usize>)> {
    let sizes = |suite| if suite == AES128_GCM { default.to_vec() } else { others.to_vec() };
    CipherSuite::ALL.into_iter().map(|suite| (suite, sizes(suite))).collect()
}

/// Some tenths of a millisecond's worth of frames.
fn frames_of(size: usize) -> u32 {
    u32::try_from(500_000 / size.max(250)).unwrap_or(1).max(12)
}

pub(super) fn steps<'a>(extent: Extent) -> Vec<Step<'a>> {
    let Plan { frames, parallel, backends, effort } = plan(extent);
    let mut steps = Vec::new();
    for (suite, sizes) in frames {
        let backends = match suite {
            AES128_GCM | AES256_GCM => backends.clone(),
            _ => Vec::new(),
        };
        let building = Duration::from_secs(if suite == AES128_GCM { 15 } else { 0 });
        let rounds = effort.time * u32::try_from(sizes.len()).unwrap_or(1);
        steps.push(Step {
            name: format!("frames, {}", suite_name(suite)),
            expected: rounds + building,
            work: Box::new(move |document| {
                let mut subjects = subjects(document, suite, &backends)?;
                for size in sizes {
                    measure(document, suite, size, &mut subjects, effort)?;
                }
                Ok(())
            }),
        });
    }
    let expected = effort.time * u32::try_from(parallel.len()).unwrap_or(1);
    steps.push(Step {
        name: "frames on two threads".to_owned(),
        expected,
        work: Box::new(move |document| {
            parallel.iter().try_for_each(|size| measure_parallel(document, *size, effort))
        }),
    });
    steps
}

/// Everybody who has the suite. A backend of a peer that cannot be built is noted in the report, and left out.
fn subjects(
    document: &mut Document,
    suite: CipherSuite,
    backends: &[Backend],
) -> Result<Vec<Box<dyn Subject>>> {
    let mut subjects: Vec<Box<dyn Subject>> = Vec::new();
    for provider in PROVIDERS {
        subjects.push(Box::new(Ours::new(provider, suite)?));
    }
    for raw in Raw::all(suite)? {
        subjects.push(Box::new(raw));
    }
    for backend in backends {
        let started = backend
            .build()
            .and_then(|program| SframePeer::start(&program, *backend, suite_name(suite)));
        match started {
            Ok(peer) => subjects.push(Box::new(peer)),
            Err(error) => document.note(format!("not measured: {error:#}")),
        }
    }
    Ok(subjects)
}

fn measure(
    document: &mut Document,
    suite: CipherSuite,
    size: usize,
    subjects: &mut [Box<dyn Subject>],
    effort: Effort,
) -> Result<()> {
    let mut samples: BTreeMap<(&str, String), Samples> = BTreeMap::new();
    let frames = frames_of(size);
    effort.rounds(|_| {
        for subject in subjects.iter_mut() {
            let name = subject.name();
            let protected = subject.protect(size, frames)?;
            let opened = subject.unprotect(size, frames)?;
            samples.entry(("protect", name.clone())).or_default().push(protected);
            samples.entry(("unprotect", name)).or_default().push(opened);
        }
        anyhow::Ok(())
    })?;
    for ((operation, name), samples) in &samples {
        document.time(place(suite, size, operation) + "/" + name, samples, Unit::CpuNs);
    }
    for operation in ["protect", "unprotect"] {
        judge(document, &place(suite, size, operation));
    }
    Ok(())
}

fn place(suite: CipherSuite, size: usize, operation: &str) -> String {
    format!("frame/{}/{size}/{operation}", suite_name(suite))
}

/// Ratios to the `sframe` crate and overheads over bare ciphers. Ours is the default backend, where no other is named.
fn judge(document: &mut Document, place: &str) {
    let median = |name: &str| document.times.get(&format!("{place}/{name}")).map(|it| it.median);
    let of = |prefix: &str| {
        let start = format!("{place}/{prefix}");
        let found = document.times.range(start.clone()..);
        found
            .take_while(|(name, _)| name.starts_with(&start))
            .filter_map(|(name, time)| Some((name.rsplit('/').next()?.to_owned(), time.median)))
            .collect::<Vec<_>>()
    };
    let least = |found: &[(String, f64)]| found.iter().map(|(_, ns)| *ns).min_by(f64::total_cmp);
    let (peers, raw) = (of("sframe_"), of("raw_"));
    let Some(default) = PROVIDERS.first().copied() else { return };
    let own_name = |name: &str| format!("ours_{}", name.replace(['-', '+'], "_"));
    let Some(ours) = median(&own_name(default.name)) else { return };
    let mut ratios = Vec::new();
    let mut overheads = Vec::new();
    for (name, theirs) in &peers {
        ratios.push((format!("{place}/vs_{name}"), theirs / ours));
    }
    if let Some(best) = least(&peers) {
        ratios.push((format!("{place}/vs_sframe_best"), best / ours));
    }
    if let Some(best) = least(&raw) {
        overheads.push((format!("{place}/over_raw_best"), ours - best));
    }
    // Each backend of one library over that library. One that chooses between libraries is judged by the faster of them.
    let bare = |backend: &str| {
        let parts = backend.split('+').filter_map(|part| match part {
            "aws-lc-rs" => median("raw_aws_lc_rs"),
            "ring" => median("raw_ring"),
            "rust-crypto" => median("raw_aes_gcm"),
            _ => None,
        });
        parts.min_by(f64::total_cmp)
    };
    if let Some(bare) = bare(default.name) {
        overheads.push((format!("{place}/over_raw_same_backend"), ours - bare));
    }
    for provider in PROVIDERS {
        let own = median(&own_name(provider.name));
        if let (Some(own), Some(bare)) = (own, bare(provider.name)) {
            let name = format!("{place}/{}_over_raw", own_name(provider.name));
            overheads.push((name, own - bare));
        }
    }
    document.ratios.extend(ratios);
    document.overhead_ns.extend(overheads);
}

fn measure_parallel(document: &mut Document, size: usize, effort: Effort) -> Result<()> {
    let Some(provider) = PROVIDERS.first().copied() else { return Ok(()) };
    let frames = frames_of(size).max(200);
    let mut samples: BTreeMap<&str, (Samples, Samples)> = BTreeMap::new();
    effort.rounds(|_| {
        for (operation, protecting) in [("protect", true), ("unprotect", false)] {
            let Parallel { cpu, wall } =
                in_parallel(provider, AES128_GCM, size, frames, protecting)?;
            let (cpus, walls) = samples.entry(operation).or_default();
            cpus.push(cpu);
            walls.push(wall);
        }
        anyhow::Ok(())
    })?;
    for (operation, (cpu, wall)) in &samples {
        let place = place(AES128_GCM, size, operation);
        document.time(format!("{place}_2_threads/ours"), cpu, Unit::CpuNs);
        document.time(format!("{place}_2_threads_wall/ours"), wall, Unit::WallNs);
    }
    Ok(())
}
