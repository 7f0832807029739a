//! The times of the hot functions, call by call, in one thread.
//!
//! ```text
//! cargo bench --bench hot                     # about two minutes
//! cargo bench --bench hot -- many/Send        # some of them
//! cargo bench --bench hot -- --save-baseline before
//! cargo bench --bench hot -- --baseline before
//! ```

mod cases;

use std::time::{Duration, Instant};

use cases::{Case, Fixture, MOST_CALLS};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringpipe::Result;

/// The time of this number of calls, and of nothing else.
fn time(fixture: &mut Fixture, case: &Case, calls: u64) -> Result<Duration> {
    let (mut left, mut time) = (calls, Duration::ZERO);
    while left > 0 {
        let times = left.min(MOST_CALLS as u64) as usize;
        if case.receives() {
            fixture.fill(case, times)?;
        }
        let start = Instant::now();
        fixture.run(case.call, times)?;
        time += start.elapsed();
        if !case.receives() {
            fixture.drain(case, times)?;
        }
        left -= times as u64;
    }
    Ok(time)
}

fn hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hot");
    for case in Case::all() {
        let mut fixture = Fixture::new(&case).expect("a ring");
        group.throughput(Throughput::Elements(case.items() as u64));
        group.bench_function(case.name(), |bencher| {
            bencher.iter_custom(|calls| time(&mut fixture, &case, calls).expect("calls that succeed"));
        });
    }
}

fn config() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = config(); targets = hot }
criterion_main!(benches);
