//! Interleaved rounds of benchmarks, and medians over the rounds.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

pub(crate) type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

/// Durations of one operation, in nanoseconds.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Times one call of `run`, which performs this number of operations.
    pub(crate) fn time<T>(&mut self, operations: usize, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = black_box(run());
        let nanos = start.elapsed().as_nanos();
        self.0.push(nanos as f64 / operations as f64);
        result
    }

    fn median(&mut self) -> f64 {
        median(&mut self.0)
    }
}

/// Sorts the numbers and returns their median. There must be at least one number.
pub(crate) fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len().is_multiple_of(2) {
        f64::midpoint(numbers[middle - 1], numbers[middle])
    } else {
        numbers[middle]
    }
}

/// One benchmark. The function `round` prepares the data of a round, and times the operations.
pub(crate) struct Benchmark {
    round: Box<dyn FnMut(&mut Samples) -> BenchResult>,
    samples: Samples,
}

impl Benchmark {
    pub(crate) fn new(round: impl FnMut(&mut Samples) -> BenchResult + 'static) -> Self {
        Self { round: Box::new(round), samples: Samples::default() }
    }

    fn run_round(&mut self) -> BenchResult {
        (self.round)(&mut self.samples)
    }

    /// Returns the median of all samples. There must be at least one sample.
    pub(crate) fn median(&mut self) -> f64 {
        self.samples.median()
    }
}

/// Runs a warm-up round of each benchmark and discards its samples. Then each iteration runs one round of
/// each benchmark. The iterations start with different benchmarks in turn.
pub(crate) fn run_interleaved(benchmarks: &mut [&mut Benchmark], rounds: usize) -> BenchResult {
    for contender in benchmarks.iter_mut() {
        contender.run_round()?;
        contender.samples = Samples::default();
    }
    for round in 0..rounds {
        let (last, first) = benchmarks.split_at_mut(round % benchmarks.len());
        first.iter_mut().chain(last).try_for_each(|contender| contender.run_round())?;
    }
    Ok(())
}
