//! A real server, asked over the wire.

mod arbitrary;
mod both_ways;
