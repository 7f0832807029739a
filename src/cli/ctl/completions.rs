//! `ringctl completions`: prints completion scripts.
use clap::ValueEnum;
use clap_complete::{Shell, generate};

use crate::cli::common::exit::Failure;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;

/// Print a shell's completion script for ringctl, producer and consumer
///
/// The scripts complete all verbs, options and values; they are made from the same definitions as --help.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Now, in the running shell:
  source <(ringctl completions bash)
  source <(ringctl completions zsh)          after compinit
  ringctl completions fish | source

For good:
  ringctl completions bash > ~/.local/share/bash-completion/completions/ringctl
  ringctl completions bash producer > ~/.local/share/bash-completion/completions/producer
  ringctl completions zsh consumer > ~/.zfunc/_consumer          ~/.zfunc is in $fpath
  ringctl completions fish > ~/.config/fish/conf.d/ringctl.fish

Exit codes: 0 printed; 1 the output could not be written; 2 usage.")]
pub struct Args {
    /// The shell: bash, zsh or fish
    #[arg(value_name = "SHELL", value_enum, hide_possible_values = true)]
    shell: ShellArg,
    /// Only the script of this program: ringctl, producer or consumer
    #[arg(value_name = "PROGRAM", value_enum, hide_possible_values = true)]
    program: Option<Program>,
}

/// Shells for which there are scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShellArg {
    Bash,
    Zsh,
    Fish,
}

/// The programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Program {
    Ringctl,
    Producer,
    Consumer,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Program::Ringctl => "ringctl",
            Program::Producer => "producer",
            Program::Consumer => "consumer",
        }
    }
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let shell = match args.shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    let all = super::programs();
    for mut program in all.into_iter().filter(|one| args.program.is_none_or(|p| p.name() == one.get_name())) {
        let name = program.get_name().to_string();
        generate(shell, &mut program, name, &mut script);
    }
    ui.emit(&script)?;
    Ok(End::Done)
}
