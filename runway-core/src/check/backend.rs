//! Checks whether the backend supports the features that the job needs.

use super::Checker;
use crate::capability::Capability;
use crate::code::Code;
use crate::policy::{Limits, Network};
use crate::spec::RawScalar;
use crate::units::GpuCount;
use crate::violation::Violation;
use serde_json::Value as Json;

impl Checker<'_> {
    /// Returns `true` if the backend supports the feature, or if the backend's features are not checked.
    pub(super) fn supports(&self, capability: Capability) -> bool {
        self.input.capabilities.is_none_or(|backend| backend.supports(capability))
    }

    /// Returns the violation for a feature that the backend does not support, or else `None`.
    fn unsupported(&self, capability: Capability) -> Option<Violation> {
        let backend = self.input.capabilities.filter(|backend| !backend.supports(capability))?;
        let name = backend.backend();
        let message =
            format!("the backend `{name}` does not support `{capability}`: {}", capability.remedy());
        let violation = Violation::new(Code::UnsupportedByBackend, capability.path(), message);
        Some(violation.capability(capability))
    }

    fn require(&mut self, capability: Capability, requested: impl Into<Json>, fix: impl Into<Json>) {
        if self.has_parse_violation(capability.path()) {
            return;
        }
        if let Some(violation) = self.unsupported(capability) {
            self.report(violation.requested(requested).fix(fix));
        }
    }

    /// Checks the features that the job needs because it sets a field, or because it has no `command`.
    pub(super) fn check_features(&mut self) {
        let spec = self.input.spec;
        if spec.command.is_empty() {
            self.require(Capability::ImageEntrypoint, Json::Null, Json::Null);
        }
        if let Some(workdir) = &spec.workdir {
            self.require(Capability::Workdir, workdir.as_str(), Json::Null);
        }
        if !spec.secrets.is_empty() {
            self.require(Capability::Secrets, Json::Null, Json::Null);
        }
        if let Some(storage) = &spec.resources.ephemeral_storage {
            self.require(Capability::EphemeralStorage, storage.to_json(), Json::Null);
        }
        if let Some(shm) = &spec.resources.shm {
            self.require(Capability::Shm, shm.to_json(), Json::Null);
        }
        if let Some(gpu_type) = &spec.gpu_type {
            self.require(Capability::GpuType, gpu_type.as_str(), Json::Null);
        }
    }

    /// Checks the features that the job needs because an amount is above zero.
    pub(super) fn check_amount_features(&mut self, gpus: Option<GpuCount>, retries: Option<u32>) {
        let spec = self.input.spec;
        if gpus.is_some_and(|gpus| gpus > GpuCount::ZERO) {
            self.require(Capability::Gpu, to_json(spec.resources.gpu.as_ref()), Json::Null);
        }
        if retries.is_some_and(|retries| retries > 0) {
            self.require(Capability::Retries, to_json(spec.retries.as_ref()), 0);
        }
    }

    /// Returns the networks that the policy allows and the backend supports.
    pub(super) fn usable_networks(&self, limits: &Limits) -> Vec<Network> {
        let allowed = limits.network.value.iter().copied();
        allowed.filter(|network| self.supports(capability_of(*network))).collect()
    }

    /// Checks whether the backend supports a network. `requested` is null if the job does not set the network
    /// and gets the default of the policy.
    pub(super) fn check_network_feature(&mut self, network: Network, requested: Json, usable: &[Network]) {
        if let Some(violation) = self.unsupported(capability_of(network)) {
            let fix = nearest_network(network, usable).map(Network::as_str);
            let names = usable.iter().map(|network| network.as_str());
            self.report(violation.requested(requested).one_of(names).fix(fix));
        }
    }
}

/// Returns the widest usable network that is narrower than the requested one. If there is none, returns the
/// narrowest usable network.
pub(super) fn nearest_network(requested: Network, usable: &[Network]) -> Option<Network> {
    let narrower = usable.iter().copied().filter(|network| *network < requested).max();
    narrower.or_else(|| usable.iter().copied().min())
}

const fn capability_of(network: Network) -> Capability {
    match network {
        Network::None => Capability::NetworkNone,
        Network::Internal => Capability::NetworkInternal,
        Network::Open => Capability::NetworkOpen,
    }
}

fn to_json(amount: Option<&RawScalar>) -> Json {
    amount.map_or(Json::Null, RawScalar::to_json)
}
