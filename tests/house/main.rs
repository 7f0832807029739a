//! The house's own rules: which part of the source may use which, and the lists of mutants.

mod circles;
mod features;
mod floors;
mod mutants;
mod scripts;
mod skips;
