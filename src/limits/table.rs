//! What each of many has left of a rate, in bounded memory.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Rate;
use super::allowance::{Allowance, Pace};
use crate::clock::Nanos;

/// Parts of a table, each under a lock of its own.
const SHARDS: usize = 64;

/// Accounts in one part of a table at most, but for those of requests under way: a table has 65,536, some 15 MB.
const PER_SHARD: usize = 1024;

/// What one access key, bucket or address has left.
#[derive(Debug)]
pub(super) struct Account {
    rate: Rate,
    left: Mutex<Left>,
}

/// Of each pace that there is.
#[derive(Debug, Clone, Copy)]
struct Left {
    requests: Option<(Pace, Allowance)>,
    received: Option<(Pace, Allowance)>,
    sent: Option<(Pace, Allowance)>,
}

impl Account {
    fn new(rate: Rate, now: Nanos) -> Self {
        let full = |pace: Option<Pace>| pace.map(|pace| (pace, Allowance::full(pace, now)));
        let left = Left { requests: full(rate.requests), received: full(rate.received), sent: full(rate.sent) };
        Self { rate, left: Mutex::new(left) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Left) -> T) -> T {
        // There is no state between two of an allowance's.
        work(&mut self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a request.
    ///
    /// # Errors
    /// There is none, or bytes are owed; ask again after this time.
    pub(super) fn admit(&self, now: Nanos) -> Result<(), Duration> {
        self.with(|left| {
            let debts = [&mut left.received, &mut left.sent].into_iter().flatten();
            if let Some(wait) = debts.filter_map(|(pace, allowance)| allowance.debt(*pace, now)).max() {
                return Err(wait);
            }
            left.requests.as_mut().map_or(Ok(()), |(pace, allowance)| allowance.take(*pace, now))
        })
    }

    /// Bytes of a request's body have come.
    pub(super) fn received(&self, bytes: u64, now: Nanos) {
        if self.rate.received.is_some() {
            self.with(|left| spend(&mut left.received, bytes, now));
        }
    }

    /// Bytes of an answer's body have gone.
    pub(super) fn sent(&self, bytes: u64, now: Nanos) {
        if self.rate.sent.is_some() {
            self.with(|left| spend(&mut left.sent, bytes, now));
        }
    }

    /// How long until it is as good as a new one.
    fn until_full(&self, now: Nanos) -> Nanos {
        self.with(|left| {
            let all = [&mut left.requests, &mut left.received, &mut left.sent].into_iter().flatten();
            all.map(|(pace, allowance)| allowance.until_full(*pace, now)).max().unwrap_or(0)
        })
    }
}

fn spend(left: &mut Option<(Pace, Allowance)>, bytes: u64, now: Nanos) {
    if let Some((pace, allowance)) = left {
        allowance.spend(*pace, now, bytes);
    }
}

/// The accounts of all keys, buckets or addresses that were heard of lately. Who is not in it has all of its rate: an account
/// that has filled up is forgotten, and where there is no room for another one, those that lack least.
#[derive(Debug)]
pub(super) struct Table<K> {
    rate: Rate,
    shards: Vec<Mutex<HashMap<K, Arc<Account>>>>,
    /// Keyed at random, so that nobody chooses who shares a part with him.
    hasher: RandomState,
    per_shard: usize,
}

impl<K: Hash + Eq> Table<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self::of_size(rate, SHARDS, PER_SHARD)
    }

    fn of_size(rate: Rate, shards: usize, per_shard: usize) -> Self {
        let shards = (0..shards).map(|_| Mutex::default()).collect();
        Self { rate, shards, hasher: RandomState::new(), per_shard }
    }

    /// The account of `key`.
    pub(super) fn account<Q>(&self, key: &Q, now: Nanos) -> Arc<Account>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let shard = (self.hasher.hash_one(key) % self.shards.len() as u64) as usize;
        let Some(shard) = self.shards.get(shard) else { return Arc::new(Account::new(self.rate, now)) };
        let mut accounts = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(key) {
            return Arc::clone(account);
        }
        if accounts.len() >= self.per_shard {
            make_room(&mut accounts, self.per_shard, now);
        }
        let account = Arc::new(Account::new(self.rate, now));
        accounts.insert(key.to_owned(), Arc::clone(&account));
        account
    }
}

/// Removes accounts that no request under way has: those that are full, and of the others those that lack least, until an eighth is free.
/// So much at once, because all are looked at.
fn make_room<K: Hash + Eq>(accounts: &mut HashMap<K, Arc<Account>>, most: usize, now: Nanos) {
    accounts.retain(|_, account| Arc::strong_count(account) > 1 || account.until_full(now) > 0);
    let mut surplus = (accounts.len() + most.div_ceil(8)).saturating_sub(most);
    let idle = accounts.values().filter(|account| Arc::strong_count(account) == 1);
    let mut lacking: Vec<Nanos> = idle.map(|account| account.until_full(now)).collect();
    lacking.sort_unstable();
    let Some(&limit) = surplus.checked_sub(1).and_then(|last| lacking.get(last).or(lacking.last())) else { return };
    accounts.retain(|_, account| {
        let goes = surplus > 0 && Arc::strong_count(account) == 1 && account.until_full(now) <= limit;
        surplus -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::num::NonZeroU64;

    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn requests(per_second: u64, burst: u64) -> Rate {
        let (per_second, burst) = (NonZeroU64::new(per_second).unwrap(), NonZeroU64::new(burst).unwrap());
        Rate { requests: Some(Pace { per_second, burst }), ..Rate::default() }
    }

    fn len<K>(table: &Table<K>) -> usize {
        table.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn each_has_its_own() {
        let table: Table<String> = Table::new(requests(1, 1));
        assert_eq!(table.account("a", 0).admit(0), Ok(()));
        assert_eq!(table.account("a", 0).admit(0), Err(Duration::from_secs(1)));
        assert_eq!(table.account("b", 0).admit(0), Ok(()));
        assert_eq!(table.account("a", SECOND).admit(SECOND), Ok(()));
    }

    #[test]
    fn bytes_are_owed_and_requests_wait_for_that() {
        let even = |n| Some(Pace::even(NonZeroU64::new(n).unwrap()));
        let table: Table<String> = Table::new(Rate { requests: None, received: even(100), sent: even(10) });
        let account = table.account("a", 0);
        account.received(300, 0);
        account.sent(20, 0);
        assert_eq!(account.admit(0), Err(Duration::from_secs(2)));
        assert_eq!(account.admit(2 * SECOND), Ok(()));
    }

    #[test]
    fn a_million_addresses_take_bounded_memory() {
        let table: Table<u32> = Table::of_size(requests(1, 10), 4, 100);
        for address in 0..1_000_000 {
            // They come faster than their accounts fill up.
            table.account(&address, u64::from(address)).admit(u64::from(address)).unwrap();
            assert!(address % 1000 > 0 || len(&table) <= 400);
        }
        assert!(len(&table) > 300);
    }

    #[test]
    fn who_lacks_most_is_remembered_longest() {
        let table: Table<u32> = Table::of_size(requests(1, 10), 1, 64);
        let greedy = |now| (0..10).filter(|_| table.account(&u32::MAX, now).admit(now).is_ok()).count();
        assert_eq!(greedy(0), 10);
        for address in 0..10_000 {
            table.account(&address, 1).admit(1).unwrap();
        }
        assert_eq!(greedy(1), 0, "a crowd does not wash it clean");
    }

    #[test]
    fn accounts_in_use_stay() {
        let table: Table<u32> = Table::of_size(requests(1, 1), 1, 8);
        let held: Vec<_> = (0..20).map(|n| table.account(&n, 0)).collect();
        for (n, account) in (0..20).zip(&held) {
            assert!(Arc::ptr_eq(account, &table.account(&n, 0)));
        }
        drop(held);
        table.account(&99, 0);
        assert!(len(&table) <= 8);
    }
}
