//! Suggests lower resource requests, based on the usage of a finished job.

use crate::usage::Usage;
use runway_core::units::{CpuMillis, MemoryBytes};
use std::time::Duration;

/// Minimum duration of a job for advice about CPU. The average of a shorter job is not representative.
const TELLING: Duration = Duration::from_secs(10);

/// Returns advice for each resource of which the job requested at least twice the suggested value. The
/// suggestion is the usage plus a margin.
///
/// ```
/// use runway_core::units::{CpuMillis, MemoryBytes};
/// use runway_local::{Usage, advise};
/// use std::time::Duration;
///
/// let usage = Usage {
///     wall: Duration::from_secs(5),
///     peak_memory: Some(MemoryBytes::new(212 << 20)),
///     ..Usage::default()
/// };
/// assert_eq!(
///     advise(&usage, CpuMillis::new(2000), MemoryBytes::new(4 << 30)),
///     ["peak memory 212Mi of 4Gi: `memory: 256Mi` would suffice, at 94% lower memory cost"]
/// );
/// ```
#[must_use]
pub fn advise(usage: &Usage, cpu: CpuMillis, memory: MemoryBytes) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(peak) = usage.peak_memory {
        let enough = enough_memory(peak.units());
        if enough.saturating_mul(2) <= memory.units() {
            advice.push(format!(
                "peak memory {} of {memory}: `memory: {}` would suffice, at {}% lower memory cost",
                whole_mebibytes(peak),
                MemoryBytes::new(enough),
                cheaper(enough, memory.units())
            ));
        }
    }
    if let Some(used) = usage.cpu.filter(|_| usage.wall >= TELLING) {
        let average = used.as_millis().saturating_mul(1000) / usage.wall.as_millis().max(1);
        let average = u64::try_from(average).unwrap_or(u64::MAX);
        let enough = with_room(average).div_ceil(50).saturating_mul(50).max(50);
        if enough.saturating_mul(2) <= cpu.units() {
            advice.push(format!(
                "{} of {cpu} CPU on average: `cpu: {}` might suffice, at {}% lower CPU cost",
                CpuMillis::new(average),
                CpuMillis::new(enough),
                cheaper(enough, cpu.units())
            ));
        }
    }
    advice
}

/// Adds a fifth, because the next run can need more.
const fn with_room(amount: u64) -> u64 {
    amount.saturating_add(amount / 5)
}

/// Returns the smallest of 16, 24, 32, 48, 64, … MiB that covers the peak and its margin.
fn enough_memory(peak: u64) -> u64 {
    let wanted = with_room(peak);
    let mut enough = 16u64 << 20;
    while enough < wanted {
        let half_more = enough.saturating_add(enough / 2);
        if half_more >= wanted {
            return half_more;
        }
        enough = enough.saturating_mul(2);
    }
    enough
}

fn whole_mebibytes(bytes: MemoryBytes) -> MemoryBytes {
    MemoryBytes::new(bytes.units().div_ceil(1 << 20) << 20)
}

/// Returns by how many percent `less` is below `more`, rounded to the nearest integer.
fn cheaper(less: u64, more: u64) -> u64 {
    let saved = u128::from(more.saturating_sub(less)) * 200 / u128::from(more.max(1));
    u64::try_from(saved.div_ceil(2)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(peak: u64, limit: u64) -> Vec<String> {
        let usage = Usage { peak_memory: Some(MemoryBytes::new(peak)), ..Usage::default() };
        advise(&usage, CpuMillis::new(1000), MemoryBytes::new(limit))
    }

    #[test]
    fn only_what_is_far_off_is_told() {
        assert_eq!(memory(100 << 20, 255 << 20), [""; 0]);
        assert_eq!(memory(100 << 20, 256 << 20).len(), 1);
        assert!(memory(1 << 20, 512 << 20)[0].contains("`memory: 16Mi` would suffice, at 97% lower"));
    }

    #[test]
    fn a_short_job_says_nothing_of_processors() {
        let usage = |wall| Usage { wall, cpu: Some(Duration::from_secs(1)), ..Usage::default() };
        let told = |wall| advise(&usage(wall), CpuMillis::new(2000), MemoryBytes::new(0));
        assert!(told(TELLING - Duration::from_millis(1)).is_empty());
        assert_eq!(
            told(TELLING),
            ["100m of 2 CPU on average: `cpu: 150m` might suffice, at 93% lower CPU cost"]
        );
    }
}
