//! Amounts of memory as people write and read them: "64mb", "1.50M", "5%". It must never wrap: what does not
//! fit is refused.

use crate::bytes::eq_ignore_case;
use crate::num::parse_i64;

/// Why a text is no amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAmount {
    /// It is none.
    Malformed,
    /// It is one beyond 64 bits.
    TooLarge,
}

/// Bytes, or a share of the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PercentOrBytes {
    Percent(u64),
    Bytes(u64),
}

/// Bytes from digits and a unit: none or b, k m g (thousands), kb mb gb (1024s), in either case. No digits
/// are 0, as in Redis.
pub fn parse_memory(text: &[u8]) -> Result<u64, BadAmount> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = text.split_at(count);
    let (_, factor) =
        UNITS.iter().find(|(name, _)| eq_ignore_case(name, unit)).ok_or(BadAmount::Malformed)?;
    let amount = digits
        .iter()
        .try_fold(0u64, |amount, digit| amount.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    amount.and_then(|amount| amount.checked_mul(*factor)).ok_or(BadAmount::TooLarge)
}

/// "5%", or an amount as [`parse_memory`] takes it.
pub fn parse_percent_or_bytes(text: &[u8]) -> Result<PercentOrBytes, BadAmount> {
    if let Some(digits) = text.strip_suffix(b"%") {
        let percent = parse_i64(digits).and_then(|percent| u64::try_from(percent).ok());
        return percent.map(PercentOrBytes::Percent).ok_or(BadAmount::Malformed);
    }
    parse_memory(text).map(PercentOrBytes::Bytes)
}

/// Bytes as INFO's `_human` fields show them: whole below 1024, else two places and K, M, G, T or P.
pub fn human(bytes: u64) -> String {
    let exponent = bytes.checked_ilog2().unwrap_or(0) / 10;
    match b"KMGTP".get((exponent as usize).wrapping_sub(1)) {
        Some(unit) => format!("{:.2}{}", bytes as f64 / (1u64 << (10 * exponent)) as f64, char::from(*unit)),
        None => format!("{bytes}B"),
    }
}

const UNITS: &[(&[u8], u64)] = &[
    (b"", 1),
    (b"b", 1),
    (b"k", 1000),
    (b"kb", 1 << 10),
    (b"m", 1_000_000),
    (b"mb", 1 << 20),
    (b"g", 1_000_000_000),
    (b"gb", 1 << 30),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let check = |text: &str, expected| assert_eq!(parse_memory(text.as_bytes()), expected, "{text:?}");
        for (text, bytes) in [
            ("0", 0),
            ("", 0),
            ("kb", 0),
            ("007", 7),
            ("1k", 1000),
            ("1Kb", 1024),
            ("5b", 5),
            ("2M", 2_000_000),
        ] {
            check(text, Ok(bytes));
        }
        check("3mB", Ok(3 << 20));
        check("1g", Ok(1_000_000_000));
        check("100GB", Ok(100 << 30));
        check("18446744073709551615", Ok(u64::MAX));
        for text in ["18446744073709551616", "18446744073709551615k", "17179869184gb"] {
            check(text, Err(BadAmount::TooLarge));
        }
        for text in ["-1", "+1", " 1", "1 kb", "1t", "1.5gb", "x", "1%", "99999999999999999999x"] {
            check(text, Err(BadAmount::Malformed));
        }
    }

    #[test]
    fn percents() {
        let check =
            |text: &str, expected| assert_eq!(parse_percent_or_bytes(text.as_bytes()), expected, "{text:?}");
        check("5%", Ok(PercentOrBytes::Percent(5)));
        check("0%", Ok(PercentOrBytes::Percent(0)));
        check("1mb", Ok(PercentOrBytes::Bytes(1 << 20)));
        for text in ["%", "-5%", "05%", "5.5%", "5%%"] {
            check(text, Err(BadAmount::Malformed));
        }
    }

    #[test]
    fn for_people() {
        let check = |bytes: u64, expected: &str| assert_eq!(human(bytes), expected);
        check(0, "0B");
        check(1023, "1023B");
        check(1024, "1.00K");
        check(1536 * 1024, "1.50M");
        check((1 << 20) - 1, "1024.00K");
        check(3 << 30, "3.00G");
        check(7 << 40, "7.00T");
        check(1 << 50, "1.00P");
        check(1 << 60, "1152921504606846976B");
    }
}
