//! Suggests lower resource requests, based on the usage of a finished job.

use crate::usage::Usage;
use runway_core::units::{CpuMillis, MemoryBytes};
use std::time::Duration;

/// Minimum duration of a job for advice about CPU. The average of a shorter job is not representative.
const MIN_WALL_TIME: Duration = Duration::from_secs(10);

/// Returns advice for each resource of which the job requested at least twice the suggested value.
///
/// The suggestion is the used amount plus a margin, rounded up. Advice about CPU requires a job of 10 seconds
/// or more.
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
        let sufficient = sufficient_memory(peak.units());
        if sufficient.saturating_mul(2) <= memory.units() {
            advice.push(format!(
                "peak memory {} of {memory}: `memory: {}` would suffice, at {}% lower memory cost",
                whole_mebibytes(peak),
                MemoryBytes::new(sufficient),
                percent_saved(sufficient, memory.units())
            ));
        }
    }
    if let Some(used) = usage.cpu.filter(|_| usage.wall >= MIN_WALL_TIME) {
        let average = used.as_millis().saturating_mul(1000) / usage.wall.as_millis().max(1);
        let average = u64::try_from(average).unwrap_or(u64::MAX);
        let sufficient = with_margin(average).div_ceil(50).saturating_mul(50).max(50);
        if sufficient.saturating_mul(2) <= cpu.units() {
            advice.push(format!(
                "{} of {cpu} CPU on average: `cpu: {}` might suffice, at {}% lower CPU cost",
                CpuMillis::new(average),
                CpuMillis::new(sufficient),
                percent_saved(sufficient, cpu.units())
            ));
        }
    }
    advice
}

/// Adds a fifth to the amount, because the next run of the job can need more.
const fn with_margin(amount: u64) -> u64 {
    amount.saturating_add(amount / 5)
}

/// Returns the smallest of 16, 24, 32, 48, 64, … MiB that covers the peak memory and a margin.
fn sufficient_memory(peak: u64) -> u64 {
    let required = with_margin(peak);
    let mut power_of_two = 16u64 << 20;
    while power_of_two < required {
        let one_and_a_half = power_of_two.saturating_add(power_of_two / 2);
        if one_and_a_half >= required {
            return one_and_a_half;
        }
        power_of_two = power_of_two.saturating_mul(2);
    }
    power_of_two
}

fn whole_mebibytes(bytes: MemoryBytes) -> MemoryBytes {
    MemoryBytes::new(bytes.units().div_ceil(1 << 20) << 20)
}

/// Returns by how many percent `less` is below `more`, rounded to the nearest integer.
fn percent_saved(less: u64, more: u64) -> u64 {
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
    fn advice_requires_half_of_the_memory_unused() {
        assert_eq!(memory(100 << 20, 255 << 20), [""; 0]);
        assert_eq!(memory(100 << 20, 256 << 20).len(), 1);
        assert!(memory(1 << 20, 512 << 20)[0].contains("`memory: 16Mi` would suffice, at 97% lower"));
    }

    #[test]
    fn short_jobs_get_no_cpu_advice() {
        let usage = |wall| Usage { wall, cpu: Some(Duration::from_secs(1)), ..Usage::default() };
        let advice = |wall| advise(&usage(wall), CpuMillis::new(2000), MemoryBytes::new(0));
        assert!(advice(MIN_WALL_TIME - Duration::from_millis(1)).is_empty());
        assert_eq!(
            advice(MIN_WALL_TIME),
            ["100m of 2 CPU on average: `cpu: 150m` might suffice, at 93% lower CPU cost"]
        );
    }
}
