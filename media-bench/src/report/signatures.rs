//! The costs of signing frames.

use std::time::Duration;

use anyhow::Result;
use mls::{
    CipherSuite,
    crypto::{AWS_LC_RS, CryptoProvider, RUST_CRYPTO},
};

use super::{Document, Extent, run::Step};
use crate::{
    frames::{STREAMS, SignedStream, Stream},
    measure::{Effort, Samples, Unit},
};

const SUITES: [(&str, CipherSuite); 2] = [
    ("suite1", CipherSuite::X25519_AES128GCM_SHA256_ED25519),
    ("suite2", CipherSuite::P256_AES128GCM_SHA256_P256),
];

pub(super) fn steps<'a>(extent: Extent) -> Vec<Step<'a>> {
    let milliseconds = match extent {
        Extent::Tiny => 0,
        Extent::Quick => 200,
        Extent::Full => 1_000,
    };
    let effort = Effort { least: 3, most: 1_000, time: Duration::from_millis(milliseconds) };
    let step = |(suite_name, suite)| Step {
        name: format!("signed frames, {suite_name}"),
        expected: effort.time * 4,
        work: Box::new(move |document: &mut Document| {
            for stream in STREAMS {
                let place = format!("signatures/{suite_name}/{}", stream.name);
                for (who, provider) in
                    [("ours_awslc", &AWS_LC_RS), ("ours_rustcrypto", &RUST_CRYPTO)]
                {
                    measure(document, &place, who, provider, (suite, stream), effort)?;
                }
            }
            Ok(())
        }),
    };
    SUITES.into_iter().map(step).collect()
}

fn measure(
    document: &mut Document,
    place: &str,
    who: &str,
    provider: &'static CryptoProvider,
    (suite, stream): (CipherSuite, Stream),
    effort: Effort,
) -> Result<()> {
    let mut signed = SignedStream::new(provider, suite, stream)?;
    // The first time fills the caches.
    signed.play()?;
    let (mut sign, mut verify) = (Samples::default(), Samples::default());
    let (mut bytes, mut batches) = (0, 0);
    let seconds = effort.rounds(|_| {
        let cost = signed.play()?;
        sign.push(cost.sign);
        verify.push(cost.verify);
        bytes += cost.bytes;
        batches += cost.batches;
        anyhow::Ok(())
    })?;
    document.time(format!("{place}/sign_frame/{who}"), &sign, Unit::CpuNs);
    document.time(format!("{place}/verify_frame/{who}"), &verify, Unit::CpuNs);
    let per_second = |count: usize| {
        Ok::<_, anyhow::Error>(f64::from(u32::try_from(count)?) / f64::from(seconds))
    };
    document.counts.insert(format!("{place}/kbit_per_s/{who}"), per_second(bytes * 8)? / 1e3);
    document.counts.insert(format!("{place}/batches_per_s/{who}"), per_second(batches)?);
    Ok(())
}
