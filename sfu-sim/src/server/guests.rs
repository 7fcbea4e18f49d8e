//! How many guests are let in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::PageConfig;
use crate::delivery::{Now, Rate, TokenBucket};

/// Addresses that are remembered at a time. One that has asked for nothing lately need not be.
const ADDRESSES: usize = 4096;

/// Counts what guests ask for, by address and in all.
#[derive(Debug)]
pub(super) struct GuestBook {
    per_address: Rate,
    overall: Rate,
    pages: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    overall: TokenBucket,
    addresses: HashMap<IpAddr, TokenBucket>,
}

impl GuestBook {
    pub(super) fn new(config: &PageConfig, now: Now) -> Self {
        let overall = TokenBucket::full(config.guests_overall, now);
        let pages = Pages { overall, addresses: HashMap::new() };
        Self {
            per_address: config.guests_per_address,
            overall: config.guests_overall,
            pages: Mutex::new(pages),
        }
    }

    /// Lets somebody ask; or says after which time one more is welcome. What one address asks for beyond its own
    /// rate is not taken from the others'.
    pub(super) fn admit(&self, address: IpAddr, now: Now) -> Result<(), Duration> {
        let network = network(address);
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = pages.addresses.get_mut(&network) {
            bucket.take(self.per_address, now)?;
            return pages.overall.take(self.overall, now);
        }
        pages.overall.take(self.overall, now)?;
        if pages.addresses.len() >= ADDRESSES {
            pages.addresses.retain(|_, bucket| !bucket.is_full(self.per_address, now));
        }
        if pages.addresses.len() >= ADDRESSES {
            return Err(Duration::from_secs(1));
        }
        let mut bucket = TokenBucket::full(self.per_address, now);
        let taken = bucket.take(self.per_address, now);
        pages.addresses.insert(network, bucket);
        taken
    }
}

/// What one household or company has: an address, with IPv6 a network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now::from_unix_micros(1_000_000);

    fn book(per_address: Rate, overall: Rate) -> GuestBook {
        let config = PageConfig {
            guests_per_address: per_address,
            guests_overall: overall,
            ..PageConfig::default()
        };
        GuestBook::new(&config, START)
    }

    fn v4(number: usize) -> IpAddr {
        let bits = u32::try_from(number).unwrap();
        IpAddr::V4(bits.into())
    }

    #[test]
    fn an_address_that_asks_too_often_does_not_use_up_what_others_may_ask_for() {
        let guests = book(Rate { burst: 2, per_second: 1.0 }, Rate { burst: 4, per_second: 0.0 });
        assert_eq!((0..50).filter(|_| guests.admit(v4(1), START).is_ok()).count(), 2);
        assert_eq!(guests.admit(v4(1), START), Err(Duration::from_secs(1)));
        assert_eq!((2..50).filter(|it| guests.admit(v4(*it), START).is_ok()).count(), 2);
    }

    #[test]
    fn what_is_remembered_of_addresses_is_bounded() {
        let guests =
            book(Rate { burst: 1, per_second: 0.1 }, Rate { burst: 1 << 20, per_second: 0.0 });
        let len = || guests.pages.lock().unwrap().addresses.len();
        assert_eq!(
            (0..ADDRESSES + 9).filter(|it| guests.admit(v4(*it), START).is_ok()).count(),
            ADDRESSES
        );
        assert_eq!(len(), ADDRESSES);
        // Those who have been quiet for long make room.
        let later = START + Duration::from_secs(10);
        assert_eq!(guests.admit(v4(ADDRESSES + 100), later), Ok(()));
        assert_eq!(len(), 1);
    }

    #[test]
    fn an_ipv6_network_is_one_guest_and_a_mapped_address_is_itself() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
    }
}
