//! Decides whether text is coloured: by `--color`; with `auto`, by the terminal and the environment (NO_COLOR,
//! CLICOLOR, CLICOLOR_FORCE, TERM), as no-color.org and bixense.com/clicolors describe.

use std::ffi::OsString;

use anstream::AutoStream;
use anstream::stream::RawStream;
use clap::{Args, ColorChoice, ValueEnum};

/// The option of each command.
#[derive(Debug, Clone, Copy, Args)]
pub struct ColorArgs {
    /// Colour text: auto (on a terminal, unless NO_COLOR is set), always, or never
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    #[arg(hide_possible_values = true)]
    pub color: ColorChoice,
}

/// Sets the choice for both outputs of this process.
pub fn set(choice: ColorChoice) {
    match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Whether text on this output is coloured.
pub fn is_on(output: &impl RawStream) -> bool {
    AutoStream::choice(output) != anstream::ColorChoice::Never
}

/// The choice in arguments that could not be parsed.
pub fn among(arguments: impl Iterator<Item = OsString>) -> ColorChoice {
    let mut arguments = arguments.filter_map(|argument| argument.into_string().ok());
    let mut choice = ColorChoice::Auto;
    while let Some(argument) = arguments.next().filter(|argument| argument != "--") {
        let value = match argument.strip_prefix("--color") {
            Some("") => arguments.next().unwrap_or_default(),
            Some(rest) => rest.strip_prefix('=').unwrap_or_default().into(),
            None => continue,
        };
        choice = ColorChoice::from_str(&value, false).unwrap_or(choice);
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_choice_before_the_names_counts() {
        let among = |line: &str| super::among(line.split(' ').map(OsString::from));
        assert_eq!(among("list --json"), ColorChoice::Auto);
        assert_eq!(among("--color never list"), ColorChoice::Never);
        assert_eq!(among("list --color=always --color=purple"), ColorChoice::Always);
        assert_eq!(among("rm -- --color=always"), ColorChoice::Auto);
        assert_eq!(among("list --color"), ColorChoice::Auto);
    }
}
