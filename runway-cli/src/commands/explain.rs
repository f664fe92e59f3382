//! `runway explain`: explains error codes.

use crate::arguments::TextOrJson;
use crate::error::CliError;
use crate::{Exit, output};
use runway_core::Code;
use serde_json::json;

/// Maximum width of a line of text.
const WIDTH: usize = 80;

pub(super) fn run(code: Option<Code>, format: TextOrJson) -> Result<Exit, CliError> {
    let codes = code.as_ref().map_or(Code::ALL, std::slice::from_ref);
    match format {
        TextOrJson::Json => {
            let record = |code: &Code| json!({"code": code, "summary": code.summary(), "explanation": code.explanation()});
            output::print_json(&codes.iter().map(record).collect::<Vec<_>>())?;
        }
        TextOrJson::Text if code.is_some() => {
            for code in codes {
                output::print(&format!("{code}\n\n{}\n", wrap(code.explanation())))?;
            }
        }
        TextOrJson::Text => {
            let line = |code: &Code| format!("{code:<28}{}\n", code.summary());
            output::print(&codes.iter().map(line).collect::<String>())?;
        }
    }
    Ok(Exit::Success)
}

fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            wrapped.push('\n');
            width = 0;
        } else if width > 0 {
            wrapped.push(' ');
            width += 1;
        }
        wrapped.push_str(word);
        width += length;
    }
    wrapped
}
