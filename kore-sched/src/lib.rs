//! kore-sched
