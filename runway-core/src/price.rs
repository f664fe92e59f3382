//! Prices of jobs: the ceiling before the run, and the bill after it.
//!
//! All arithmetic uses integers. A quote line is `amount × unit price × seconds`, rounded up to the
//! micro-dollar by `round_up`. A total is the sum of its rounded lines, so the printed numbers add up. One GB
//! is 10^9 bytes.
//!
//! The deadline applies to the whole Kubernetes Job and bounds all its retries together. So the ceiling is
//! the price of (timeout + termination grace). It is *not* multiplied by (retries + 1).

use crate::units::{
    CpuMillis, Decimal, GpuCount, MemoryBytes, Seconds, Timestamp, UnitPrice, Usd, decimal, parse_decimal,
};
use serde::de::Error as _;
use serde::ser::SerializeStruct;
use std::fmt;

/// The prices of CPU, memory and GPUs, each for one unit and second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct UnitPrices {
    /// The price of one core.
    pub usd_per_cpu_second: UnitPrice,
    /// The price of 10^9 bytes of memory.
    pub usd_per_gb_second: UnitPrice,
    /// The price of a GPU without a type.
    pub usd_per_gpu_second: UnitPrice,
}

/// The amounts of the priced resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amounts {
    /// CPU, in thousandths of a core.
    pub cpu: CpuMillis,
    /// Memory in bytes.
    pub memory: MemoryBytes,
    /// Number of whole GPUs.
    pub gpu: GpuCount,
}

/// The quote of a job: the upper bound of its price.
///
/// Serialized, it is
/// `{"ceiling_usd","per_hour_usd","lines":[{"resource","amount","seconds","rate_usd","usd"}]}`. Amounts are
/// in cores, GB and GPUs. Amounts and money are decimal strings.
///
/// ```
/// use runway_core::price::{Amounts, Quote, UnitPrices};
/// use runway_core::units::{CpuMillis, GpuCount, MemoryBytes, Seconds, Usd};
///
/// let prices = UnitPrices {
///     usd_per_cpu_second: "0.00001".parse()?,
///     usd_per_gb_second: "0.000001".parse()?,
///     usd_per_gpu_second: "0.001".parse()?,
/// };
/// let memory = MemoryBytes::new(2_000_000_000);
/// let amounts = Amounts { cpu: CpuMillis::new(500), memory, gpu: GpuCount::ZERO };
/// let gpu_price = prices.usd_per_gpu_second;
/// let quote = Quote::new(amounts, &prices, gpu_price, Seconds::new(100)).ok_or("overflow")?;
/// // 0.5 × 0.00001 × 100 + 2 × 0.000001 × 100
/// assert_eq!(quote.ceiling, Usd::from_micros(500 + 200));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Quote {
    /// The price of the maximum duration of the job.
    #[serde(rename = "ceiling_usd")]
    pub ceiling: Usd,
    /// The price of one hour with these amounts.
    #[serde(rename = "per_hour_usd")]
    pub per_hour: Usd,
    /// The lines that add up to the ceiling, one for each resource. A job without GPUs has no line for GPUs.
    pub lines: Vec<QuoteLine>,
}

/// The part of a quote for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteLine {
    /// The resource.
    pub resource: Resource,
    /// The amount in the resource's base unit: thousandths of a core, bytes, or GPUs.
    pub units: u64,
    /// The duration that the line is the price of.
    pub seconds: Seconds,
    /// The price of one unit for one second. The JSON key is `rate_usd`.
    pub unit_price: UnitPrice,
    /// The price of this line, rounded up to the micro-dollar.
    pub usd: Usd,
}

/// A resource with a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// CPU cores.
    Cpu,
    /// Memory.
    Memory,
    /// GPUs.
    Gpu,
}

/// The bill of a finished job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bill {
    /// The price of the used time, but at most the ceiling.
    pub usd: Usd,
    /// The part of the price of the used time that exceeds the ceiling. It is not charged.
    pub overrun: Usd,
}

/// The start and end of one attempt, for billing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptSpan {
    /// The time at which the attempt was assigned to a node.
    pub scheduled: Timestamp,
    /// The time at which the container terminated; `None` if it is not known.
    pub ended: Option<Timestamp>,
}

/// Returns the billed time of a job's attempts.
///
/// Each attempt counts from its scheduling to the termination of its container. The sum is rounded up to
/// whole seconds once. An attempt with an unknown end counts until `finished_at` plus `grace`: the end of the
/// job plus the termination grace.
///
/// ```
/// use runway_core::price::{AttemptSpan, billed_time};
/// use runway_core::units::{Seconds, Timestamp};
///
/// let at = Timestamp::from_seconds;
/// let failed = AttemptSpan { scheduled: at(100), ended: Some(at(160)) };
/// let unknown_end = AttemptSpan { scheduled: at(170), ended: None };
/// assert_eq!(billed_time(&[failed, unknown_end], at(200), Seconds::new(30)), Seconds::new(60 + 60));
/// ```
#[must_use]
pub fn billed_time(attempts: &[AttemptSpan], finished_at: Timestamp, grace: Seconds) -> Seconds {
    let nanos = |attempt: &AttemptSpan| {
        let ended = attempt.ended.unwrap_or(finished_at.saturating_add(grace));
        ended.nanos_since(attempt.scheduled)
    };
    let total = attempts.iter().map(nanos).fold(0, u64::saturating_add);
    Seconds::new(total.div_ceil(1_000_000_000))
}

const HOUR: Seconds = Seconds::new(3600);

impl Quote {
    /// Returns the quote for amounts over a time; `None` if the price does not fit in [`Usd`].
    #[must_use]
    pub fn new(amounts: Amounts, prices: &UnitPrices, gpu_price: UnitPrice, time: Seconds) -> Option<Self> {
        let parts = [
            (Resource::Cpu, amounts.cpu.units(), prices.usd_per_cpu_second),
            (Resource::Memory, amounts.memory.units(), prices.usd_per_gb_second),
            (Resource::Gpu, amounts.gpu.units(), gpu_price),
        ];
        let mut lines = Vec::with_capacity(parts.len());
        let mut ceiling = Usd::ZERO;
        let mut per_hour = Usd::ZERO;
        for (resource, units, unit_price) in parts {
            if resource == Resource::Gpu && units == 0 {
                continue;
            }
            let usd = resource.price(units, unit_price, time)?;
            ceiling = ceiling.checked_add(usd)?;
            per_hour = per_hour.checked_add(resource.price(units, unit_price, HOUR)?)?;
            lines.push(QuoteLine { resource, units, seconds: time, unit_price, usd });
        }
        Some(Self { ceiling, per_hour, lines })
    }

    /// Returns the bill for the given time; see [`billed_time`].
    #[must_use]
    pub fn bill(&self, time: Seconds) -> Bill {
        let usd: Usd = self
            .lines
            .iter()
            .map(|line| {
                line.resource.price(line.units, line.unit_price, time).unwrap_or(Usd::from_micros(u64::MAX))
            })
            .sum();
        Bill { usd: usd.min(self.ceiling), overrun: usd.saturating_sub(self.ceiling) }
    }
}

impl Resource {
    /// Returns the exponent of 10 that converts base units to priced units. A core has 10^3 thousandths, a GB
    /// has 10^9 bytes, and GPUs have only one unit.
    const fn decimals(self) -> u8 {
        match self {
            Self::Cpu => 3,
            Self::Memory => 9,
            Self::Gpu => 0,
        }
    }

    fn price(self, units: u64, unit_price: UnitPrice, time: Seconds) -> Option<Usd> {
        // Unit prices are in pico-dollars, and money is in micro-dollars. One micro-dollar is 10^6
        // pico-dollars. The divisor below is 10^6 times the number of base units in a priced unit.
        let picos = u128::from(units)
            .checked_mul(u128::from(unit_price.picos()))?
            .checked_mul(u128::from(time.get()))?;
        let micros = match self {
            Self::Cpu => round_up::<1_000_000_000>(picos),
            Self::Memory => round_up::<1_000_000_000_000_000>(picos),
            Self::Gpu => round_up::<1_000_000>(picos),
        };
        u64::try_from(micros).ok().map(Usd::from_micros)
    }

    /// Returns the name of the priced unit: `cores`, `GB` or `GPUs`.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "cores",
            Self::Memory => "GB",
            Self::Gpu => "GPUs",
        }
    }
}

/// Rounds an amount of money up to the next whole number of `UNIT`s. No other function rounds money.
const fn round_up<const UNIT: u64>(amount: u128) -> u128 {
    // Nearly every price fits in 64 bits, and a 64-bit division takes a tenth of the time.
    if amount <= u64::MAX as u128 {
        #[expect(clippy::cast_possible_truncation, reason = "compared with `u64::MAX` just above")]
        let amount = amount as u64;
        return amount.div_ceil(UNIT) as u128;
    }
    amount.div_ceil(UNIT as u128)
}

impl QuoteLine {
    /// Returns the amount in the priced unit, as a decimal.
    #[must_use]
    pub fn amount(&self) -> String {
        self.decimal().to_string()
    }

    fn decimal(&self) -> Decimal {
        decimal(self.units, self.resource.decimals())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Gpu => "gpu",
        })
    }
}

impl serde::Serialize for QuoteLine {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_struct("QuoteLine", 5)?;
        line.serialize_field("resource", &self.resource)?;
        line.serialize_field("amount", &self.decimal())?;
        line.serialize_field("seconds", &self.seconds)?;
        line.serialize_field("rate_usd", &self.unit_price)?;
        line.serialize_field("usd", &self.usd)?;
        line.end()
    }
}

impl<'de> serde::Deserialize<'de> for QuoteLine {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct QuoteLineRecord {
            resource: Resource,
            amount: String,
            seconds: Seconds,
            rate_usd: UnitPrice,
            usd: Usd,
        }
        let QuoteLineRecord { resource, amount, seconds, rate_usd: unit_price, usd } =
            QuoteLineRecord::deserialize(deserializer)?;
        let units = parse_decimal(&amount, resource.decimals())
            .map_err(|error| D::Error::custom(format!("the amount `{amount}` {error}")))?;
        Ok(Self { resource, units, seconds, unit_price, usd })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit_prices() -> UnitPrices {
        UnitPrices {
            usd_per_cpu_second: "0.0000112444".parse().unwrap(),
            usd_per_gb_second: "0.0000012347".parse().unwrap(),
            usd_per_gpu_second: "0.00069".parse().unwrap(),
        }
    }

    fn quote(cpu: u64, memory: u64, gpu: u64, seconds: u64) -> Option<Quote> {
        let amounts =
            Amounts { cpu: CpuMillis::new(cpu), memory: MemoryBytes::new(memory), gpu: GpuCount::new(gpu) };
        Quote::new(amounts, &unit_prices(), unit_prices().usd_per_gpu_second, Seconds::new(seconds))
    }

    #[test]
    fn example_quote_is_exact_to_the_micro_dollar() {
        // 2 cores and 4Gi for 15m + 30s:
        // 2 × 0.0000112444 × 930 = 0.020914584          → 0.020915
        // 4.294967296 × 0.0000012347 × 930 = 0.0049317… → 0.004932
        let quote = quote(2000, 4 << 30, 0, 930).unwrap();
        let lines: Vec<_> = quote.lines.iter().map(|line| line.usd.micros()).collect();
        assert_eq!(lines, [20_915, 4_932]);
        assert_eq!(quote.ceiling.micros(), 25_847);
        assert_eq!(quote.lines[1].amount(), "4.294967296");
    }

    #[test]
    fn quote_round_trips_through_json() {
        let quote = quote(2500, 4 << 30, 3, 930).unwrap();
        let json = serde_json::to_string(&quote).unwrap();
        assert_eq!(serde_json::from_str::<Quote>(&json).unwrap(), quote);
        let broken = json.replace("4.294967296", "4.2949672961");
        assert!(serde_json::from_str::<Quote>(&broken).unwrap_err().to_string().contains("9 decimals"));
    }

    #[test]
    fn smallest_amount_costs_a_micro_dollar() {
        let quote = quote(1, 1, 1, 1).unwrap();
        let lines: Vec<_> = quote.lines.iter().map(|line| line.usd.micros()).collect();
        assert_eq!(lines, [1, 1, 690]);
    }

    #[test]
    fn round_up_is_exact_below_and_above_u64_max() {
        let word = u128::from(u64::MAX);
        for amount in [0, 1, 999_999, 1_000_000, 1_000_001, word - 1, word, word + 1, word * 7] {
            assert_eq!(round_up::<1_000_000>(amount), amount.div_ceil(1_000_000), "{amount}");
        }
    }

    #[test]
    fn quote_that_overflows_is_refused() {
        let max = i64::MAX.unsigned_abs();
        assert_eq!(quote(max, max, max, max), None);
        assert_eq!(quote(0, 0, 0, max).map(|quote| quote.ceiling), Some(Usd::ZERO));
    }

    #[test]
    fn billed_time_rounds_the_sum_once() {
        let at = Timestamp::from_nanos;
        let short = AttemptSpan { scheduled: at(5), ended: Some(at(400_000_005)) };
        assert_eq!(billed_time(&[], at(0), Seconds::new(30)), Seconds::ZERO);
        assert_eq!(billed_time(&[short, short], at(0), Seconds::ZERO), Seconds::new(1));
        assert_eq!(billed_time(&[short, short, short], at(0), Seconds::ZERO), Seconds::new(2));
        let backwards = AttemptSpan { scheduled: at(10), ended: Some(at(5)) };
        assert_eq!(billed_time(&[backwards], at(0), Seconds::ZERO), Seconds::ZERO);
    }

    #[test]
    fn bill_is_capped_and_reports_the_overrun() {
        let quote = quote(2000, 4 << 30, 1, 930).unwrap();
        assert_eq!(quote.bill(Seconds::ZERO), Bill { usd: Usd::ZERO, overrun: Usd::ZERO });
        assert_eq!(quote.bill(Seconds::new(930)), Bill { usd: quote.ceiling, overrun: Usd::ZERO });
        let late = quote.bill(Seconds::new(931));
        assert_eq!(late.usd, quote.ceiling);
        assert!(late.overrun > Usd::ZERO);
        assert!(quote.bill(Seconds::new(929)).usd < quote.ceiling);
    }
}
