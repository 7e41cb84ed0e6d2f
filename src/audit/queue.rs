//! Lines that wait for one target, within bounds.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// What a queue may hold; what is being written counts until it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Records.
    pub records: usize,
    /// Bytes of all of them.
    pub bytes: usize,
}

/// What became of the records for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// The target, without what may be secret.
    pub target: String,
    /// How many wait, or are being written.
    pub queued: usize,
    /// How many were written.
    pub written: u64,
    /// How many were lost: there was no room, or the target did not take them.
    pub lost: u64,
}

/// Bytes of a batch, but for a single longer line.
const BATCH: usize = 1 << 20;
/// Lines of a batch.
const LINES: usize = 1000;
/// What a record costs besides its text.
const ENTRY: usize = mem::size_of::<Line>();

type Notice = Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// The queue of one target. Anybody may push, one takes.
pub(super) struct Queue {
    target: String,
    bounds: Bounds,
    state: Mutex<State>,
    changed: Notify,
    /// Makes the line that tells how many were lost.
    notice: Notice,
}

#[derive(Debug, Clone)]
struct Line {
    text: Bytes,
    /// It is not a record, but tells that so many were lost.
    tells: u64,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    /// Records that are held, and what they cost, those included that are being written.
    records: usize,
    bytes: usize,
    written: u64,
    lost: u64,
    /// Of those lost, which no line tells of yet.
    untold: u64,
    reopen: bool,
    closed: bool,
}

/// What its writer is to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Write these.
    Write(Batch),
    /// Open the file anew.
    Reopen,
    /// It was told to stop, and all is written.
    End,
}

/// Lines that are written together.
#[derive(Debug)]
pub(super) struct Batch {
    lines: Vec<Line>,
}

impl Batch {
    /// The text of all.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.lines.iter().map(|line| line.text.len()).sum());
        self.lines.iter().for_each(|line| text.extend_from_slice(&line.text));
        text
    }

    fn records(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.tells == 0)
    }
}

impl Queue {
    pub(super) fn new(target: String, bounds: Bounds, notice: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { target, bounds, state: Mutex::default(), changed: Notify::new(), notice: Box::new(notice) }
    }

    pub(super) fn target(&self) -> &str {
        &self.target
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record, or counts it as lost.
    pub(super) fn push(&self, text: Bytes) {
        let mut state = self.state();
        let cost = text.len() + ENTRY;
        if state.closed || state.records >= self.bounds.records || state.bytes + cost > self.bounds.bytes {
            state.lost += 1;
            state.untold += 1;
            let is_first = state.untold == 1;
            drop(state);
            if is_first {
                tracing::warn!(target_id = self.target, "the audit log is slower than the requests; records are lost");
            }
            return;
        }
        let notice = self.notice(&mut state);
        let tells = notice.as_ref().map_or(0, |notice| notice.tells);
        state.lines.extend(notice);
        state.records += 1;
        state.bytes += cost;
        state.lines.push_back(Line { text, tells: 0 });
        drop(state);
        self.changed.notify_one();
        self.warn(tells);
    }

    /// The line about records that were lost, if any were.
    fn notice(&self, state: &mut State) -> Option<Line> {
        let tells = mem::take(&mut state.untold);
        (tells > 0).then(|| Line { text: (self.notice)(tells).into(), tells })
    }

    /// Says that so many were lost; not while anybody waits for the queue, since our own log may be slow, too.
    fn warn(&self, lost: u64) {
        if lost > 0 {
            tracing::warn!(target_id = self.target, records = lost, "records of the audit log were lost");
        }
    }

    /// Waits for what is to be done.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.try_next() {
                return next;
            }
            // What is pushed in between leaves a permit here.
            self.changed.notified().await;
        }
    }

    fn try_next(&self) -> Option<Next> {
        let mut state = self.state();
        if mem::take(&mut state.reopen) {
            return Some(Next::Reopen);
        }
        let mut lines: Vec<Line> = Vec::new();
        let mut bytes = 0;
        while let Some(line) = state.lines.front() {
            bytes += line.text.len();
            if lines.len() == LINES || (bytes > BATCH && !lines.is_empty()) {
                break;
            }
            lines.extend(state.lines.pop_front());
        }
        // Whatever was lost came behind all of these.
        let notice = if state.lines.is_empty() { self.notice(&mut state) } else { None };
        let (tells, closed) = (notice.as_ref().map_or(0, |notice| notice.tells), state.closed);
        drop(state);
        self.warn(tells);
        lines.extend(notice);
        match lines.is_empty() {
            false => Some(Next::Write(Batch { lines })),
            true => closed.then_some(Next::End),
        }
    }

    /// They are written.
    pub(super) fn written(&self, batch: &Batch) {
        let mut state = self.state();
        state.forget(batch);
        state.written += batch.records().count() as u64;
    }

    /// They are given up.
    pub(super) fn lost(&self, batch: &Batch) {
        let mut state = self.state();
        state.forget(batch);
        let lost = batch.records().count() as u64;
        state.lost += lost;
        state.untold += lost + batch.lines.iter().map(|line| line.tells).sum::<u64>();
        drop(state);
        // What was lost is told with the next that comes; there may be none for long.
        self.changed.notify_one();
    }

    pub(super) fn reopen(&self) {
        self.state().reopen = true;
        self.changed.notify_one();
    }

    /// Takes no more; what there is is written.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.state();
        let State { records: queued, written, lost, .. } = *state;
        Counts { target: self.target.clone(), queued, written, lost }
    }
}

impl State {
    fn forget(&mut self, batch: &Batch) {
        self.records -= batch.records().count().min(self.records);
        self.bytes -= batch.records().map(|line| line.text.len() + ENTRY).sum::<usize>().min(self.bytes);
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("target", &self.target).field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn queue(records: usize) -> Queue {
        let bounds = Bounds { records, bytes: 100 * (1 + ENTRY) };
        Queue::new("t".into(), bounds, |number| format!("[{number}]").into_bytes())
    }

    fn push(queue: &Queue, lines: &str) {
        for line in lines.chars() {
            queue.push(Bytes::from(line.to_string()));
        }
    }

    fn take(queue: &Queue) -> (String, Batch) {
        match queue.try_next() {
            Some(Next::Write(batch)) => (String::from_utf8(batch.text()).unwrap(), batch),
            other => panic!("{other:?}"),
        }
    }

    fn counts(queue: &Queue) -> (usize, u64, u64) {
        let Counts { queued, written, lost, .. } = queue.counts();
        (queued, written, lost)
    }

    #[test]
    fn what_is_lost_is_told_where_it_would_have_been() {
        let queue = queue(3);
        push(&queue, "abcde");
        assert_eq!(counts(&queue), (3, 0, 2));
        let (text, batch) = take(&queue);
        assert_eq!(text, "abc[2]");
        // What is being written is still held.
        push(&queue, "f");
        assert_eq!(counts(&queue), (3, 0, 3));
        queue.written(&batch);
        push(&queue, "gh");
        let (text, batch) = take(&queue);
        assert_eq!(text, "[1]gh");
        queue.written(&batch);
        assert_eq!(counts(&queue), (0, 5, 3));
        assert!(queue.try_next().is_none());
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let queue = queue(usize::MAX);
        queue.push(Bytes::from(vec![b'x'; 100 * (1 + ENTRY)]));
        assert_eq!(counts(&queue), (0, 0, 1));
        push(&queue, &"y".repeat(101));
        assert_eq!(counts(&queue), (100, 0, 2));
        assert_eq!(take(&queue).0, format!("[1]{}[1]", "y".repeat(100)));
    }

    #[test]
    fn what_a_target_did_not_take_is_told_once() {
        let queue = queue(2);
        push(&queue, "abc");
        let (text, batch) = take(&queue);
        assert_eq!(text, "ab[1]");
        queue.lost(&batch);
        // That which told it was lost, too.
        let (text, batch) = take(&queue);
        assert_eq!((text.as_str(), counts(&queue)), ("[3]", (0, 0, 3)));
        queue.lost(&batch);
        assert_eq!((take(&queue).0.as_str(), counts(&queue)), ("[3]", (0, 0, 3)));
    }

    #[tokio::test]
    async fn a_writer_learns_what_to_do() {
        let queue = queue(2);
        push(&queue, "a");
        queue.reopen();
        queue.close();
        push(&queue, "b");
        assert!(matches!(queue.next().await, Next::Reopen));
        assert!(matches!(queue.next().await, Next::Write(_)));
        assert!(matches!(queue.next().await, Next::End));
        assert_eq!(counts(&queue), (1, 0, 1));
    }
}
