//! The table of results.

/// One row: the measured time, the time that it is divided by for the ratio, and the target of the ratio.
pub(crate) struct Row {
    name: &'static str,
    nanos: Option<f64>,
    baseline: Option<(&'static str, f64)>,
    target: Option<(&'static str, f64)>,
}

impl Row {
    pub(crate) const fn new(what: &'static str, nanos: f64) -> Self {
        Self::optional(what, Some(nanos))
    }

    /// Creates a row. `nanos` is `None` if the time was not measured, because no `runway` program was given.
    pub(crate) const fn optional(what: &'static str, nanos: Option<f64>) -> Self {
        Self { name: what, nanos, baseline: None, target: None }
    }

    /// Sets the baseline of the ratio.
    pub(crate) const fn compared_with(mut self, what: &'static str, nanos: f64) -> Self {
        self.baseline = Some((what, nanos));
        self
    }

    /// Sets the maximum of the ratio, as text and as a number.
    pub(crate) const fn at_most(mut self, target: &'static str, limit: f64) -> Self {
        self.target = Some((target, limit));
        self
    }

    fn cells(&self) -> [String; 6] {
        let Some(nanos) = self.nanos else {
            let mut cells = <[String; 6]>::default();
            cells[0] = self.name.to_owned();
            cells[1] = "not measured: pass --runway".to_owned();
            return cells;
        };
        let ratio = self.baseline.map(|(_, other)| nanos / other);
        let met = |most| if ratio.is_some_and(|ratio| ratio <= most) { "met" } else { "missed" };
        [
            self.name.to_owned(),
            duration(nanos),
            ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            self.baseline.map(|(what, _)| what.to_owned()).unwrap_or_default(),
            self.target.map(|(words, _)| words.to_owned()).unwrap_or_default(),
            self.target.map(|(_, most)| met(most).to_owned()).unwrap_or_default(),
        ]
    }
}

fn duration(nanos: f64) -> String {
    if nanos < 1e3 {
        format!("{nanos:.1} ns")
    } else if nanos < 1e6 {
        format!("{:.2} µs", nanos / 1e3)
    } else {
        format!("{:.2} ms", nanos / 1e6)
    }
}

pub(crate) fn print(rows: &[Row]) {
    for [what, median, ratio, against, target, met] in
        std::iter::once(["what", "median", "ratio", "to", "target", ""].map(str::to_owned))
            .chain(rows.iter().map(Row::cells))
    {
        let line = format!("{what:<32} {median:>10} {ratio:>7}  {against:<19} {target:<12} {met}");
        println!("{}", line.trim_end());
    }
}
