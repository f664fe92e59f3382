//! The table of results.

use crate::timing::median;

/// The target of a row.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// The median ratio must be at least this value.
    AtLeast(f64),
    /// The median ratio must be at most this value.
    AtMost(f64),
    /// The median of Runway's own values must be below this value.
    Below(f64),
}

/// One row: the values of Runway and of the plain client, from neighbouring runs.
pub(crate) struct Row {
    name: String,
    unit: &'static str,
    runway: f64,
    /// The plain client's value, and the three quartiles of the ratio. `None` if there is no comparison.
    bare: Option<(f64, [f64; 3])>,
    targets: Vec<Target>,
}

impl Row {
    pub(crate) fn new(what: String, unit: &'static str, pairs: impl Iterator<Item = (f64, f64)>) -> Self {
        let (mut runway, mut bare): (Vec<f64>, Vec<f64>) = pairs.unzip();
        let mut ratios: Vec<f64> = runway.iter().zip(&bare).map(|(runway, bare)| runway / bare).collect();
        ratios.sort_by(f64::total_cmp);
        let quarter = ratios.len() / 4;
        let ratio = [ratios[quarter], median(&mut ratios), ratios[ratios.len() - 1 - quarter]];
        let bare = Some((median(&mut bare), ratio));
        Self { name: what, unit, runway: median(&mut runway), bare, targets: Vec::new() }
    }

    /// Creates a row without a comparison. The value is the median of `values`.
    pub(crate) fn single(what: String, unit: &'static str, values: &mut [f64]) -> Self {
        Self { name: what, unit, runway: median(values), bare: None, targets: Vec::new() }
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
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
        let middle = self.bare.map_or(f64::NAN, |(_, [_, middle, _])| middle);
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
            self.name.clone(),
            value(self.runway),
            self.bare.map(|(bare, _)| value(bare)).unwrap_or_default(),
            self.bare.map(|(_, [_, middle, _])| format!("{middle:.2}")).unwrap_or_default(),
            self.bare.map(|(_, [low, _, high])| format!("{low:.2}-{high:.2}")).unwrap_or_default(),
            self.targets.iter().map(target).collect::<Vec<_>>().join("; "),
        ]
    }
}

pub(crate) fn print(rows: &[Row]) {
    let header = ["what", "runway", "bare", "ratio", "quartiles", "target"].map(str::to_owned);
    for [what, runway, bare, ratio, quartiles, target] in
        std::iter::once(header).chain(rows.iter().map(Row::cells))
    {
        let line = format!("{what:<40} {runway:>10} {bare:>10} {ratio:>6} {quartiles:>10}  {target}");
        println!("{}", line.trim_end());
    }
}
