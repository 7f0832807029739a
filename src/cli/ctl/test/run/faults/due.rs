//! Whether the moment of a fault has come.

use std::time::Instant;

use super::Faults;
use super::who::holders;
use crate::cli::common::exit::Failure;
use crate::cli::ctl::test::run::stage::Stage;
use crate::cli::ctl::test::scenario::When;

impl<'s> Faults<'s> {
    pub(super) fn is_due(
        &mut self,
        fault: usize,
        stage: &Stage<'s>,
        ready: Instant,
    ) -> Result<bool, Failure> {
        let spec = &self.scenario.faults[fault];
        let state = &mut self.states[fault];
        let counts = |ring: &String| stage.rings.get(ring).map_or(Ok(None), |seen| seen.counts(ring));
        Ok(match &spec.when {
            When::After(..) => ready.elapsed() >= state.moment,
            When::Line { of, pattern, nth } => {
                for instance in stage.instances_of(of) {
                    let process = &instance.process;
                    let outputs = || [process.stdout().follow(), process.stderr().follow()];
                    let followed = state.followed.entry(process.name().into()).or_insert_with(outputs);
                    for output in followed {
                        let lines =
                            output.next_lines().map_err(|error| Failure::io(process.name(), &error))?;
                        let lines = lines.unwrap_or_default();
                        state.lines += lines.iter().filter(|line| pattern.is_match(line)).count() as u64;
                    }
                }
                state.lines >= nth.saturating_mul(state.done + 1)
            }
            When::Acknowledged { ring, items } => {
                counts(ring)?.is_some_and(|ring| ring.acknowledged >= items.saturating_mul(state.done + 1))
            }
            When::Full(ring) => counts(ring)?.is_some_and(|ring| ring.used >= ring.capacity),
            // Empty again: at first it is.
            When::Empty(ring) => counts(ring)?.is_some_and(|ring| ring.sent > 0 && ring.used == 0),
            When::Held(ring) => !holders(stage, ring)?.is_empty(),
            When::Syscall { .. } | When::Instruction(_) | When::Every { .. } => false,
        })
    }
}
