//! The definition of the command line keeps its promises.

use clap::{Command, CommandFactory as _, Parser as _};

use super::arguments::Arguments;
use super::{ExitStatus, man};

fn every(command: Command) -> Vec<Command> {
    let inner: Vec<Command> =
        command.get_subcommands().filter(|inner| inner.get_name() != "help").cloned().flat_map(every).collect();
    std::iter::once(command).chain(inner).collect()
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn every_commands_help_has_an_example_that_parses() {
    let mut root = Arguments::command();
    root.build();
    for command in every(root) {
        let name = command.get_bin_name().unwrap_or_default().to_owned();
        let help = command.clone().render_long_help().to_string();
        let (_, examples) = help.split_once("Example:\n").unwrap_or_else(|| panic!("{name} has no example"));
        let lines: Vec<&str> = examples.lines().map(str::trim).take_while(|line| line.starts_with("postern")).collect();
        assert!(lines.iter().any(|line| line.starts_with(&name)), "{name}: {lines:?}");
        for line in lines {
            let words = line.split_whitespace().take_while(|word| !matches!(*word, ">" | "|" | "#"));
            if let Err(error) = Arguments::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }
}

/// Help is broken at 100 columns where nothing says how wide the terminal is: a line that is longer is torn twice.
#[test]
fn what_stands_below_the_help_is_broken_once() {
    let mut torn = Vec::new();
    for command in every(Arguments::command()) {
        let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        // A paragraph that is one line is broken where it should be.
        for paragraph in below.split("\n\n").filter(|paragraph| paragraph.contains('\n')) {
            let long = paragraph.lines().filter(|line| line.len() > 100);
            torn.extend(long.map(|line| format!("{}: {line}", command.get_name())));
        }
    }
    assert!(torn.is_empty(), "{torn:#?}");
}

#[test]
fn every_command_has_a_manual_page_with_the_exit_codes() {
    let mut root = Arguments::command();
    root.build();
    let pages = man::pages().unwrap();
    assert_eq!(pages.len(), every(root).len());
    for (name, text) in pages {
        let text = String::from_utf8(text).unwrap();
        assert!(name.starts_with("postern") && name.ends_with(".1"), "{name}");
        assert!(text.contains("EXIT STATUS") && text.contains("Example"), "{name}");
        assert!(text.contains(ExitStatus::NotNow.meaning()), "{name}");
    }
}

#[test]
fn help_lists_the_exit_codes() {
    assert!(Arguments::command().render_long_help().to_string().contains(&ExitStatus::table()));
}
