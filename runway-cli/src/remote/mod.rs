//! Code that several commands for a server share: following, waiting, retries and output.

mod follow;
mod interrupt;
mod retry;
mod show;
mod table;
mod wait;

pub(crate) use follow::{follow, print_output};
pub(crate) use interrupt::InterruptHandler;
pub(crate) use retry::RetryPolicy;
pub(crate) use show::{print_job, print_serialized, render_job, render_summary};
pub(crate) use table::TextTable;
pub(crate) use wait::{Progress, has_ended, wait_for_jobs};
