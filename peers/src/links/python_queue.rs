//! Python's multiprocessing.Queue. Its ends are Python processes, so that it measures itself: see
//! python_queue.py. What it does less: it pickles each message, and a thread of the sender writes them into
//! a pipe that the receivers read under a lock.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::measure::Figures;
use crate::message::Faults;
use crate::peer::{About, Kind, Work};

pub const ABOUT: About = About {
    name: "Python multiprocessing.Queue",
    version: "as installed",
    kind: Kind::Kernel,
    waits: "sleeps",
    remark: "pickles; a process killed while it reads leaves the lock taken",
};

/// What the script measured.
struct Measured {
    /// Messages per second, from the first that arrived to the last.
    rate: f64,
    /// Messages that were not what was sent, in this order.
    wrong: u64,
}

/// Why it cannot do this work, if it cannot.
pub fn refuses(work: &Work) -> Option<&'static str> {
    match work {
        Work { in_place: true, .. } => Some("not in place"),
        Work { batch: 2.., .. } => Some("no batches"),
        Work { senders: 2.., .. } | Work { receivers: 2.., .. } => Some("one to one as driven here"),
        _ => None,
    }
}

/// Sends for about `seconds` from a process on the first processor to one on the second.
///
/// `None` when there is no python3, or when it does not come to an end.
fn measure(work: &Work, seconds: f64, processors: [usize; 2]) -> Option<Measured> {
    let mut python = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/links/python_queue.py"))
        .args([work.size.to_string(), work.depth.to_string(), seconds.to_string()])
        .args(processors.map(|processor| processor.to_string()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    if !ends_within(&mut python, Duration::from_secs_f64(seconds + 30.0)) {
        return None;
    }
    let mut answer = String::new();
    python.stdout.take()?.read_to_string(&mut answer).ok()?;
    let answer: serde_json::Value = serde_json::from_str(&answer).ok()?;
    Some(Measured {
        rate: answer["messages"].as_f64()? / answer["seconds"].as_f64()?,
        wrong: answer["wrong"].as_u64()?,
    })
}

/// What a run records of it.
pub fn figures(work: &Work, seconds: f64, processors: [usize; 2]) -> Result<Figures, String> {
    let measured = measure(work, seconds, processors).ok_or("no python3, or it did not come to an end")?;
    let faults = Faults { corrupted: measured.wrong, ..Faults::default() };
    Ok(Figures { rate: measured.rate, faults, ..Figures::default() })
}

/// Waits for a child that writes little; kills it when it takes too long.
fn ends_within(child: &mut Child, limit: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => sleep(Duration::from_millis(10)),
            Err(_) => break,
        }
    }
    // It is ours and has not been waited for: killing it can only fail because it has just ended.
    let _ = child.kill().and_then(|()| child.wait());
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_arrives_as_it_was_sent_where_python_is_installed() {
        let work = Work { size: 64, depth: 4096, batch: 1, in_place: false, senders: 1, receivers: 1 };
        if let Some(measured) = measure(&work, 0.2, [0, 0]) {
            assert!(measured.rate > 0.0);
            assert_eq!(measured.wrong, 0);
        }
    }
}
