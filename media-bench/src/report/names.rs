//! The names of report.json in words, for people.

/// Who is meant by the last part of a name.
pub(super) fn who(name: &str) -> String {
    let name = name.strip_prefix("vs_").unwrap_or(name);
    if let Some((ours, theirs)) = name.split_once("_vs_") {
        return format!("{} against {}", backend(ours), who(theirs));
    }
    if let Some(ours) = name.strip_suffix("_over_raw") {
        return format!("{} over the same bare cipher", who(ours));
    }
    let known = match name {
        "over_raw_best" => "over the fastest bare cipher",
        "over_raw_same_backend" => "over the bare cipher in use",
        "sframe_best" => "sframe crate, its fastest",
        "openmls" => "OpenMLS, RustCrypto",
        "signature_checks" => "signature checks alone",
        "mls" => "MLS",
        "sender_keys" => "sender keys, pairwise",
        "pairwise" => "pairwise messages",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    for (prefix, library) in
        [("ours", "Framelock"), ("raw", "bare"), ("sframe", "sframe crate"), ("mls_rs", "mls-rs")]
    {
        let rest = name.strip_prefix(prefix).map(|rest| rest.trim_start_matches('_'));
        match rest {
            Some("") => return library.to_owned(),
            Some(rest) if prefix == "raw" => return format!("{library} {}", backend(rest)),
            Some(rest) => return format!("{library}, {}", backend(rest)),
            None => {}
        }
    }
    name.replace('_', " ")
}

fn backend(name: &str) -> String {
    match name {
        "awslc" | "aws_lc_rs" => "aws-lc-rs".to_owned(),
        "aws_lc_rs_ring" => "aws-lc-rs + ring".to_owned(),
        "rustcrypto" | "rust_crypto" => "RustCrypto".to_owned(),
        "aes_gcm" => "aes-gcm".to_owned(),
        "openssl" => "OpenSSL".to_owned(),
        other => other.replace('_', " "),
    }
}

/// What is measured, by all parts of a name but the last one.
pub(super) fn what(path: &str) -> String {
    let parts = path.split('/').map(part).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(", ")
}

fn part(part: &str) -> String {
    let known = match part {
        "mls" | "frame" | "signatures" | "rotation" => "",
        "suite1" => "suite 1 (X25519, Ed25519)",
        "suite2" => "suite 2 (P-256)",
        "aes128gcm" => "AES-128-GCM",
        "aes256gcm" => "AES-256-GCM",
        "protect" => "protect",
        "unprotect" => "open",
        "commit_apply" => "create a commit and apply it",
        "receive_merge" => "receive a commit and merge it",
        "join" => "join by Welcome",
        "export" => "export a key",
        "save" => "write a snapshot",
        "load" => "read a snapshot",
        "commit_blank_tree" => "commit right after everybody was added",
        "removal" => "somebody leaves",
        "addition" => "somebody joins",
        "audio" => "audio, 48 kbit/s",
        "video" => "video, 1 Mbit/s",
        _ => return unknown(part),
    };
    known.to_owned()
}

fn unknown(name: &str) -> String {
    if let Some(rest) = name.strip_suffix("_wall") {
        return part(rest) + ", by the clock";
    }
    if let Some(rest) = name.strip_suffix("_2_threads") {
        return part(rest) + " on two threads";
    }
    if name.parse::<u64>().is_ok() {
        return format!("{name} B");
    }
    match name.strip_prefix('n').and_then(|number| number.parse::<u64>().ok()) {
        Some(members) => format!("{members} members"),
        None => name.replace('_', " "),
    }
}

/// What names are sorted by: numbers by their value, not by their digits.
pub(super) fn order(path: &str) -> Vec<(&str, u64)> {
    path.split('/')
        .map(|part| {
            let text = part.trim_end_matches(|c: char| c.is_ascii_digit());
            let number = part.strip_prefix(text).and_then(|number| number.parse().ok());
            (text, number.unwrap_or_default())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_words() {
        assert_eq!(
            what("mls/suite2/n1000/join_wall"),
            "suite 2 (P-256), 1000 members, join by Welcome, by the clock"
        );
        assert_eq!(what("frame/aes128gcm/80/unprotect"), "AES-128-GCM, 80 B, open");
        for (name, expected) in [
            ("vs_mls_rs_awslc", "mls-rs, aws-lc-rs"),
            ("rustcrypto_vs_openmls", "RustCrypto against OpenMLS, RustCrypto"),
            ("ours_aws_lc_rs_ring", "Framelock, aws-lc-rs + ring"),
            ("ours", "Framelock"),
            ("raw_ring", "bare ring"),
            ("vs_sframe_rustcrypto", "sframe crate, RustCrypto"),
            ("vs_sframe_best", "sframe crate, its fastest"),
        ] {
            assert_eq!(who(name), expected);
        }
    }

    #[test]
    fn numbers_sort_by_value() {
        let mut names = ["mls/suite2/n1000", "mls/suite2/n2", "mls/suite1/n10", "mls/suite2/n100"];
        names.sort_by_key(|name| order(name));
        assert_eq!(
            names,
            ["mls/suite1/n10", "mls/suite2/n2", "mls/suite2/n100", "mls/suite2/n1000"]
        );
    }
}
