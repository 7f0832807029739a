//! How much the long tests try.

/// Whether the tests run at the scale of the gate: `RINGPIPE_SCALE=ci`, which `.ci/run` sets. Otherwise the longest of them try
/// a share of that, so that `cargo test` takes minutes.
pub fn is_ci() -> bool {
    match std::env::var("RINGPIPE_SCALE").as_deref() {
        Err(_) | Ok("") => false,
        Ok("ci") => true,
        Ok(other) => panic!("RINGPIPE_SCALE={other}: expected ci"),
    }
}

/// Chooses every `of`th of what it is asked about; at the scale of the gate, everything. Of a list that is asked
/// about again and again each entry has its turn if `of` and the list's length have no common divisor.
pub struct Share {
    of: usize,
    asked: usize,
}

impl Share {
    pub fn new(of: usize) -> Self {
        Share { of: if is_ci() { 1 } else { of }, asked: 0 }
    }

    pub fn takes(&mut self) -> bool {
        self.asked += 1;
        self.asked.is_multiple_of(self.of)
    }
}
