//! The segment's bytes: their places, their meaning, and the one view that turns them into atomics.

pub mod discipline;
pub mod fields;
pub mod geometry;
pub mod named;
pub mod view;
