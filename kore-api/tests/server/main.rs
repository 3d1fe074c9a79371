//! The server, asked in its own process under a paused clock.

mod admission;
mod apply;
mod builtin;
mod claims;
mod definitions;
mod deletion;
mod evictions;
mod faults;
mod fuzz;
mod guards;
mod harness;
mod http;
mod kinds;
mod lists;
mod quotas;
mod refusals;
mod restart;
mod subresources;
mod tokens;
mod watches;
mod writes;
