//! Code that several commands for a server share: following, waiting, retries and output.

mod follow;
mod interrupt;
mod patience;
mod show;
mod table;
mod wait;

pub(crate) use follow::{follow, print_output};
pub(crate) use interrupt::Interrupt;
pub(crate) use patience::Patience;
pub(crate) use show::{print_job, print_values, story, summary};
pub(crate) use table::Table;
pub(crate) use wait::{Progress, has_ended, wait_for};
