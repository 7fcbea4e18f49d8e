use std::time::Duration;

use mls::wire::UnixTime;

/// A moment, in microseconds since the Unix epoch, as the driver's clock gives it.
///
/// It never goes back: a driver reads the wall clock once and adds monotonic time, a simulation counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Now(u64);

impl Now {
    /// The moment `micros` microseconds after the Unix epoch.
    pub const fn from_unix_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_unix_micros(self) -> u64 {
        self.0
    }

    /// The same moment in whole seconds, for lifetimes (RFC 9420 section 7.2).
    pub const fn unix_time(self) -> UnixTime {
        UnixTime(self.0 / 1_000_000)
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Now {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}
