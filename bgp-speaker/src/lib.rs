//! A BGP-4 speaker.
#![allow(missing_docs)]
pub mod config;
pub mod engine;
pub mod view;
