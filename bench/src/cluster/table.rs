//! The table that is printed at the end.

use crate::timing::median;

/// What was hoped for.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// The ratio is at least this.
    AtLeast(f64),
    /// The ratio is at most this.
    AtMost(f64),
    /// Runway's own value is below this.
    Below(f64),
}

/// One line: what was measured of Runway and of the bare client, in turns that were neighbours.
pub(super) struct Row {
    what: String,
    unit: &'static str,
    runway: f64,
    bare: f64,
    /// The quartiles of the ratio, the median in the middle.
    ratio: [f64; 3],
    targets: Vec<Target>,
}

impl Row {
    pub(super) fn new(what: String, unit: &'static str, pairs: impl Iterator<Item = (f64, f64)>) -> Self {
        let (mut runway, mut bare): (Vec<f64>, Vec<f64>) = pairs.unzip();
        let mut ratios: Vec<f64> = runway.iter().zip(&bare).map(|(runway, bare)| runway / bare).collect();
        ratios.sort_by(f64::total_cmp);
        let quarter = ratios.len() / 4;
        let ratio = [ratios[quarter], median(&mut ratios), ratios[ratios.len() - 1 - quarter]];
        Self { what, unit, runway: median(&mut runway), bare: median(&mut bare), ratio, targets: Vec::new() }
    }

    pub(super) fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    fn cells(&self) -> [String; 6] {
        let value = |value: f64| {
            let digits = if value < 10.0 {
                2
            } else if value < 100.0 {
                1
            } else {
                0
            };
            format!("{value:.digits$} {}", self.unit)
        };
        let [low, middle, high] = self.ratio;
        let met = |target: &Target| match *target {
            Target::AtLeast(least) => middle >= least,
            Target::AtMost(most) => middle <= most,
            Target::Below(bound) => self.runway < bound,
        };
        let words = |target: &Target| match *target {
            Target::AtLeast(least) => format!("ratio at least {least:.2}"),
            Target::AtMost(most) => format!("ratio at most {most:.2}"),
            Target::Below(bound) => format!("below {bound:.0} {}", self.unit),
        };
        let target =
            |target: &Target| format!("{}: {}", words(target), if met(target) { "met" } else { "missed" });
        [
            self.what.clone(),
            value(self.runway),
            value(self.bare),
            format!("{middle:.2}"),
            format!("{low:.2}-{high:.2}"),
            self.targets.iter().map(target).collect::<Vec<_>>().join("; "),
        ]
    }
}

pub(super) fn print(rows: &[Row]) {
    let header = ["what", "runway", "bare", "ratio", "quartiles", "target"].map(str::to_owned);
    for [what, runway, bare, ratio, quartiles, target] in
        std::iter::once(header).chain(rows.iter().map(Row::cells))
    {
        let line = format!("{what:<40} {runway:>10} {bare:>10} {ratio:>6} {quartiles:>10}  {target}");
        println!("{}", line.trim_end());
    }
}
