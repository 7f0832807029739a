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
