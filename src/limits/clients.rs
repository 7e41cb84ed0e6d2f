//! Connections of each client.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::network;

/// Parts of the counts, each under a lock of its own.
const SHARDS: u64 = 16;

/// Counts the connections of each address. It remembers those that have any. Clones share it.
#[derive(Debug, Clone)]
pub struct Clients(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    shards: Vec<Mutex<HashMap<IpAddr, usize>>>,
    hasher: RandomState,
    most: usize,
}

impl Clients {
    /// `most` connections of one address (of IPv6, of its /64); 0: no limit.
    pub fn new(most: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self(Arc::new(Counts { shards, hasher: RandomState::new(), most }))
    }

    /// Counts a connection until it is dropped; `None` if the address has as many as it may.
    pub fn enter(&self, address: IpAddr) -> Option<Connected> {
        let address = network(address);
        let may = self.0.most == 0
            || self.0.with(address, |counts| {
                let count = counts.entry(address).or_default();
                let may = *count < self.0.most;
                *count += usize::from(may);
                may
            });
        may.then(|| Connected { clients: self.clone(), address })
    }
}

impl Counts {
    fn with<T>(&self, address: IpAddr, work: impl FnOnce(&mut HashMap<IpAddr, usize>) -> T) -> T {
        match self.shards.get((self.hasher.hash_one(address) % SHARDS) as usize) {
            Some(shard) => work(&mut shard.lock().unwrap_or_else(PoisonError::into_inner)),
            None => work(&mut HashMap::new()),
        }
    }
}

/// A connection that counts.
#[derive(Debug)]
pub struct Connected {
    clients: Clients,
    address: IpAddr,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let counts = &self.clients.0;
        if counts.most > 0 {
            counts.with(self.address, |counts| {
                if let Some(count) = counts.get_mut(&self.address) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        counts.remove(&self.address);
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_address_has_so_many_and_is_forgotten_without() {
        let clients = Clients::new(2);
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let (first, second) = (clients.enter(a).unwrap(), clients.enter(a).unwrap());
        assert!(clients.enter(a).is_none());
        let other = clients.enter(b).unwrap();
        drop(first);
        let third = clients.enter(a).unwrap();
        assert!(clients.enter(a).is_none());
        drop((second, third, other));
        assert!(clients.0.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
        let all = Clients::new(0);
        assert!((0..100).map(|_| all.enter(a)).collect::<Vec<_>>().iter().all(Option::is_some));
    }
}
