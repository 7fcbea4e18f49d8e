//! The report's names stay what they are, and `compare` finds what is worse.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, path::PathBuf};

use media_bench::report::{self, About, Comparison, Document, Extent};

/// Every section at the smallest size: what it measures is worthless, what it calls it is not.
#[test]
fn names_are_stable() {
    let document = report::run(Extent::Tiny, &[], false).unwrap();
    let has = |name: &str| {
        let found = document.ratios.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(found.is_finite() && *found > 0.0, "{name}: {found}");
    };
    for operation in ["commit_apply", "receive_merge", "join", "export", "load"] {
        for peer in ["mls_rs_awslc", "mls_rs_rustcrypto", "openmls"] {
            has(&format!("mls/suite2/n10/{operation}/vs_{peer}"));
            has(&format!("mls/suite1/n2/{operation}/vs_{peer}"));
        }
        has(&format!("mls/suite2/n10/{operation}/rustcrypto_vs_openmls"));
    }
    has("mls/suite2/n10/commit_blank_tree_wall/vs_mls_rs_awslc");
    has("mls/suite2/n10/join/vs_signature_checks");
    for operation in ["protect", "unprotect"] {
        for size in [80, 1200] {
            for over in ["over_raw_best", "over_raw_same_backend"] {
                let name = format!("frame/aes128gcm/{size}/{operation}/{over}");
                assert!(document.overhead_ns.contains_key(&name), "{name}");
            }
        }
    }
    let times = |suite| format!("frame/{suite}/80/protect/ours_rust_crypto");
    for suite in ["aes256gcm", "aes128ctr_hmac80", "aes256ctr_hmac32"] {
        assert!(document.times.contains_key(&times(suite)), "{suite}");
    }
    for stream in ["suite1/audio", "suite2/video"] {
        let place = format!("signatures/{stream}");
        assert!(document.counts[&format!("{place}/kbit_per_s/ours_awslc")] > 1.0, "{place}");
        for operation in ["sign_frame", "verify_frame"] {
            let name = format!("{place}/{operation}/ours_rustcrypto");
            assert!(document.times[&name].median > 0.0, "{name}");
        }
    }
    for operation in ["protect_2_threads", "unprotect_2_threads_wall"] {
        let name = format!("frame/aes128gcm/80/{operation}/ours");
        assert!(document.times[&name].median > 0.0, "{name}");
    }
    for who in ["ours_awslc", "mls_rs_awslc", "openmls"] {
        for count in ["snapshot_bytes", "commit_bytes", "welcome_bytes"] {
            let name = format!("mls/suite2/n10/{count}/{who}");
            assert!(document.counts[&name] > 0.0, "{name}");
        }
    }
    for (scheme, event) in [("mls", "rekey"), ("sender_keys", "rekey"), ("pairwise", "message")] {
        let rows = document.rekey.iter().filter(|row| row.scheme == scheme && row.event == event);
        assert!(rows.clone().any(|row| row.members == 5 && row.cpu_ns > 0.0), "{scheme} {event}");
    }
    assert!(document.latency.contains_key("rotation/n3/removal"));
    assert!(document.about.quick && !document.about.cpu.is_empty());

    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("report.json");
    document.write(&file).unwrap();
    let again = Document::read(&file).unwrap();
    assert_eq!(again.ratios.len(), document.ratios.len());
    assert!(report::summary(&again).contains("mls/suite2/n10/commit_apply"));
    let page = report::html(&again).unwrap();
    assert!(page.contains("<svg") && page.ends_with("</html>"));
    assert!(page.contains("suite 2 (P-256), 10 members, join by Welcome"));
    assert!(page.contains("Signatures by the sender") && !page.contains("NaN"));
    assert!(!page.contains("http://") || !page.contains("src="), "the page fetches something");
}

fn with(ratio: f64, overhead: f64, bytes: f64) -> Document {
    let mut document = Document::new(About::gather(true));
    document.ratios.insert("frame/aes128gcm/80/protect/vs_sframe_best".to_owned(), ratio);
    let name = "frame/aes128gcm/80/protect/over_raw_best";
    document.overhead_ns.insert(name.to_owned(), overhead);
    document.counts.insert("mls/suite2/n10/commit_bytes/ours_awslc".to_owned(), bytes);
    document.counts.insert("mls/suite2/n10/commit_bytes/openmls".to_owned(), bytes);
    document
}

#[test]
fn what_is_worse_is_found() {
    let old = with(2.0, 10.0, 100.0);
    let compare = |new: &Document, threshold| Comparison::new(&old, new, threshold, false);
    let names = |comparison: &Comparison| {
        comparison.slower.iter().map(|it| it.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(compare(&old, 0.0).slower, []);
    assert_eq!(compare(&old, 0.0).compared, 3);
    assert_eq!(compare(&with(3.0, 5.0, 50.0), 0.0).slower, []);
    // A ratio is worse when it falls, everything else when it grows; a peer's figures are its own affair.
    let worse = with(1.0, 15.0, 120.0);
    assert_eq!(
        names(&compare(&worse, 0.1)),
        [
            "frame/aes128gcm/80/protect/vs_sframe_best",
            "frame/aes128gcm/80/protect/over_raw_best",
            "mls/suite2/n10/commit_bytes/ours_awslc",
        ]
    );
    assert_eq!(names(&compare(&worse, 0.3)).len(), 2);
    let empty = Document::new(About::gather(true));
    assert_eq!(compare(&empty, 0.1).missing.len(), 3);
    assert!(compare(&worse, 0.1).show().contains("3 of 3 figures are worse"));
}

#[test]
fn reports_of_another_format_are_refused() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("other.json");
    fs::write(&file, "{\"schema\": 99}").unwrap();
    assert!(Document::read(&file).unwrap_err().to_string().contains("schema"));
    assert!(Document::read(&folder.join("absent.json")).is_err());
}
