//! Sample jobs: jobs in every phase, with names of maximum length, and with messages that contain HTML.

use runway_control::JobSnapshot;
use runway_core::JobId;
use runway_core::price::{Amounts, AttemptSpan, Quote, UnitPrices};
use runway_core::status::{Phase, Reason, Status};
use runway_core::units::{CpuMillis, GpuCount, MemoryBytes, Seconds, Timestamp};
use std::error::Error;

/// HTML that takes effect if the page does not escape it. The scripts in this HTML set `window.owned`.
const HOSTILE_TEXTS: [&str; 6] = [
    r#"<script>window.owned="script"</script>"#,
    r#"<img src=x onerror="window.owned='img'">"#,
    r#"</td></tr></tbody></table><svg onload="window.owned='svg'"><h1>owned</h1>"#,
    r#"" autofocus onfocus="window.owned='attribute'" x=""#,
    "<a href=\"javascript:window.owned='link'\">owned</a> &lt;b&gt;owned&lt;/b&gt;",
    "<style>body{display:none}</style><meta http-equiv=refresh content='0;url=//elsewhere.example'><iframe srcdoc=x>",
];

struct Sample {
    name: &'static str,
    tenant: &'static str,
    class: &'static str,
    gpus: u64,
    phase: Phase,
    reason: Option<Reason>,
    message: String,
    hint: Option<String>,
    minutes: u64,
}

/// Returns the sample jobs at the time `now`.
pub(crate) fn jobs(now: Timestamp) -> Result<Vec<JobSnapshot>, Box<dyn Error>> {
    let numbered = (1..).zip(samples());
    numbered.map(|(number, sample)| sample.into_snapshot(JobId::from_random(number), now)).collect()
}

fn samples() -> Vec<Sample> {
    let job = |name, tenant, phase, message: &str| Sample {
        name,
        tenant,
        class: "cpu_long",
        gpus: 0,
        phase,
        reason: None,
        message: message.to_owned(),
        hint: None,
        minutes: 12,
    };
    let mut samples = vec![
        Sample {
            class: "gpu",
            gpus: 4,
            minutes: 134,
            ..job("train-ranker", "vision", Phase::Running, "running")
        },
        Sample {
            class: "gpu",
            gpus: 2,
            reason: Some(Reason::Unschedulable),
            hint: Some(
                "the job starts when a node has enough free GPUs; if no node has that many, lower `resources.gpu`"
                    .to_owned(),
            ),
            ..job(
                "infer-batch",
                "search",
                Phase::Pending,
                "no node has the requested resources: `0/12 nodes are available: 12 Insufficient nvidia.com/gpu.`",
            )
        },
        job(
            "nightly-etl",
            "billing",
            Phase::Running,
            "running, attempt 2 of 3; attempt 1: exit code 1",
        ),
        Sample {
            reason: Some(Reason::OOMKilled),
            hint: Some("raise `resources.memory` above 4Gi, or reduce the memory use of the job".to_owned()),
            minutes: 60 * 27,
            ..job(
                "embed-docs",
                "search",
                Phase::Failed,
                "killed by the kernel for exceeding its memory limit of 4Gi",
            )
        },
        job("thumbnail-8812", "media", Phase::Succeeded, "succeeded"),
        job("sweep-lr-1e-4", "vision", Phase::Cancelled, "cancelled; its processes are being terminated"),
        job("report", "billing", Phase::Unknown, "deleted before its final state was observed"),
        Sample {
            hint: Some("x".repeat(300)),
            ..job(
                "a-name-that-is-as-long-as-the-name-of-a-job-can-be",
                "a-tenant-whose-name-is-as-long-as-the-name-of-a-tenant-may-be-x",
                Phase::Failed,
                &"no-space-to-break-at/".repeat(15),
            )
        },
    ];
    for text in HOSTILE_TEXTS {
        samples.push(Sample {
            reason: Some(Reason::ImagePull),
            hint: Some(text.to_owned()),
            ..job("hostile", "mallory", Phase::Pending, &format!("cannot pull the image `{text}`"))
        });
    }
    samples
}

impl Sample {
    fn into_snapshot(self, id: JobId, now: Timestamp) -> Result<JobSnapshot, Box<dyn Error>> {
        let (timeout, grace) = (Seconds::new(4 * 3600), Seconds::new(30));
        let created_at = Timestamp::from_nanos(now.nanos().saturating_sub(self.minutes * 60_000_000_000));
        let rates = UnitPrices {
            usd_per_cpu_second: "0.0000112444".parse()?,
            usd_per_gb_second: "0.0000012347".parse()?,
            usd_per_gpu_second: "0.00102".parse()?,
        };
        let gpu = GpuCount::new(self.gpus);
        let amounts = Amounts { cpu: CpuMillis::new(2000), memory: MemoryBytes::new(4 << 30), gpu };
        let quote = Quote::new(amounts, &rates, rates.usd_per_gpu_second, timeout.saturating_add(grace));
        let has_run = self.phase != Phase::Pending;
        let finished_at = self.phase.is_final().then_some(now);
        let status = Status {
            phase: self.phase,
            reason: self.reason,
            message: self.message,
            hint: self.hint,
            attempts: u32::from(has_run),
            started_at: Some(created_at),
            finished_at,
            attempt_spans: if has_run {
                vec![AttemptSpan { scheduled: created_at, ended: finished_at }]
            } else {
                Vec::new()
            },
            occupies_resources: matches!(self.phase, Phase::Pending | Phase::Running),
            ..Status::created()
        };
        Ok(JobSnapshot {
            id,
            name: self.name.parse()?,
            tenant: self.tenant.parse()?,
            class: Some(self.class.parse()?),
            gpus: gpu,
            timeout,
            grace,
            created_at,
            quote,
            spec_digest: None,
            status,
        })
    }
}
