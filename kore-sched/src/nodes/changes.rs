//! The log of rows that changed.

use crate::node::NodeIndex;

/// The least number of changes kept, however small the cluster.
const LEAST_KEPT: usize = 1024;

/// A bounded log of changed rows. A reader whose place was dropped starts afresh: it is told, never misled.
#[derive(Default)]
pub(super) struct Changes {
    first: u64,
    log: Vec<NodeIndex>,
}

impl Changes {
    pub(super) fn push(&mut self, node: NodeIndex, rows: usize) {
        // Beyond twice the rows, catching up costs more than starting afresh.
        let most = 2 * rows.max(LEAST_KEPT);
        if self.log.len() >= most {
            let dropped = self.log.len() / 2;
            self.log.drain(..dropped);
            self.first += dropped as u64;
        }
        self.log.push(node);
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    pub(super) fn since(&self, cursor: u64) -> Option<&[NodeIndex]> {
        let skip = cursor.checked_sub(self.first)?;
        self.log.get(skip as usize..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_every_change_or_is_told_that_it_cannot() {
        let mut changes = Changes::default();
        let mut cursor = changes.end();
        let start = cursor;
        for at in 0..10_000 {
            changes.push(NodeIndex(at % 7), 7);
            let seen = changes.since(cursor).expect("one change behind is not too far");
            assert_eq!(seen, [NodeIndex(at % 7)]);
            cursor = changes.end();
        }
        assert_eq!(changes.since(start), None);
        assert_eq!(changes.since(cursor), Some(&[][..]));
    }
}
