//! Doubles with so many significant digits, as C's `%.14g` writes them.

use base::num::write_i64;

/// Appends a finite number with at most `precision` digits.
pub(super) fn write(out: &mut Vec<u8>, value: f64, precision: usize) {
    let integer = value as i64;
    if integer as f64 == value && (integer != 0 || value.is_sign_positive()) {
        let bound = 10_u64.checked_pow(precision as u32).unwrap_or(u64::MAX);
        if integer.unsigned_abs() < bound {
            return write_i64(out, integer);
        }
    }
    let text = format!("{:.*e}", precision - 1, value);
    let (mantissa, exponent) = text.split_once('e').expect("a scientific form has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is an integer");
    if exponent < -4 || exponent >= precision as i32 {
        out.extend_from_slice(without_zeros(mantissa).as_bytes());
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
    } else {
        let decimals = (precision as i32 - 1 - exponent) as usize;
        out.extend_from_slice(without_zeros(&format!("{value:.decimals$}")).as_bytes());
    }
}

fn without_zeros(digits: &str) -> &str {
    if !digits.contains('.') {
        return digits;
    }
    digits.trim_end_matches('0').trim_end_matches('.')
}

/// Reads the longest beginning that C's `strtod` takes; the number and its bytes.
pub(super) fn read(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let unsigned = &text[sign..];
    let (value, len) = if unsigned.len() > 2 && unsigned[0] == b'0' && unsigned[1] | 32 == b'x' {
        read_hexadecimal(unsigned)
    } else {
        read_word(unsigned).or_else(|| read_decimal(unsigned))?
    };
    Some((if text.first() == Some(&b'-') { -value } else { value }, sign + len))
}

fn read_word(text: &[u8]) -> Option<(f64, usize)> {
    let words: [(&[u8], f64); 3] =
        [(b"infinity", f64::INFINITY), (b"inf", f64::INFINITY), (b"nan", f64::NAN)];
    let starts = |word: &[u8]| text.len() >= word.len() && text[..word.len()].eq_ignore_ascii_case(word);
    words.iter().find(|(word, _)| starts(word)).map(|(word, value)| (*value, word.len()))
}

/// Digits, perhaps some after a point, and perhaps a power of two.
fn read_hexadecimal(text: &[u8]) -> (f64, usize) {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let value = |number: f64, byte: &u8| number * 16.0 + f64::from((*byte as char).to_digit(16).unwrap_or(0));
    let whole = digits(2);
    let mut end = 2 + whole;
    let mut number = text[2..end].iter().fold(0.0, value);
    let mut fraction = 0;
    if text.get(end) == Some(&b'.') {
        fraction = digits(end + 1);
        number = text[end + 1..end + 1 + fraction].iter().fold(number, value);
        end += 1 + fraction;
    }
    if whole + fraction == 0 {
        return (0.0, 1);
    }
    let mut power = -4 * i32::try_from(fraction).unwrap_or(i32::MAX / 4);
    if matches!(text.get(end), Some(b'p' | b'P')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
        let rest = text.get(end + 1 + sign..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        let exponent = digits.clone().fold(0_i32, |number, byte| {
            number.saturating_mul(10).saturating_add(i32::from(byte - b'0')).min(POWER_MAX)
        });
        let count = digits.count();
        if count > 0 {
            power = power.saturating_add(if text[end + 1] == b'-' { -exponent } else { exponent });
            end += 1 + sign + count;
        }
    }
    (number * 2.0_f64.powi(power), end)
}

/// Beyond this a power of two makes everything infinite or nothing.
const POWER_MAX: i32 = 100_000;

fn read_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut end = whole;
    let mut fraction = 0;
    if text.get(end) == Some(&b'.') {
        fraction = digits(end + 1);
        end += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
        let exponent = if end + 1 + sign <= text.len() { digits(end + 1 + sign) } else { 0 };
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number = std::str::from_utf8(&text[..end]).expect("digits are text").parse();
    Some((number.expect("digits are a number"), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_c_does() {
        let check = |value: f64, expected: &str| {
            let mut out = Vec::new();
            write(&mut out, value, 14);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        };
        check(0.0, "0");
        check(-0.0, "-0");
        check(3.0, "3");
        check(3.25, "3.25");
        check(0.1, "0.1");
        check(1e100, "1e+100");
        check(1e14, "1e+14");
        check(99_999_999_999_999.0, "99999999999999");
        check(1.0 / 3.0, "0.33333333333333");
        check(1e-5, "1e-05");
        check(123_456_789.123_456_7, "123456789.12346");
    }

    #[test]
    fn reads_what_c_reads() {
        let check = |text: &str, expected: f64, len: usize| {
            assert_eq!(read(text.as_bytes()), Some((expected, len)), "{text}");
        };
        check("12,", 12.0, 2);
        check("-1.5e3]", -1500.0, 6);
        check("1e", 1.0, 1);
        check("0x1F ", 31.0, 4);
        check("0x1p3,", 8.0, 5);
        check("0x1.8", 1.5, 5);
        check("0x.8p+1", 1.0, 7);
        check("-0x2P-1", -1.0, 7);
        check("0x1p", 1.0, 3);
        check("0xp", 0.0, 1);
        check("-Infinity", f64::NEG_INFINITY, 9);
        assert_eq!(read(b"-"), None);
    }
}
