//! What has struck, and what has not and why.

use std::thread;
use std::time::{Duration, Instant};

use super::Faults;
use super::plan::is_traced;
use crate::cli::ctl::test::run::instance::{Instance, ended_text};
use crate::cli::ctl::test::run::outcome::{Point, Strike as Record};
use crate::cli::ctl::test::run::stage::Stage;
use crate::cli::ctl::test::scenario::{Action, FaultSpec, When};
use crate::testing::Ended;

/// How long a run that is over waits for its traces to say what they have counted.
const PATIENCE: Duration = Duration::from_secs(2);

impl<'s> Faults<'s> {
    pub(super) fn record(&mut self, fault: usize, instance: &Instance, at: Duration, place: Option<String>) {
        let (action, instance) = (word(&self.scenario.faults[fault].action), instance.process.name().into());
        self.records.push(Record { fault, action, instance, at, place });
    }

    /// Gives up what has not struck, once the run is over.
    pub fn finish(&mut self, stage: &mut Stage<'s>) {
        let start = Instant::now();
        while stage.instances.iter().any(|one| one.ended.is_some() && !one.traces.is_empty())
            && start.elapsed() < PATIENCE
            && !stage.is_flooded()
        {
            self.collect(stage);
            thread::sleep(Duration::from_millis(1));
        }
        self.collect(stage);
        for instance in &stage.instances {
            for (fault, trace) in &instance.traces {
                trace.release();
                let reason = format!("{} or a child of it still ran", instance.process.name());
                self.states[*fault].reason.get_or_insert(reason);
            }
        }
        // A process that had ended before it was killed was not struck. What a trace strikes may be a child of it.
        for instance in &mut stage.instances {
            let Some((ended @ Ended::Code(_), _)) = instance.ended else { continue };
            let name = instance.process.name();
            let missed = |record: &Record| {
                let kills = ["kill", "restart"].contains(&&*record.action);
                record.instance == name && record.place.is_none() && kills
            };
            let states = &mut self.states;
            self.records.retain(|record| {
                let is_missed = missed(record);
                if is_missed {
                    states[record.fault].reason = Some(format!("{name} {} meanwhile", ended_text(ended)));
                }
                !is_missed
            });
            instance.struck = self.records.iter().any(|other| other.instance == name);
        }
        self.records.sort_by_key(|record| record.at);
    }

    /// The strikes, and the faults that did not strike.
    pub fn into_records(self) -> (Vec<Record>, Vec<String>) {
        let counts = |spec: &FaultSpec| {
            matches!((&spec.when, self.plan.point), (When::Every { .. }, None | Some(Point::Count)))
        };
        let short = |(fault, spec): (usize, &FaultSpec)| {
            let state = &self.states[fault];
            let struck = self.records.iter().any(|record| record.fault == fault);
            if !struck || !spec.must_strike || counts(spec) {
                return None;
            }
            let some_left = state.targets.values().any(|left| *left == spec.repeat.0);
            let why = match &state.short {
                Some(short) => short.clone(),
                None if is_traced(&spec.when) && some_left => "did not strike all processes".into(),
                None => return None,
            };
            Some(format!("the fault in line {} {why} ({})", spec.line, spec.text))
        };
        let short: Vec<String> = self.scenario.faults.iter().enumerate().filter_map(short).collect();
        let missed = self.scenario.faults.iter().enumerate().filter(|(fault, spec)| {
            let struck = self.records.iter().any(|record| record.fault == *fault);
            !struck && !counts(spec) && spec.must_strike && !self.plan.omitted.contains(fault)
        });
        let text = |(fault, spec): (usize, &FaultSpec)| {
            let state = &self.states[fault];
            let moment = match spec.when {
                When::After(..) => {
                    format!("the run was over before its moment, {:?} after all were ready", state.moment)
                }
                _ => "its moment did not come".into(),
            };
            let reason = state.reason.as_ref().unwrap_or(&moment);
            format!("the fault in line {} did not strike ({}): {reason}", spec.line, spec.text)
        };
        let uncounted = self.scenario.faults.iter().enumerate().filter(|(_, spec)| {
            matches!(spec.when, When::Every { .. })
                && self.plan.point == Some(Point::Count)
                && self.points.is_none()
        });
        let uncounted = uncounted.filter_map(|(fault, _)| self.states[fault].reason.as_ref());
        let uncounted = uncounted.map(|reason| format!("the points could not be counted: {reason}"));
        let gaps = missed.map(text).chain(short).chain(uncounted).collect();
        (self.records, gaps)
    }
}

/// The word for an action in reports.
fn word(action: &Action) -> String {
    match action {
        Action::Kill => "kill".into(),
        Action::Stop(_) => "stop".into(),
        Action::Send(signal) => signal.name().to_lowercase(),
        Action::Restart(_) => "restart".into(),
        Action::Fail { errno, .. } => format!("{:?}", nix::errno::Errno::from_raw(*errno)),
        Action::Memory(_) => "memory".into(),
    }
}
