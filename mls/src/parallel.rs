//! Spreading independent work over threads, where the feature `threads` is on.
//!
//! Nothing else in the library starts a thread, and none outlives the call that started it. What comes out depends
//! neither on the number of threads nor on which of them is first.

/// Does the work for every item; in case of failure the error is that of the first item that fails, in the order of the
/// items.
#[cfg(not(feature = "threads"))]
pub(crate) fn try_map<T, R, E>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E>,
) -> Result<Vec<R>, E> {
    items.iter().map(work).collect()
}

#[cfg(feature = "threads")]
pub(crate) use threads::try_map;
pub(crate) use with_rng::try_map_with_rng;

#[cfg(feature = "threads")]
mod threads {
    use std::thread::{Builder, available_parallelism, scope};

    /// Fewer items than this are not worth a thread: the cheapest work, a signature check, takes as long as starting one.
    const LEAST: usize = 16;

    /// Does the work for every item; in case of failure the error is that of the first item that fails, in the order of the
    /// items.
    pub(crate) fn try_map<T: Sync, R: Send, E: Send>(
        items: &[T],
        work: impl Fn(&T) -> Result<R, E> + Sync,
    ) -> Result<Vec<R>, E> {
        let all = |items: &[T]| items.iter().map(&work).collect::<Result<Vec<R>, E>>();
        let threads = available_parallelism().map_or(1, usize::from).min(items.len() / LEAST);
        if threads < 2 {
            return all(items);
        }
        let (own, others) = items.split_at(items.len().div_ceil(threads));
        scope(|scope| {
            let started: Vec<_> = others
                .chunks(own.len())
                .map(|share| (share, Builder::new().spawn_scoped(scope, || all(share)).ok()))
                .collect();
            let mut results = all(own)?;
            for (share, thread) in started {
                // Where the system gives no thread, the work is done here.
                let done = thread.and_then(|thread| thread.join().ok());
                results.extend(done.unwrap_or_else(|| all(share))?);
            }
            Ok(results)
        })
    }
}

#[cfg(not(feature = "threads"))]
mod with_rng {
    use crate::crypto::{CryptoRng, Suite};

    /// [`super::try_map`] for work that takes randomness.
    pub(crate) fn try_map_with_rng<T, R, E>(
        _: &Suite,
        items: &[T],
        rng: &mut dyn CryptoRng,
        work: impl Fn(&T, &mut dyn CryptoRng) -> Result<R, E>,
    ) -> Result<Vec<R>, E> {
        items.iter().map(|item| work(item, rng)).collect()
    }
}

#[cfg(feature = "threads")]
mod with_rng {
    use std::convert::Infallible;

    use rand_core::{TryCryptoRng, TryRng};

    use crate::crypto::{CryptoRng, Secret, Suite};

    /// [`super::try_map`] for work that takes randomness. Each item gets a seed from `rng`, whatever thread it falls to, and
    /// draws what it needs from that.
    pub(crate) fn try_map_with_rng<T: Sync, R: Send, E: Send>(
        suite: &'static Suite,
        items: &[T],
        rng: &mut dyn CryptoRng,
        work: impl Fn(&T, &mut dyn CryptoRng) -> Result<R, E> + Sync,
    ) -> Result<Vec<R>, E> {
        let length = suite.hash_length();
        let seeded: Vec<_> = items.iter().map(|item| (item, Secret::random(length, rng))).collect();
        super::try_map(&seeded, |(item, seed)| work(item, &mut Seeded { suite, seed, blocks: 0 }))
    }

    /// Randomness from a seed: its MACs over a counter.
    struct Seeded<'a> {
        suite: &'static Suite,
        seed: &'a Secret,
        blocks: u64,
    }

    impl TryRng for Seeded<'_> {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            let mut bytes = [0; 4];
            self.try_fill_bytes(&mut bytes)?;
            Ok(u32::from_le_bytes(bytes))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            let mut bytes = [0; 8];
            self.try_fill_bytes(&mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            for part in out.chunks_mut(self.suite.hash_length().max(1)) {
                let counter = self.blocks.to_be_bytes();
                self.blocks = self.blocks.wrapping_add(1);
                let block = self.suite.hash.hmac(self.seed.as_bytes(), &[&counter]);
                for (to, from) in part.iter_mut().zip(block.as_bytes()) {
                    *to = *from;
                }
            }
            Ok(())
        }
    }

    impl TryCryptoRng for Seeded<'_> {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_the_first_failure_counts() {
        for length in [0, 1, 15, 16, 31, 32, 33, 100, 1000] {
            let items: Vec<usize> = (0..length).collect();
            let doubled = try_map(&items, |item| Ok::<_, ()>(item * 2));
            assert_eq!(doubled, Ok(items.iter().map(|item| item * 2).collect()));
            for first in [0, length / 3, length.saturating_sub(1)] {
                let failed =
                    try_map(&items, |item| if *item < first { Ok(()) } else { Err(*item) });
                assert_eq!(failed.err(), items.get(first).copied(), "{length} items");
            }
        }
    }

    #[test]
    fn every_item_has_randomness_of_its_own() {
        let suite = crate::crypto::default_provider()
            .suite(crate::wire::CipherSuite::X25519_AES128GCM_SHA256_ED25519)
            .unwrap();
        let draw = || {
            let rng: &mut dyn crate::crypto::CryptoRng =
                &mut <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(7);
            try_map_with_rng(suite, &[(); 100], rng, |(), rng| {
                let mut bytes = [0; 80];
                rng.fill_bytes(&mut bytes);
                Ok::<_, ()>(bytes)
            })
            .unwrap()
        };
        let drawn = draw();
        let halves = drawn.iter().flat_map(|bytes| bytes.chunks(20));
        assert_eq!(halves.collect::<std::collections::BTreeSet<_>>().len(), 400);
        assert_eq!(drawn, draw(), "the same generator gives the same");
    }
}
