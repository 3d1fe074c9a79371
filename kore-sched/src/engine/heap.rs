//! A binary heap ordered by a function that is known only at run time.

use std::cmp::Ordering;

/// Items by an order given with each call; it must be the same order every time.
pub(super) struct Heap<T>(Vec<T>);

impl<T> Default for Heap<T> {
    fn default() -> Heap<T> {
        Heap(Vec::new())
    }
}

impl<T> Heap<T> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, item: T, order: impl Fn(&T, &T) -> Ordering) {
        self.0.push(item);
        let mut at = self.0.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if order(&self.0[at], &self.0[parent]).is_ge() {
                break;
            }
            self.0.swap(at, parent);
            at = parent;
        }
    }

    /// Takes out the item that comes first.
    pub(super) fn pop(&mut self, order: impl Fn(&T, &T) -> Ordering) -> Option<T> {
        let last = self.0.len().checked_sub(1)?;
        self.0.swap(0, last);
        let first = self.0.pop();
        let mut at = 0;
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.0.len() && order(&self.0[child], &self.0[least]).is_lt() {
                    least = child;
                }
            }
            if least == at {
                return first;
            }
            self.0.swap(at, least);
            at = least;
        }
    }

    /// Drops the items that `keep` does not name.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool, order: impl Fn(&T, &T) -> Ordering) {
        let items = std::mem::take(&mut self.0);
        for item in items {
            if keep(&item) {
                self.push(item, &order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Heap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pops_in_order(mut items in proptest::collection::vec(0u32..50, 0..100)) {
            let mut heap = Heap::default();
            for item in &items {
                heap.push(*item, Ord::cmp);
            }
            items.retain(|item| item % 3 != 0);
            heap.retain(|item| item % 3 != 0, Ord::cmp);
            items.sort();
            let popped: Vec<u32> = std::iter::from_fn(|| heap.pop(Ord::cmp)).collect();
            prop_assert_eq!(popped, items);
        }
    }
}
