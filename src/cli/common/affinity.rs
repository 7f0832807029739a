//! Moves a command to one processor: `--cpu`.

use clap::Args;

use super::exit::{Failure, code};
use crate::sys::command::process;

/// Where to run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Speed")]
pub struct AffinityArgs {
    /// Run on processor N only, counted from 0; a busy producer and consumer are fastest on two that share a cache
    #[arg(long, value_name = "N")]
    cpu: Option<u32>,
}

impl AffinityArgs {
    /// Moves this process, before it has other threads.
    ///
    /// # Errors
    /// A usage error if the processor does not exist, or this process may not use it.
    pub fn apply(&self) -> Result<(), Failure> {
        let Some(cpu) = self.cpu else { return Ok(()) };
        process::run_on(cpu).map_err(|_| {
            let allowed = match process::allowed_processors() {
                numbers if numbers.is_empty() => "another one".into(),
                numbers => ranges(&numbers),
            };
            let line = format!("--cpu {cpu}: this process has no such processor; expected {allowed}");
            Failure::new(code::USAGE, line)
        })
    }
}

/// `0-3,6` for ascending numbers.
fn ranges(numbers: &[u32]) -> String {
    let runs = numbers.chunk_by(|before, after| before + 1 == *after);
    let texts = runs.map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn processors_are_listed_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 3, 6, 8, 9]), "0-3,6,8-9");
        assert_eq!(ranges(&[5]), "5");
    }
}
