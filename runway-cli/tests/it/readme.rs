//! The tour of the README shows what the program prints.

use crate::run::{root, runway};

/// Every fenced block of the README that begins with `$ runway …`: the command, and what it shows.
fn tour() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut shown = Vec::new();
    for block in readme.split("```").skip(1).step_by(2) {
        let Some((first, rest)) = block.trim_start_matches("console").trim_start().split_once('\n') else {
            continue;
        };
        if let Some(command) = first.strip_prefix("$ runway ") {
            shown.push((command.to_owned(), rest.to_owned()));
        }
    }
    shown
}

#[test]
fn the_tour_is_real() {
    let tour = tour();
    assert!(tour.len() >= 4, "the README shows {} commands", tour.len());
    for (command, shown) in tour {
        let arguments: Vec<_> = command.split(' ').collect();
        let ran = runway(&arguments);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        // An ellipsis on a line of its own stands for the rest.
        match shown.split_once("…\n") {
            Some((start, _)) => assert!(told.starts_with(start), "runway {command}\n{told}"),
            None => assert_eq!(told.trim_end(), shown.trim_end(), "runway {command}"),
        }
    }
}
