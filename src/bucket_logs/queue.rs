//! Records that wait for their delivery, within bounds.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Millis;
use crate::objects::LoggedBucket;

/// What a queue may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of one bucket's records.
    pub(super) bucket: usize,
    /// Bytes of all, those included that are being delivered.
    pub(super) all: usize,
    /// Bytes of one bucket's records from which they are delivered at once.
    pub(super) deliver: usize,
}

/// The records of one bucket.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bucket: Arc<LoggedBucket>,
    pub(super) lines: Vec<(Millis, Bytes)>,
    pub(super) bytes: usize,
    /// Records that there was no room for.
    pub(super) dropped: u64,
}

/// The records of all buckets.
#[derive(Debug)]
pub(super) struct Queue {
    bounds: Bounds,
    buckets: HashMap<String, Batch>,
    /// Of all records that are held anywhere.
    bytes: usize,
}

/// What a record costs besides its text.
const ENTRY: usize = mem::size_of::<(Millis, Bytes)>();

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, buckets: HashMap::new(), bytes: 0 }
    }

    /// Adds a record, or counts it as dropped; answers whether the bucket's are to be delivered at once.
    pub(super) fn push(&mut self, bucket: &Arc<LoggedBucket>, at: Millis, line: String) -> bool {
        let batch = self.batch(bucket);
        let held = batch.bytes;
        let cost = line.len() + ENTRY;
        if held + cost > self.bounds.bucket || self.bytes + cost > self.bounds.all {
            self.batch(bucket).dropped += 1;
            return true;
        }
        self.bytes += cost;
        let deliver = self.bounds.deliver;
        let batch = self.batch(bucket);
        batch.lines.push((at, Bytes::from(line)));
        batch.bytes += cost;
        batch.bytes >= deliver
    }

    /// The records of a bucket; where they go is what was last known.
    fn batch(&mut self, bucket: &Arc<LoggedBucket>) -> &mut Batch {
        let batch = self.buckets.entry(bucket.name.clone()).or_insert_with(|| Batch {
            bucket: Arc::clone(bucket),
            lines: Vec::new(),
            bytes: 0,
            dropped: 0,
        });
        batch.bucket = Arc::clone(bucket);
        batch
    }

    /// Takes what there is to deliver; it counts as held until [`Queue::done`] or [`Queue::put_back`]. With `only_full` only
    /// what is to be delivered at once.
    pub(super) fn take(&mut self, only_full: bool) -> Vec<Batch> {
        let full = self.bounds.deliver;
        let names: Vec<String> = self
            .buckets
            .iter()
            .filter(|(_, batch)| !only_full || batch.bytes >= full || batch.dropped > 0)
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().filter_map(|name| self.buckets.remove(name)).collect()
    }

    /// Forgets records that were delivered, or never will be.
    pub(super) fn done(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Takes records back that could not be delivered. The newest are dropped if there is no room.
    pub(super) fn put_back(&mut self, bucket: &Arc<LoggedBucket>, mut lines: Vec<(Millis, Bytes)>) {
        let most = self.bounds.bucket;
        let batch = self.batch(bucket);
        lines.append(&mut batch.lines);
        let mut held = 0;
        let keep = lines
            .iter()
            .take_while(|(_, line)| {
                held += line.len() + ENTRY;
                held <= most
            })
            .count();
        let gone: usize = lines.drain(keep..).map(|(_, line)| line.len() + ENTRY).sum();
        batch.dropped += u64::from(gone > 0);
        batch.bytes = lines.iter().map(|(_, line)| line.len() + ENTRY).sum();
        batch.lines = lines;
        self.done(gone);
    }
}

/// What records cost that are held.
pub(super) fn cost(lines: &[(Millis, Bytes)]) -> usize {
    lines.iter().map(|(_, line)| line.len() + ENTRY).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Logging;

    fn bucket(name: &str) -> Arc<LoggedBucket> {
        let logging = Logging { to: "logs".into(), prefix: String::new(), keys: None };
        Arc::new(LoggedBucket { name: name.into(), owner: "o".into(), logging })
    }

    fn queue() -> Queue {
        let one = 10 + ENTRY;
        Queue::new(Bounds { bucket: 4 * one, all: 6 * one, deliver: 3 * one })
    }

    fn push(queue: &mut Queue, name: &str, number: usize) -> Vec<bool> {
        (0..number).map(|i| queue.push(&bucket(name), i as i64, "0123456789".to_owned())).collect()
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut queue = queue();
        assert_eq!(push(&mut queue, "a", 6), [false, false, true, true, true, true]);
        // Two more of the six that all may hold.
        assert_eq!(push(&mut queue, "b", 3), [false, false, true]);
        let taken = queue.take(true);
        assert_eq!(taken.len(), 2);
        let of = |name: &str| taken.iter().find(|batch| batch.bucket.name == name).map(|b| (b.lines.len(), b.dropped));
        assert_eq!((of("a"), of("b")), (Some((4, 2)), Some((2, 1))));
        // What is being delivered is still held.
        assert_eq!(push(&mut queue, "c", 1), [true]);
        queue.done(taken.iter().map(|batch| batch.bytes).sum());
        assert_eq!(push(&mut queue, "d", 1), [false]);
        assert_eq!(queue.take(true).len(), 1, "one was dropped, and that is to be said");
        assert_eq!(queue.take(false).len(), 1);
        assert!(queue.take(false).is_empty());
    }

    #[test]
    fn what_was_not_delivered_comes_first_the_next_time() {
        let mut queue = queue();
        push(&mut queue, "a", 3);
        let taken = queue.take(false).remove(0);
        queue.push(&bucket("a"), 9, "abcdefghij".into());
        queue.put_back(&taken.bucket, taken.lines);
        let times: Vec<Millis> = queue.take(false).remove(0).lines.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [0, 1, 2, 9]);
        queue.done(4 * (10 + ENTRY));
        assert_eq!(queue.bytes, 0);
        push(&mut queue, "a", 4);
        let taken = queue.take(false).remove(0);
        push(&mut queue, "a", 2);
        queue.put_back(&taken.bucket, taken.lines);
        let again = queue.take(false).remove(0);
        assert_eq!((again.lines.len(), again.dropped, again.bytes), (4, 1, queue.bytes));
        assert_eq!(cost(&again.lines), again.bytes);
    }
}
