//! The parsed policy file, before its layers are resolved. Serialized, it is the canonical form.

use crate::image::ImagePattern;
use crate::name::{ClassName, Tenant};
use crate::price::UnitPrices;
use crate::rate::RateLimit;
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Seconds, UnitPrice};
use ipnet::IpNet;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::{fmt, net::IpAddr, str::FromStr};

/// The parsed policy file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PolicyFile {
    pub version: u8,
    pub limits: LimitsLayer,
    pub default_class: Option<ClassName>,
    pub classes: BTreeMap<ClassName, LimitsLayer>,
    pub gpu_types: BTreeMap<String, GpuType>,
    pub default_gpu_type: Option<String>,
    pub networks: NetworksLayer,
    pub rates: UnitPrices,
    pub rate_limit: RateLimit,
    pub quota: Quota,
    pub capacity: Capacity,
    pub images: Images,
    pub unknown_tenants: UnknownTenants,
    pub tenants: BTreeMap<Tenant, TenantLayer>,
    pub run: RunSettings,
}

impl Default for PolicyFile {
    /// Returns a policy file in which every field has its default.
    fn default() -> Self {
        Self {
            version: 1,
            limits: LimitsLayer::default(),
            default_class: None,
            classes: BTreeMap::new(),
            gpu_types: BTreeMap::new(),
            default_gpu_type: None,
            networks: NetworksLayer::default(),
            rates: UnitPrices::default(),
            rate_limit: RateLimit::DEFAULT,
            quota: Quota::default(),
            capacity: Capacity::default(),
            images: Images::default(),
            unknown_tenants: UnknownTenants::Allow,
            tenants: BTreeMap::new(),
            run: RunSettings::default(),
        }
    }
}

/// The bounds of one quantity in one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BoundLayer<T> {
    pub min: Option<T>,
    pub max: Option<T>,
    pub default: Option<T>,
}

impl<T> Default for BoundLayer<T> {
    fn default() -> Self {
        Self { min: None, max: None, default: None }
    }
}

/// The bounds of all quantities in one layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LimitsLayer {
    pub cpu: BoundLayer<CpuMillis>,
    pub memory: BoundLayer<MemoryBytes>,
    pub ephemeral_storage: BoundLayer<MemoryBytes>,
    pub gpu: BoundLayer<GpuCount>,
    pub timeout: BoundLayer<Seconds>,
    pub retries: BoundLayer<u32>,
    pub network: Option<Vec<Network>>,
}

/// The settings of one tenant.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TenantLayer {
    pub limits: LimitsLayer,
    pub classes: BTreeMap<ClassName, LimitsLayer>,
    pub quota: QuotaLayer,
    pub rate_limit: Option<RateLimit>,
    pub networks: NetworksLayer,
}

/// The quota of one tenant; `None` for a value that the policy does not set for this tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct QuotaLayer {
    pub gpus: Option<GpuCount>,
    pub concurrent_jobs: Option<u32>,
}

/// The quota: how many GPUs and jobs one tenant may hold at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The maximum number of GPUs, of all types together.
    pub gpus: GpuCount,
    /// The maximum number of jobs.
    pub concurrent_jobs: u32,
}

impl Default for Quota {
    /// Returns the default quota: 4 GPUs and 10 jobs.
    fn default() -> Self {
        Self { gpus: GpuCount::new(4), concurrent_jobs: 10 }
    }
}

/// The capacity: the limits for all tenants together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The maximum number of GPUs that are held at the same time, of all types together.
    pub gpus: GpuCount,
    /// The maximum number of jobs at the same time.
    pub concurrent_jobs: u32,
    /// The rate limit of submissions.
    pub rate_limit: RateLimit,
}

impl Default for Capacity {
    /// Returns the default capacity: 64 GPUs, 500 jobs, and [`RateLimit::SERVER_DEFAULT`].
    fn default() -> Self {
        Self { gpus: GpuCount::new(64), concurrent_jobs: 500, rate_limit: RateLimit::SERVER_DEFAULT }
    }
}

/// The network access of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The job has no network access.
    None,
    /// The job can reach DNS and the address ranges in the policy.
    Internal,
    /// The job can reach all addresses except the metadata service and the API server.
    Open,
}

impl Network {
    /// All networks.
    pub const ALL: [Self; 3] = [Self::None, Self::Internal, Self::Open];

    /// Returns the name, as in a job.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Internal => "internal",
            Self::Open => "open",
        }
    }

    /// Returns the network with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.as_str() == name)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The address ranges of the named networks.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NetworksLayer {
    pub internal: Option<InternalNetwork>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct InternalNetwork {
    pub cidrs: Vec<Cidr>,
}

/// An address range such as `10.0.0.0/8`. All bits after the prefix are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr(IpNet);

/// The error of an invalid address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// The text does not have the form `address/prefix`.
    #[error("is not an address range such as `10.0.0.0/8`")]
    Malformed,
    /// Bits after the prefix are set.
    #[error("has bits set after its prefix; use `{0}`")]
    HostBits(Cidr),
}

impl Cidr {
    /// Returns `true` for an IPv4 range.
    #[must_use]
    pub const fn is_ipv4(self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }

    /// Returns `true` if the range contains all IPv4 or all IPv6 addresses.
    #[must_use]
    pub fn covers_all_addresses(self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        // This parser is stricter than `IpNet::from_str`, which accepts `010.0.0.0/8`. Other parsers read
        // `010` as an octal number.
        let (address, prefix) = text.split_once('/').ok_or(CidrError::Malformed)?;
        let address: IpAddr = address.parse().map_err(|_| CidrError::Malformed)?;
        // Reject IPv4-mapped IPv6 addresses. Kubernetes can read such an address as IPv4 or as IPv6.
        let is_mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        if is_mapped || prefix.is_empty() || prefix.len() > 3 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CidrError::Malformed);
        }
        let prefix: u8 = prefix.parse().map_err(|_| CidrError::Malformed)?;
        let range = IpNet::new(address, prefix).map_err(|_| CidrError::Malformed)?;
        let truncated = Self(range.trunc());
        if truncated.0 == range { Ok(truncated) } else { Err(CidrError::HostBits(truncated)) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A GPU type: its Kubernetes resource, its price and its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuType {
    /// The name of the Kubernetes extended resource, under which the device plugin offers these GPUs.
    pub resource: String,
    /// The price of one GPU for one second.
    pub usd_per_gpu_second: UnitPrice,
    /// Labels that select the nodes with this GPU type.
    pub node_selector: BTreeMap<String, String>,
}

impl GpuType {
    /// Returns a GPU type with default values. The price is required in a policy and replaces the zero.
    pub(super) fn unpriced() -> Self {
        Self {
            resource: "nvidia.com/gpu".to_owned(),
            usd_per_gpu_second: UnitPrice::default(),
            node_selector: BTreeMap::new(),
        }
    }
}

/// The images that jobs may use.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Images {
    pub allow: Vec<ImagePattern>,
    pub require_digest: bool,
}

impl Default for Images {
    /// Returns the default, which allows all images.
    fn default() -> Self {
        Self { allow: "**".parse().into_iter().collect(), require_digest: false }
    }
}

/// The rule for tenants that the policy does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownTenants {
    /// The gate accepts jobs of these tenants, with the bounds of the base and the classes.
    Allow,
    /// The gate refuses jobs of these tenants.
    Deny,
}

/// Settings for running jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSettings {
    /// The namespace of the jobs. `{tenant}` stands for the tenant.
    pub namespace: String,
    /// The time between the end of a job and its deletion.
    pub ttl_after_finished: Seconds,
    /// The termination grace: the time between SIGTERM and SIGKILL.
    pub termination_grace: Seconds,
    /// The user id of the process. It is never 0.
    pub run_as_user: u32,
    /// The pull policy of the image.
    pub image_pull_policy: ImagePullPolicy,
    /// The names of the Secrets with registry credentials.
    pub image_pull_secrets: Vec<String>,
}

impl Default for RunSettings {
    /// Returns the default settings, such as the namespace `runway-jobs` and a termination grace of 30 s.
    fn default() -> Self {
        Self {
            namespace: "runway-jobs".to_owned(),
            ttl_after_finished: Seconds::new(300),
            termination_grace: Seconds::new(30),
            run_as_user: 65532,
            image_pull_policy: ImagePullPolicy::IfNotPresent,
            image_pull_secrets: Vec::new(),
        }
    }
}

impl RunSettings {
    /// Returns the namespace of a tenant's jobs.
    #[must_use]
    pub fn namespace_of(&self, tenant: &Tenant) -> String {
        self.namespace.replace(TENANT_PLACEHOLDER, tenant.as_str())
    }

    /// Returns `true` if each tenant has a separate namespace.
    #[must_use]
    pub fn is_per_tenant(&self) -> bool {
        self.namespace.contains(TENANT_PLACEHOLDER)
    }
}

const TENANT_PLACEHOLDER: &str = "{tenant}";

/// The Kubernetes pull policy: it tells the kubelet when to pull an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePullPolicy {
    /// The kubelet pulls the image at every start.
    Always,
    /// The kubelet pulls the image if the node does not have it.
    IfNotPresent,
    /// The kubelet never pulls the image.
    Never,
}

impl ImagePullPolicy {
    /// All pull policies.
    pub const ALL: [Self; 3] = [Self::Always, Self::IfNotPresent, Self::Never];

    /// Returns the name, as in Kubernetes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_and_host_bit_ranges_are_rejected() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "10.7.1.2/32", "fd00::/8", "::/0", "::1/128", "64:ff9b::/96"]
        {
            assert_eq!(text.parse::<Cidr>().map(|c| c.to_string()).as_deref(), Ok(text));
        }
        let corrected = "10.7.0.0/16".parse().unwrap();
        assert_eq!("10.7.1.2/16".parse::<Cidr>(), Err(CidrError::HostBits(corrected)));
        for (text, corrected) in
            [("1.2.3.4/0", "0.0.0.0/0"), ("fd00::1/127", "fd00::/127"), ("::1/0", "::/0")]
        {
            let Err(CidrError::HostBits(range)) = text.parse::<Cidr>() else { panic!("{text}") };
            assert_eq!(range.to_string(), corrected);
        }
        assert_eq!("10.0.0.0/08".parse::<Cidr>(), "10.0.0.0/8".parse());
        assert_eq!("10.0.0.0/008".parse::<Cidr>(), "10.0.0.0/8".parse());
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/0008",
            "10.0.0.0/256",
            "10.0.0.0/8/8",
            "10.0.0.0/8 ",
            " 10.0.0.0/8",
            "10.0.0.0 /8",
            "10.0.0.0/ 8",
            "/8",
            "/",
            "010.0.0.0/8",
            "10.0.0.00/8",
            "0x0a.0.0.0/8",
            "167772160/8",
            "10.0.0.256/32",
            "[fd00::]/8",
            "fe80::%eth0/64",
            "::ffff:10.0.0.1/128",
            "::ffff:0:0/96",
            "::ffff:0:0/0",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(CidrError::Malformed), "{text}");
        }
    }
}
