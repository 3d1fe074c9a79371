//! The server, asked in its own process under a paused clock.

mod claims;
mod deletion;
mod harness;
mod lists;
mod restart;
mod subresources;
mod watches;
mod writes;
