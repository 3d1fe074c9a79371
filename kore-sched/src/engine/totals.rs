//! The best of many rows, though rows change: maxima of blocks.

use crate::node::NodeIndex;

/// Rows a block.
const BLOCK: usize = 64;

/// A total for each row that has one. Changing one costs a block; the best is found among the blocks.
#[derive(Default)]
pub(super) struct Totals {
    rows: Vec<Option<i64>>,
    /// Of each block the largest total and how many rows have it.
    blocks: Vec<(Option<i64>, u32)>,
}

impl Totals {
    /// Sets all rows at once; `of(row)` is asked in order.
    pub(super) fn rebuild(&mut self, rows: usize, of: impl Fn(usize) -> Option<i64>) {
        self.rows.clear();
        self.rows.extend((0..rows).map(of));
        self.blocks.clear();
        self.blocks.extend(self.rows.chunks(BLOCK).map(largest));
    }

    /// Sets one row.
    pub(super) fn set(&mut self, row: usize, total: Option<i64>) {
        if row >= self.rows.len() {
            self.rows.resize(row + 1, None);
            self.blocks.resize(self.rows.len().div_ceil(BLOCK), (None, 0));
        }
        self.rows[row] = total;
        let block = row / BLOCK;
        let end = self.rows.len().min((block + 1) * BLOCK);
        self.blocks[block] = largest(&self.rows[block * BLOCK..end]);
    }

    /// A row with the largest total; `pick(n)` chooses among `n` equals, counted in the order of the rows.
    pub(super) fn best(&self, pick: impl FnOnce(usize) -> usize) -> Option<NodeIndex> {
        let (most, _) = self.blocks.iter().max_by_key(|(most, _)| *most)?;
        let most = (*most)?;
        let has_most = |block: &&(Option<i64>, u32)| block.0 == Some(most);
        let equals: usize = self.blocks.iter().filter(has_most).map(|(_, count)| *count as usize).sum();
        let mut skip = if equals > 1 { pick(equals) } else { 0 };
        for (at, (_, count)) in self.blocks.iter().enumerate().filter(|(_, block)| has_most(block)) {
            if skip >= *count as usize {
                skip -= *count as usize;
                continue;
            }
            let rows = self.rows.iter().enumerate().skip(at * BLOCK).take(BLOCK);
            let mut equal = rows.filter(|(_, total)| **total == Some(most));
            return equal.nth(skip).map(|(row, _)| NodeIndex(row as u32));
        }
        None
    }
}

fn largest(rows: &[Option<i64>]) -> (Option<i64>, u32) {
    let most = rows.iter().copied().max().flatten();
    match most {
        None => (None, 0),
        Some(_) => (most, rows.iter().filter(|total| **total == most).count() as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_is_the_best_whatever_changed(
            start in proptest::collection::vec(proptest::option::of(0i64..4), 0..200),
            changes in proptest::collection::vec((0usize..260, proptest::option::of(-1i64..5)), 0..40),
            pick in 0usize..1000,
        ) {
            let mut totals = Totals::default();
            totals.rebuild(start.len(), |row| start[row]);
            let mut plain = start.clone();
            for (row, total) in changes {
                totals.set(row, total);
                plain.resize(plain.len().max(row + 1), None);
                plain[row] = total;
            }
            let most = plain.iter().flatten().max();
            let equals: Vec<usize> = (0..plain.len()).filter(|row| plain[*row].is_some() && plain[*row].as_ref() == most).collect();
            let best = totals.best(|count| {
                assert_eq!(count, equals.len());
                pick % count
            });
            let expected = equals.get(if equals.len() > 1 { pick % equals.len() } else { 0 });
            prop_assert_eq!(best.map(|node| node.row()), expected.copied());
        }
    }
}
