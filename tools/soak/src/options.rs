//! The command line of `cargo xtask soak`.

use crate::runs::{RUNS, SoakRun};

/// The selected runs and their number of repetitions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) runs: Vec<&'static SoakRun>,
    /// The number of repetitions; `None` for the default of each run.
    pub(crate) times: Option<u32>,
}

impl Options {
    /// Parses the arguments after `soak`.
    ///
    /// # Errors
    /// A message if an argument is not an option, an option has no value, a run does not exist, or a number
    /// is not positive.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self { runs: Vec::new(), times: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("`{word}` needs a value"));
            match *word {
                "--only" => {
                    let name = value?;
                    let run = RUNS.iter().find(|run| run.name == *name);
                    options.runs.push(run.ok_or_else(|| format!("there is no run `{name}`"))?);
                }
                "--times" => {
                    let number = value?;
                    let times = number.parse().ok().filter(|times| *times > 0);
                    options.times =
                        Some(times.ok_or_else(|| format!("`{number}` is not a number of repetitions"))?);
                }
                _ => return Err(format!("`{word}` is not an option of `soak`")),
            }
        }
        if options.runs.is_empty() {
            options.runs = RUNS.iter().collect();
        }
        Ok(options)
    }
}

/// Returns the help text, with the options and all runs.
pub(crate) fn usage() -> String {
    let mut text =
        "usage: cargo xtask soak [--only NAME]... [--times N] [--kubernetes VERSION]\n\n".to_owned();
    text.push_str("Without `--only`, all of:\n\n");
    for SoakRun { name, description: what, times, .. } in RUNS {
        text.push_str(&format!("  {name:<16} {times:>3} times  {what}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Options, usage};
    use crate::runs::RUNS;

    fn names(words: &[&str]) -> Result<Vec<&'static str>, String> {
        Ok(Options::parse(words)?.runs.iter().map(|run| run.name).collect())
    }

    #[test]
    fn all_runs_are_run_unless_some_are_named() {
        assert_eq!(names(&[]).unwrap().len(), RUNS.len());
        assert_eq!(names(&["--only", "burst", "--only", "creation"]).unwrap(), ["burst", "creation"]);
        let options = Options::parse(&["--times", "3", "--only", "burst"]).unwrap();
        assert_eq!((options.times, options.runs.len()), (Some(3), 1));
        assert_eq!(Options::parse(&[]).unwrap().times, None);
    }

    #[test]
    fn wrong_options_are_refused_with_the_reason() {
        for (words, expected) in [
            (&["--only"][..], "`--only` needs a value"),
            (&["--only", "bursts"], "there is no run `bursts`"),
            (&["--times", "0"], "`0` is not a number of repetitions"),
            (&["--times", "x"], "`x` is not a number of repetitions"),
            (&["burst", "x"], "`burst` is not an option of `soak`"),
        ] {
            assert_eq!(names(words), Err(expected.to_owned()));
        }
    }

    #[test]
    fn usage_lists_each_run_once() {
        for run in RUNS {
            assert_eq!(usage().matches(&format!("\n  {:<16} ", run.name)).count(), 1, "{}", run.name);
        }
    }
}
