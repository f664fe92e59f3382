//! What the commands share that need a server.

mod address;
mod client;
mod follow;
mod interrupt;
mod marked;
mod patience;
mod show;
mod submission;
mod table;
mod trouble;
mod wait;

pub(crate) use address::ServerUrl;
pub(crate) use client::{Client, Jobs, Sending};
pub(crate) use follow::{follow, print_output};
pub(crate) use interrupt::Interrupt;
pub(crate) use patience::Patience;
pub(crate) use show::{print_job, print_values, story, summary};
pub(crate) use submission::Prepared;
pub(crate) use table::Table;
pub(crate) use trouble::Trouble;
pub(crate) use wait::{Progress, has_ended, wait_for};
