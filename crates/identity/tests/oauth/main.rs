//! OAuth through the router: each flow, each refusal, and what somebody would try who means harm.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod client;
mod codes;
mod desk;
mod pages;
mod signer;
mod tokens;
