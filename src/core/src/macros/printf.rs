//! The formats of C's `printf`, with one value.
//!
//! Invariant: a format is read here and never handed to C; width and precision have two digits at most.

use std::fmt::Write as _;

/// `before%[flags][width][.precision]conversion behind`.
struct Format<'a> {
    before: &'a str,
    behind: &'a str,
    flags: &'a str,
    /// Such as `l`, for more than 32 bits.
    size: &'a str,
    width: usize,
    precision: Option<usize>,
    conversion: char,
}

/// Writes a whole number.
pub(super) fn integer(format: &str, value: i64) -> Result<String, String> {
    let read = Format::read(format, "diuxXo")?;
    let plain = read.conversion == 'd' || read.conversion == 'i';
    // As C does, a negative number is taken for the large one of the same bits: 32 of them, unless more are asked for.
    let bits = match i32::try_from(value) {
        Ok(short) if !read.size.contains(['l', 'q', 'j', 'z', 't']) => {
            u64::from(short.cast_unsigned())
        }
        _ => value.cast_unsigned(),
    };
    let (sign, mut digits) = match read.conversion {
        'x' => ("", format!("{bits:x}")),
        'X' => ("", format!("{bits:X}")),
        'o' => ("", format!("{bits:o}")),
        'u' => ("", bits.to_string()),
        _ => (read.sign(value < 0), value.unsigned_abs().to_string()),
    };
    if let Some(precision) = read.precision {
        digits = if precision == 0 && value == 0 {
            String::new()
        } else {
            format!("{digits:0>precision$}")
        };
    }
    let prefix = match read.conversion {
        'x' | 'X' if read.has('#') && value != 0 => {
            ["0x", "0X"][usize::from(read.conversion == 'X')]
        }
        'o' if read.has('#') && !digits.starts_with('0') => "0",
        _ => "",
    };
    let sign = if plain { sign } else { prefix };
    Ok(read.padded(sign, &digits, read.zeros() && read.precision.is_none()))
}

/// Writes a real number.
pub(super) fn real(format: &str, value: f64) -> Result<String, String> {
    let read = Format::read(format, "fFeEgG")?;
    let upper = read.conversion.is_ascii_uppercase();
    let precision = read.precision.unwrap_or(6);
    let size = value.abs();
    let digits = match read.conversion.to_ascii_lowercase() {
        _ if size.is_nan() => "nan".to_owned(),
        _ if size.is_infinite() => "inf".to_owned(),
        'f' => format!("{size:.precision$}"),
        'e' => scientific(size, precision),
        _ => general(size, precision.max(1), read.has('#')),
    };
    let digits = if upper { digits.to_ascii_uppercase() } else { digits };
    Ok(read.padded(read.sign(value.is_sign_negative()), &digits, read.zeros() && size.is_finite()))
}

/// Writes a text.
pub(super) fn text(format: &str, value: &str) -> Result<String, String> {
    let read = Format::read(format, "s")?;
    let cut = read.precision.unwrap_or(usize::MAX);
    let value: String = value.chars().take(cut).collect();
    Ok(read.padded("", &value, false))
}

/// `%e`: an exponent has two digits at least.
fn scientific(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// `%g`: so many digits, and no zeros at the end unless they are asked for.
fn general(value: f64, digits: usize, zeros: bool) -> String {
    let text = scientific(value, digits - 1);
    let exponent: i32 =
        text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let fits = exponent >= -4 && usize::try_from(exponent).is_ok_and(|exponent| exponent < digits);
    let trimmed = |text: &str| {
        if zeros || !text.contains('.') {
            return text.to_owned();
        }
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if fits || (-4..0).contains(&exponent) {
        let whole = i32::try_from(digits).unwrap_or(i32::MAX);
        let decimals = usize::try_from(whole - 1 - exponent).unwrap_or(0);
        return trimmed(&format!("{value:.decimals$}"));
    }
    match text.split_once('e') {
        Some((number, exponent)) => format!("{}e{exponent}", trimmed(number)),
        None => text,
    }
}

impl<'a> Format<'a> {
    fn read(format: &'a str, conversions: &str) -> Result<Self, String> {
        Self::parse(format).filter(|read| conversions.contains(read.conversion)).ok_or_else(|| {
            let example = match conversions.chars().next() {
                Some('d') => "%03d",
                Some('f') => "%.2f",
                _ => "%s",
            };
            format!("the format '{format}' must have one conversion, such as '{example}'")
        })
    }

    fn parse(format: &'a str) -> Option<Self> {
        let (before, rest) = format.split_once('%')?;
        let flags = rest.len() - rest.trim_start_matches(['-', '+', ' ', '0', '#']).len();
        let (flags, rest) = rest.split_at(flags);
        let (width, rest) = number(rest)?;
        let (precision, rest) = match rest.strip_prefix('.') {
            Some(rest) => {
                number(rest).map(|(precision, rest)| (Some(precision.unwrap_or(0)), rest))?
            }
            None => (None, rest),
        };
        let sizes = rest.len() - rest.trim_start_matches(['l', 'h', 'L', 'q', 'j', 'z', 't']).len();
        let (size, rest) = rest.split_at(sizes);
        let conversion = rest.chars().next()?;
        let behind = &rest[conversion.len_utf8()..];
        (!behind.contains('%')).then_some(Self {
            before,
            behind,
            flags,
            size,
            width: width.unwrap_or(0),
            precision,
            conversion,
        })
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    fn zeros(&self) -> bool {
        self.has('0') && !self.has('-')
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.has('+'), self.has(' ')) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    fn padded(&self, sign: &str, digits: &str, zeros: bool) -> String {
        let gap = self.width.saturating_sub(sign.chars().count() + digits.chars().count());
        let mut text = self.before.to_owned();
        // Writing to a string cannot fail.
        let _ = match (self.has('-'), zeros) {
            (true, _) => write!(text, "{sign}{digits}{:gap$}", ""),
            (false, true) => write!(text, "{sign}{:0>gap$}{digits}", ""),
            (false, false) => write!(text, "{:gap$}{sign}{digits}", ""),
        };
        text + self.behind
    }
}

/// Two digits at most, and what follows them.
fn number(text: &str) -> Option<(Option<usize>, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    match digits {
        "" => Some((None, rest)),
        digits if digits.len() <= 2 => Some((Some(digits.parse().ok()?), rest)),
        _ => None,
    }
}
