//! What happens next under virtual time.

use std::{cmp::Ordering, collections::BinaryHeap, time::Duration};

use sframe_bridge::Now;

/// Events in the order of their times; of those at the same time the one planned first comes first.
pub(super) struct Queue<E> {
    heap: BinaryHeap<Planned<E>>,
    planned: u64,
    now: Now,
}

struct Planned<E> {
    at: Now,
    order: u64,
    event: E,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), planned: 0, now: Now::default() }
    }

    /// The time of the event that was taken last.
    pub(super) fn now(&self) -> Now {
        self.now
    }

    /// Plans an event; one whose time is over happens next.
    pub(super) fn at(&mut self, at: Now, event: E) {
        let order = self.planned;
        self.planned += 1;
        self.heap.push(Planned { at: at.max(self.now), order, event });
    }

    pub(super) fn after(&mut self, span: Duration, event: E) {
        self.at(self.now + span, event);
    }

    /// The next event up to `end`, to which the clock is set.
    pub(super) fn next(&mut self, end: Now) -> Option<E> {
        if self.heap.peek().is_none_or(|planned| planned.at > end) {
            self.now = end;
            return None;
        }
        let planned = self.heap.pop()?;
        self.now = planned.at;
        Some(planned.event)
    }
}

impl<E> Ord for Planned<E> {
    /// The greatest of a heap is the one that comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Planned<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_and_not_before_their_time() {
        let mut queue = Queue::new();
        for (at, event) in [(5, 'c'), (3, 'a'), (3, 'b')] {
            queue.at(Now::from_millis(at), event);
        }
        assert_eq!(queue.next(Now::from_millis(4)), Some('a'));
        assert_eq!(queue.next(Now::from_millis(4)), Some('b'));
        assert_eq!(queue.next(Now::from_millis(4)), None);
        queue.after(Duration::ZERO, 'd');
        assert_eq!(
            (queue.next(Now::from_millis(9)), queue.now()),
            (Some('d'), Now::from_millis(4))
        );
        assert_eq!(
            (queue.next(Now::from_millis(9)), queue.now()),
            (Some('c'), Now::from_millis(5))
        );
    }
}
