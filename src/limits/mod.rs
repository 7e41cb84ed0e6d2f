//! How much of the server anybody may use: rates of each access key, bucket and client address, and what all requests may take at once.
//!
//! It knows nothing of HTTP. A request is let in by [`Limiter::admit`] or not; then it has a [`Passage`], through which it is charged for
//! what it turns out to be and to take. Nobody waits here: who is over a limit is told so ([`Over`]), and when to come again.
//!
//! Requests are taken one by one from a token bucket ([`Allowance`]). Bytes are known only as they flow, so they are taken as they do,
//! down to a debt; while there is one, further requests are refused. What has begun is neither slowed down nor broken off.
//!
//! [`Allowance`]: allowance::Allowance

pub mod allowance;
mod clients;
mod table;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::clock::Stopwatch;
use allowance::Pace;
use table::{Account, Table};

pub use clients::{Clients, Connected};

/// Memory that any request takes, in bytes: first lines, buffers of its connection, its task.
const OF_ANY: u64 = 32 << 10;

/// When to come again where nobody can say when there will be room.
const SOON: Duration = Duration::from_secs(1);

/// How fast one access key, bucket or address may go; `None`: as fast as it can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub requests: Option<Pace>,
    /// Bytes of requests' bodies.
    pub received: Option<Pace>,
    /// Bytes of answers' bodies.
    pub sent: Option<Pace>,
}

/// What is limited, and to how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Of each client address; of IPv6, of each /64.
    pub address: Option<Rate>,
    /// Of each access key.
    pub key: Option<Rate>,
    /// Of each bucket.
    pub bucket: Option<Rate>,
    /// Requests at the same time.
    pub requests: u64,
    /// Bytes of memory that requests may take at the same time, by what is known of them.
    pub memory: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { address: None, key: None, bucket: None, requests: 10_000, memory: 1 << 30 }
    }
}

/// What there can be too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Requests or bytes of a client address.
    Address,
    /// Requests or bytes of an access key.
    Key,
    /// Requests or bytes of a bucket.
    Bucket,
    /// Requests at the same time.
    Requests,
    /// Memory of requests.
    Memory,
    /// Connections.
    Connections,
    /// Connections of a client address.
    ClientConnections,
}

impl Limit {
    /// Each, with its name in metrics.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Address, "address"),
        (Self::Key, "key"),
        (Self::Bucket, "bucket"),
        (Self::Requests, "requests"),
        (Self::Memory, "memory"),
        (Self::Connections, "connections"),
        (Self::ClientConnections, "client_connections"),
    ];
}

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a limit is reached: {limit:?}; come again after {wait:?}")]
pub struct Over {
    /// Which.
    pub limit: Limit,
    /// After what time it may not be.
    pub wait: Duration,
}

impl Over {
    /// Whole seconds after which there is something again.
    pub fn retry_after(&self) -> u64 {
        self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0)
    }
}

/// Lets requests in. Clones share it.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    time: Stopwatch,
    addresses: Option<Table<IpAddr>>,
    keys: Option<Table<String>>,
    buckets: Option<Table<String>>,
    running: Room,
    memory: Room,
    refused: [AtomicU64; Limit::ALL.len()],
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limiter {{ running: {:?}, memory: {:?} }}", self.0.running, self.0.memory)
    }
}

impl Limiter {
    /// Limits as `rules` say.
    pub fn new(rules: &Rules, time: Stopwatch) -> Self {
        Self(Arc::new(Inner {
            time,
            addresses: rules.address.map(Table::new),
            keys: rules.key.map(Table::new),
            buckets: rules.bucket.map(Table::new),
            running: Room::new(rules.requests),
            memory: Room::new(rules.memory),
            refused: Default::default(),
        }))
    }

    /// Lets a request from this address in.
    ///
    /// # Errors
    /// The address goes too fast, or there are as many requests as there may be.
    pub fn admit(&self, address: IpAddr) -> Result<Passage, Over> {
        let inner = &self.0;
        let now = inner.time.now();
        let account = inner.addresses.as_ref().map(|addresses| addresses.account(&network(address), now));
        if let Some(account) = &account {
            account.admit(now).map_err(|wait| self.refuse(Limit::Address, wait))?;
        }
        if !inner.running.take(1) {
            return Err(self.refuse(Limit::Requests, SOON));
        }
        let passing = Passing {
            limiter: self.clone(),
            address: account,
            key: OnceLock::new(),
            bucket: OnceLock::new(),
            running: AtomicBool::new(true),
            held: AtomicU64::new(0),
        };
        let passage = Passage(Arc::new(passing));
        passage.hold(OF_ANY)?;
        Ok(passage)
    }

    /// Notes that this limit is reached.
    pub fn refuse(&self, limit: Limit, wait: Duration) -> Over {
        if let Some(count) = Limit::ALL.iter().position(|(of, _)| *of == limit).and_then(|at| self.0.refused.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Over { limit, wait }
    }

    /// How often each limit was reached, by its name.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Limit::ALL.iter().zip(&self.0.refused).map(|((_, name), count)| (*name, count.load(Ordering::Relaxed)))
    }

    /// Bytes that requests under way may take, by what is known of them.
    pub fn memory(&self) -> u64 {
        self.0.memory.taken()
    }
}

/// What a request is charged through, until its last clone is dropped. In the extensions of every request to S3.
#[derive(Debug, Clone)]
pub struct Passage(Arc<Passing>);

#[derive(Debug)]
struct Passing {
    limiter: Limiter,
    address: Option<Arc<Account>>,
    key: OnceLock<Arc<Account>>,
    bucket: OnceLock<Arc<Account>>,
    /// Whether it still is one of the requests that run.
    running: AtomicBool,
    held: AtomicU64,
}

impl Passage {
    /// Charges the access key that has signed the request, once; one that was only claimed must not be.
    ///
    /// # Errors
    /// The key goes too fast.
    pub fn charge_key(&self, access_key: &str) -> Result<(), Over> {
        let inner = &self.0.limiter.0;
        self.charge(inner.keys.as_ref().filter(|_| !access_key.is_empty()), access_key, &self.0.key, Limit::Key)
    }

    /// Charges the bucket that the request is about, once, of those who may do to it what they ask for.
    ///
    /// # Errors
    /// The bucket goes too fast.
    pub fn charge_bucket(&self, bucket: &str) -> Result<(), Over> {
        self.charge(self.0.limiter.0.buckets.as_ref(), bucket, &self.0.bucket, Limit::Bucket)
    }

    fn charge(
        &self,
        table: Option<&Table<String>>,
        name: &str,
        charged: &OnceLock<Arc<Account>>,
        limit: Limit,
    ) -> Result<(), Over> {
        let Some(table) = table.filter(|_| charged.get().is_none()) else { return Ok(()) };
        let now = self.0.limiter.0.time.now();
        let account = table.account(name, now);
        account.admit(now).map_err(|wait| self.0.limiter.refuse(limit, wait))?;
        let _ = charged.set(account);
        Ok(())
    }

    /// Bytes of the request's body have come.
    pub fn received(&self, bytes: u64) {
        self.each(|account, now| account.received(bytes, now));
    }

    /// Bytes of the answer's body have gone.
    pub fn sent(&self, bytes: u64) {
        self.each(|account, now| account.sent(bytes, now));
    }

    fn each(&self, work: impl Fn(&Account, u64)) {
        let of = &*self.0;
        let mut accounts = of.address.iter().chain(of.key.get()).chain(of.bucket.get()).peekable();
        // Without limits there is not even a look at the clock.
        if accounts.peek().is_some() {
            let now = of.limiter.0.time.now();
            accounts.for_each(|account| work(account, now));
        }
    }

    /// Counts so many more bytes of memory to the request.
    ///
    /// # Errors
    /// There is not so much.
    pub fn hold(&self, bytes: u64) -> Result<(), Over> {
        let limiter = &self.0.limiter;
        if !limiter.0.memory.take(bytes) {
            return Err(limiter.refuse(Limit::Memory, SOON));
        }
        self.0.held.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// The answer is there: what was held so far is free again. If it is `whole` nothing more is done for the request, and it runs no longer,
    /// however long its client takes to take the answer: somebody whom nothing is done for must not keep others out by that.
    pub fn answered(&self, whole: bool) {
        self.0.free(if whole { 0 } else { OF_ANY });
        if whole {
            self.0.stop();
        }
    }
}

impl Passing {
    /// Gives back what is held above this.
    fn free(&self, kept: u64) {
        let surplus = self.held.load(Ordering::Relaxed).saturating_sub(kept);
        self.held.fetch_sub(surplus, Ordering::Relaxed);
        self.limiter.0.memory.give_back(surplus);
    }

    fn stop(&self) {
        if self.running.swap(false, Ordering::Relaxed) {
            self.limiter.0.running.give_back(1);
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.stop();
        self.free(0);
    }
}

/// Something of which there is so much.
#[derive(Debug)]
struct Room {
    most: u64,
    taken: AtomicU64,
}

impl Room {
    fn new(most: u64) -> Self {
        Self { most, taken: AtomicU64::new(0) }
    }

    fn take(&self, much: u64) -> bool {
        // Nothing else hangs on the number.
        let take = |taken: u64| taken.checked_add(much).filter(|&sum| sum <= self.most);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give_back(&self, much: u64) {
        self.taken.fetch_sub(much, Ordering::Relaxed);
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Whom an address stands for: of IPv6 a network, since whoever has one address there has all of a /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::num::NonZeroU64;

    use super::*;

    fn even(per_second: u64) -> Option<Pace> {
        NonZeroU64::new(per_second).map(Pace::even)
    }

    fn requests(per_second: u64) -> Option<Rate> {
        Some(Rate { requests: even(per_second), ..Rate::default() })
    }

    fn here() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    #[test]
    fn an_address_is_a_network_where_there_are_many_to_one() {
        for (address, of) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ] {
            assert_eq!(network(address.parse().unwrap()), of.parse::<IpAddr>().unwrap(), "{address}");
        }
    }

    #[test]
    fn a_key_and_a_bucket_are_charged_once_by_a_request() {
        let rules = Rules { key: requests(1), bucket: requests(1), ..Rules::default() };
        let time = Stopwatch::fixed();
        let limiter = Limiter::new(&rules, time.clone());
        let first = limiter.admit(here()).unwrap();
        for _ in 0..3 {
            assert_eq!((first.charge_key("AK"), first.charge_bucket("b")), (Ok(()), Ok(())));
        }
        let second = limiter.admit(here()).unwrap();
        assert_eq!(second.charge_key(""), Ok(()), "nobody has no key");
        let over = second.charge_key("AK").unwrap_err();
        assert_eq!((over.limit, over.retry_after()), (Limit::Key, 1));
        assert_eq!(second.charge_key("other"), Ok(()));
        assert_eq!(second.charge_bucket("b").unwrap_err().limit, Limit::Bucket);
        time.advance(Duration::from_secs(1));
        assert_eq!(limiter.admit(here()).unwrap().charge_key("AK"), Ok(()));
        let refused: Vec<_> = limiter.refused().filter(|(_, count)| *count > 0).collect();
        assert_eq!(refused, [("key", 1), ("bucket", 1)]);
    }

    #[test]
    fn bytes_are_owed_by_all_who_were_charged() {
        let rate = Some(Rate { sent: even(100), received: even(1000), requests: None });
        let rules = Rules { key: rate, bucket: rate, address: rate, ..Rules::default() };
        let limiter = Limiter::new(&rules, Stopwatch::fixed());
        let passage = limiter.admit(here()).unwrap();
        passage.charge_key("AK").unwrap();
        passage.charge_bucket("b").unwrap();
        passage.sent(350);
        passage.received(1000);
        let over = limiter.admit(here()).unwrap_err();
        assert_eq!((over.limit, over.wait, over.retry_after()), (Limit::Address, Duration::from_millis(2500), 3));
        let elsewhere = limiter.admit("192.0.2.2".parse().unwrap()).unwrap();
        assert_eq!(elsewhere.charge_key("AK").unwrap_err().limit, Limit::Key);
        assert_eq!(elsewhere.charge_bucket("b").unwrap_err().limit, Limit::Bucket);
    }

    #[test]
    fn what_requests_took_comes_back_when_they_are_over() {
        let rules = Rules { requests: 2, memory: 3 * OF_ANY, ..Rules::default() };
        let limiter = Limiter::new(&rules, Stopwatch::fixed());
        let (first, second) = (limiter.admit(here()).unwrap(), limiter.admit(here()).unwrap());
        assert_eq!(limiter.admit(here()).unwrap_err().limit, Limit::Requests);
        assert_eq!(first.hold(OF_ANY), Ok(()));
        assert_eq!(second.hold(1).unwrap_err().limit, Limit::Memory);
        let clone = first.clone();
        drop(first);
        assert_eq!(limiter.memory(), 3 * OF_ANY, "it is under way as long as anybody has it");
        drop(clone);
        assert_eq!(second.hold(1), Ok(()));
        drop(second);
        assert_eq!((limiter.memory(), limiter.0.running.taken()), (0, 0));
        let third = limiter.admit(here()).unwrap();
        third.hold(2 * OF_ANY).unwrap();
        third.answered(false);
        assert_eq!((limiter.memory(), limiter.0.running.taken()), (OF_ANY, 1), "its answer streams");
        third.answered(true);
        assert_eq!((limiter.memory(), limiter.0.running.taken()), (0, 0), "its client has to take it");
        drop(third);
        assert_eq!((limiter.memory(), limiter.0.running.taken()), (0, 0));
    }
}
