//! Checks the contents of `infra/`: manifests, alerts, dashboard and Terraform files. Also checks the server
//! as the manifests deploy it on a cluster.

#[cfg(test)]
mod images;
pub mod manifests;
pub mod observability;
pub mod terraform;
