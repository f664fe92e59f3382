//! What `infra/` holds: manifests, alerts, the dashboard and Terraform files are checked, and the server runs
//! as deployed.

pub mod manifests;
pub mod observability;
pub mod terraform;
