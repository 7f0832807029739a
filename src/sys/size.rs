//! Formats numbers of bytes for messages.
use std::fmt;

/// Smaller numbers of bytes are shown exactly.
const EXACT: u64 = 10 << 10;
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A number of bytes: `4096 bytes`, `64 KiB`, `1.50 GiB`. A number without a fraction is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        match bytes {
            1 => return f.write_str("1 byte"),
            0..EXACT => return write!(f, "{bytes} bytes"),
            _ => {}
        }
        let unit = (bytes.ilog2() / 10) as usize;
        let scale = 1_u64 << (10 * unit);
        let name = UNITS[unit - 1];
        if bytes.is_multiple_of(scale) {
            return write!(f, "{} {name}", bytes / scale);
        }
        // Rounds down, so that 1023.999 KiB is not shown as 1024.00.
        let hundredths = u128::from(bytes) * 100 / u128::from(scale);
        write!(f, "{}.{:02} {name}", hundredths / 100, hundredths % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn few_bytes_are_exact_and_many_have_a_unit() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (10_239, "10239 bytes"),
            (10_240, "10 KiB"),
            (65_537, "64.00 KiB"),
            (1_048_575, "1023.99 KiB"),
            (1 << 20, "1 MiB"),
            (3 << 29, "1.50 GiB"),
            (u64::MAX, "15.99 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
