//! The result of a job: status, usage and cost.

use crate::Exit;
use runway_api::{JobFacts, JobView};
use runway_control::JobSnapshot;
use runway_core::status::{CHECK_LOGS, Reason};
use runway_core::units::{CpuMillis, MemoryBytes, Seconds, Timestamp};
use runway_local::{Job, JobError, Usage, advise};
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// The result of a job that has ended.
pub(super) struct Outcome {
    view: JobView,
    usage: Usage,
    limits: (CpuMillis, MemoryBytes),
    not_enforced: Vec<String>,
    advice: Vec<String>,
}

/// The result, as printed in JSON.
#[derive(Serialize)]
pub(super) struct RunRecord<'a> {
    #[serde(flatten)]
    job: &'a JobView,
    usage: UsageRecord,
    not_enforced: &'a [String],
    advice: &'a [String],
}

#[derive(Serialize)]
struct UsageRecord {
    wall_seconds: f64,
    cpu_seconds: Option<f64>,
    throttled_seconds: Option<f64>,
    peak_memory_bytes: Option<u64>,
}

impl Outcome {
    pub(super) fn new(job: &Job, snapshot: JobSnapshot, now: Timestamp) -> Result<Self, JobError> {
        let usage = job.usage()?;
        let limits = job.limits();
        let advice = advise(&usage, limits.0, limits.1);
        let view = JobView::from(JobFacts {
            id: snapshot.id,
            name: &snapshot.name,
            tenant: &snapshot.tenant,
            class: snapshot.class.as_ref(),
            created_at: snapshot.created_at,
            quote: snapshot.quote.as_ref(),
            status: &snapshot.status,
            cost_usd: snapshot.bill(now).map(|bill| bill.usd),
            observed_at: now,
        });
        Ok(Self { view, usage, limits, not_enforced: job.not_enforced().to_vec(), advice })
    }

    pub(super) fn record(&self) -> RunRecord<'_> {
        RunRecord {
            job: &self.view,
            usage: UsageRecord {
                wall_seconds: to_seconds(self.usage.wall),
                cpu_seconds: self.usage.cpu.map(to_seconds),
                throttled_seconds: self.usage.throttled.map(to_seconds),
                peak_memory_bytes: self.usage.peak_memory.map(MemoryBytes::units),
            },
            not_enforced: &self.not_enforced,
            advice: &self.advice,
        }
    }

    /// Formats the result for people: a summary line, then message, hint, unenforced limits and advice.
    pub(super) fn render_text(&self) -> String {
        let JobView { phase, reason, message, hint, quote, cost_usd, .. } = &self.view;
        let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
        let mut text = format!("{phase}{reason} after {}", format_short_duration(self.usage.wall));
        let (_, memory) = self.limits;
        if let Some(peak) = self.usage.peak_memory {
            let _ = write!(text, "; peak memory {} of {memory}", round_up_to_mebibytes(peak));
        }
        if let Some(cpu) = self.usage.cpu {
            let _ = write!(text, "; CPU {}", format_short_duration(cpu));
        }
        if let (Some(cost), Some(quote)) = (cost_usd, quote) {
            let _ = write!(text, "; {cost} USD of at most {}", quote.ceiling);
        }
        text.push('\n');
        if *message != phase.as_str() {
            let _ = writeln!(text, "  {message}");
        }
        // `runway run` has already printed the job's output, so the hint `CHECK_LOGS` is omitted.
        if let Some(hint) = hint.as_deref().filter(|hint| *hint != CHECK_LOGS) {
            let _ = writeln!(text, "  hint: {hint}");
        }
        for limit in &self.not_enforced {
            let _ = writeln!(text, "  not enforced: {limit}");
        }
        for advice in &self.advice {
            let _ = writeln!(text, "  advice: {advice}");
        }
        text
    }

    /// Returns the exit code of `runway run`. `signal` is the first signal that `runway run` received. It
    /// determines the code if the job has no exit code and did not exceed its timeout.
    pub(super) fn exit(&self, signal: Option<i32>) -> Exit {
        let job_exit_code = self.view.exit_code.and_then(|code| u8::try_from(code).ok());
        let code = match (self.view.reason, signal) {
            (Some(Reason::DeadlineExceeded), _) => Some(124),
            (_, Some(signal)) if job_exit_code.is_none() => u8::try_from(signal.saturating_add(128)).ok(),
            _ => job_exit_code,
        };
        Exit::Code(code.unwrap_or(125))
    }
}

/// Formats the status line of a running job.
pub(super) fn progress(
    usage: &Usage,
    memory: Option<MemoryBytes>,
    limits: (CpuMillis, MemoryBytes),
    timeout: Seconds,
) -> String {
    let mut line = format!("{} of {timeout}", Seconds::new(usage.wall.as_secs()));
    if let Some(cpu) = usage.cpu {
        let millis = cpu.as_millis().saturating_mul(1000) / usage.wall.as_millis().max(1);
        let average = CpuMillis::new(u64::try_from(millis).unwrap_or(u64::MAX));
        let _ = write!(line, "; CPU {average} of {}", limits.0);
    }
    if let Some(memory) = memory {
        let _ = write!(line, "; memory {} of {}", round_up_to_mebibytes(memory), limits.1);
    }
    line
}

/// Converts a duration to seconds, truncated to milliseconds.
fn to_seconds(duration: Duration) -> f64 {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

/// Formats a duration. A duration below one minute has two decimals, which are truncated and not rounded.
fn format_short_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(60) {
        format!("{}.{:02}s", duration.as_secs(), duration.subsec_millis() / 10)
    } else {
        Seconds::new(duration.as_secs()).to_string()
    }
}

fn round_up_to_mebibytes(bytes: MemoryBytes) -> MemoryBytes {
    MemoryBytes::new(bytes.units().div_ceil(1 << 20) << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_below_a_minute_have_decimals() {
        assert_eq!(format_short_duration(Duration::from_millis(5)), "0.00s");
        assert_eq!(format_short_duration(Duration::from_millis(1_239)), "1.23s");
        assert_eq!(format_short_duration(Duration::from_millis(59_999)), "59.99s");
        assert_eq!(format_short_duration(Duration::from_secs(60)), "1m");
    }

    #[test]
    fn status_line_shows_usage_beside_limits() {
        let usage = Usage {
            wall: Duration::from_millis(12_500),
            cpu: Some(Duration::from_millis(6_250)),
            ..Usage::default()
        };
        let limits = (CpuMillis::new(2000), MemoryBytes::new(1 << 30));
        assert_eq!(
            progress(&usage, Some(MemoryBytes::new(100 << 20)), limits, Seconds::new(600)),
            "12s of 10m; CPU 500m of 2; memory 100Mi of 1Gi"
        );
    }
}
