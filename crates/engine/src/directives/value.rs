//! What a directive's value can look like: how it is read from arguments, checked, and printed again.
//! Knows nothing of names, of files, or of where a value is kept.

use base::bytes::{eq_ignore_case, escape};
use base::num::{parse_f64, parse_i64};
use base::quoting::split_args;
use base::units::{BadAmount, PercentOrBytes, parse_memory, parse_percent_or_bytes};

use crate::config::{Amount, OutputLimit, SavePoint, ShutdownFlags};
use crate::notify::{parse_classes, print_classes};

/// A value of any directive.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Integer(i64),
    Bytes(u64),
    Amount(Amount),
    Text(Vec<u8>),
    /// The index into the names of `Shape::Choice`.
    Choice(usize),
    Words(Vec<Vec<u8>>),
    Shutdown(ShutdownFlags),
    Save(Vec<SavePoint>),
    Limits([OutputLimit; 3]),
    Percentiles(Vec<f64>),
}

/// Why a text is refused; the error text of CONFIG SET.
pub type TextCheck = fn(&[u8]) -> Result<(), &'static str>;

/// The form and the bounds of a value.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    Bool,
    /// Smallest and largest, both allowed.
    Integer(i64, i64),
    /// Bytes, written with or without a unit.
    Memory(u64, u64),
    /// Bytes, or a percentage of `maxmemory`.
    MemoryOrPercent,
    /// Bytes, or a percentage of what there is.
    MemoryOrShare,
    /// A file mode, up to this.
    Octal(i64),
    Text(TextCheck),
    /// A text that is not set at all when it is empty.
    Optional(TextCheck),
    Choice(&'static [&'static str]),
    Bind,
    ReplicaOf,
    /// Three adjustments of the kernel's out-of-memory score.
    Scores,
    Shutdown,
    Save,
    Limits,
    Percentiles,
    Events,
}

impl Shape {
    /// Several arguments on one line belong to one value.
    pub fn takes_many(self) -> bool {
        use Shape::*;
        matches!(self, Bind | ReplicaOf | Scores | Shutdown | Save | Limits | Percentiles)
    }

    /// Reads a value. `current` matters where a part of a value can be set alone.
    pub fn parse(self, args: &[Vec<u8>], current: &Value) -> Result<Value, String> {
        match self {
            Shape::Bind => parse_bind(args),
            Shape::ReplicaOf => parse_replica_of(args),
            Shape::Scores => parse_scores(args),
            Shape::Shutdown => parse_shutdown(args),
            Shape::Save => parse_save(args),
            Shape::Limits => parse_limits(args, current.limits()),
            Shape::Percentiles => parse_percentiles(args),
            _ => match args {
                [text] => self.parse_one(text),
                _ => Err("wrong number of arguments".to_string()),
            },
        }
    }

    fn parse_one(self, text: &[u8]) -> Result<Value, String> {
        match self {
            Shape::Bool => parse_bool(text),
            Shape::Integer(min, max) => parse_integer(text, min, max),
            Shape::Memory(min, max) => parse_bytes(text, min, max),
            Shape::MemoryOrPercent => parse_amount(text, "argument must be a memory or percent value"),
            Shape::MemoryOrShare => match parse_amount(text, "argument must be a memory value")? {
                // It reads as nothing at all, and would be no limit.
                Value::Amount(Amount::Percent(0)) => {
                    Err("percentage argument must be at least 1".to_string())
                }
                value => Ok(value),
            },
            Shape::Octal(max) => parse_octal(text, max),
            Shape::Text(check) | Shape::Optional(check) => {
                check(text)?;
                Ok(Value::Text(text.to_vec()))
            }
            Shape::Choice(names) => parse_choice(text, names),
            Shape::Events => parse_classes(text)
                .map(|classes| Value::Integer(classes.into()))
                .ok_or_else(|| BAD_EVENTS.to_string()),
            _ => unreachable!("shapes of many arguments are read by `parse`"),
        }
    }

    /// The value as CONFIG GET prints it.
    pub fn print(self, value: &Value) -> Vec<u8> {
        match value {
            Value::Bool(yes) => yes_no(*yes).into(),
            Value::Integer(number) => self.print_integer(*number).into(),
            Value::Bytes(bytes) | Value::Amount(Amount::Bytes(bytes)) => bytes.to_string().into(),
            Value::Amount(Amount::Percent(percent)) => format!("{percent}%").into(),
            Value::Text(text) => text.clone(),
            Value::Choice(index) => self.names()[*index].into(),
            Value::Words(words) => words.join(&b' '),
            Value::Shutdown(flags) => print_shutdown(*flags).into(),
            Value::Save(points) => print_save(points).join(" ").into(),
            Value::Limits(limits) => print_limits(limits).into(),
            Value::Percentiles(numbers) => print_percentiles(numbers).into(),
        }
    }

    fn print_integer(self, number: i64) -> String {
        match self {
            Shape::Octal(_) => format!("{number:o}"),
            Shape::Events => print_classes(number as u32),
            _ => number.to_string(),
        }
    }

    /// The arguments of each line that stands for the value in a file; quoted where needed.
    pub fn file_lines(self, value: &Value) -> Vec<String> {
        match value {
            Value::Bytes(bytes) | Value::Amount(Amount::Bytes(bytes)) => vec![memory(*bytes)],
            Value::Text(text) => vec![escape(text)],
            Value::Integer(number) if matches!(self, Shape::Events) => {
                vec![escape(print_classes(*number as u32).as_bytes())]
            }
            Value::Save(points) if !points.is_empty() => print_save(points),
            Value::Limits(limits) => (0..limits.len()).map(|class| file_limit(limits, class)).collect(),
            Value::Words(words) if words.is_empty() && matches!(self, Shape::ReplicaOf) => {
                vec!["no one".to_string()]
            }
            Value::Words(words) if !words.is_empty() => {
                vec![words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")]
            }
            Value::Bool(_) | Value::Integer(_) | Value::Choice(_) | Value::Amount(_) => {
                vec![self.shown(value)]
            }
            Value::Shutdown(_) | Value::Percentiles(_) | Value::Save(_) | Value::Words(_) => {
                vec![Some(self.shown(value)).filter(|text| !text.is_empty()).unwrap_or("\"\"".to_string())]
            }
        }
    }

    /// The value for people: as CONFIG GET prints it, with unprintable bytes replaced.
    pub fn shown(self, value: &Value) -> String {
        String::from_utf8_lossy(&self.print(value)).into_owned()
    }

    /// The names of a choice; empty for other shapes.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Shape::Choice(names) => names,
            _ => &[],
        }
    }

    /// What may stand after the directive, for the documentation.
    pub fn accepts(self) -> String {
        match self {
            Shape::Bool => "yes or no".to_string(),
            Shape::Integer(min, max) => format!("a number from {} to {}", limit(min), limit(max)),
            Shape::Memory(min, _) => format!("an amount of memory, at least {}", memory(min)),
            Shape::MemoryOrPercent => "an amount of memory, or a percentage of maxmemory".to_string(),
            Shape::MemoryOrShare => "an amount of memory, or a percentage of what there is".to_string(),
            Shape::Octal(max) => format!("an octal number up to {max:o}"),
            Shape::Text(_) | Shape::Optional(_) => "a text".to_string(),
            Shape::Choice(names) => format!("one of {}", names.join(", ")),
            Shape::Bind => format!("up to {BIND_ADDRESSES_MAX} addresses"),
            Shape::ReplicaOf => "a host and a port, or no one".to_string(),
            Shape::Scores => "three numbers from -2000 to 2000".to_string(),
            Shape::Shutdown => format!("default, or some of {}", SHUTDOWN_NAMES[1..].join(", ")),
            Shape::Save => "pairs of seconds and changes, or \"\"".to_string(),
            Shape::Limits => "class, hard limit, soft limit, soft seconds; several times".to_string(),
            Shape::Percentiles => "numbers from 0 to 100, or \"\"".to_string(),
            Shape::Events => "letters of the event classes, or \"\"".to_string(),
        }
    }
}

impl Value {
    pub fn bool(&self) -> bool {
        match self {
            Value::Bool(yes) => *yes,
            other => unreachable!("{other:?} is not of the row's shape"),
        }
    }

    pub fn integer(&self) -> i64 {
        match self {
            Value::Integer(number) => *number,
            other => unreachable!("{other:?} is not of the row's shape"),
        }
    }

    pub fn bytes(&self) -> u64 {
        match self {
            Value::Bytes(bytes) => *bytes,
            other => unreachable!("{other:?} is not of the row's shape"),
        }
    }

    /// The index of a choice.
    pub fn choice(&self) -> usize {
        match self {
            Value::Choice(index) => *index,
            other => unreachable!("{other:?} is not of the row's shape"),
        }
    }

    pub fn text(self) -> Vec<u8> {
        match self {
            Value::Text(text) => text,
            other => unreachable!("{other:?} is not of the row's shape"),
        }
    }

    pub fn words(self) -> Vec<Vec<u8>> {
        match self {
            Value::Words(words) => words,
            other => unreachable!("{other:?} is not of the row's shape"),
        }
    }

    pub fn amount(&self) -> Amount {
        match self {
            Value::Amount(amount) => *amount,
            other => unreachable!("{other:?} is not of the row's shape"),
        }
    }

    pub fn shutdown(&self) -> ShutdownFlags {
        match self {
            Value::Shutdown(flags) => *flags,
            other => unreachable!("{other:?} is not of the row's shape"),
        }
    }

    pub fn save(self) -> Vec<SavePoint> {
        match self {
            Value::Save(points) => points,
            other => unreachable!("{other:?} is not of the row's shape"),
        }
    }

    pub fn limits(&self) -> [OutputLimit; 3] {
        match self {
            Value::Limits(limits) => *limits,
            other => unreachable!("{other:?} is not of the row's shape"),
        }
    }

    pub fn percentiles(self) -> Vec<f64> {
        match self {
            Value::Percentiles(numbers) => numbers,
            other => unreachable!("{other:?} is not of the row's shape"),
        }
    }
}

/// The words of a value given as one text at run time: split at each space, without regard to quotes.
pub fn split_words(text: &[u8]) -> Vec<Vec<u8>> {
    match text {
        [] => Vec::new(),
        _ => text.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect(),
    }
}

/// The word as it must stand in a file to be read back.
pub fn quoted(word: &[u8]) -> String {
    let plain = !word.starts_with(b"#") && split_args(word).is_ok_and(|args| args == [word]);
    match std::str::from_utf8(word) {
        Ok(text) if plain && !text.is_empty() && text.is_ascii() => text.to_string(),
        _ => escape(word),
    }
}

/// Bytes with the largest unit that divides them.
pub fn memory(bytes: u64) -> String {
    let units = [(30, "gb"), (20, "mb"), (10, "kb")];
    match units.iter().find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

fn limit(number: i64) -> String {
    match number {
        i64::MAX => "2^63-1".to_string(),
        _ => number.to_string(),
    }
}

fn parse_bool(text: &[u8]) -> Result<Value, String> {
    if eq_ignore_case(text, b"yes") {
        Ok(Value::Bool(true))
    } else if eq_ignore_case(text, b"no") {
        Ok(Value::Bool(false))
    } else {
        Err("argument must be 'yes' or 'no'".to_string())
    }
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn parse_integer(text: &[u8], min: i64, max: i64) -> Result<Value, String> {
    let number = parse_i64(text).ok_or("argument couldn't be parsed into an integer")?;
    if number < min || number > max {
        return Err(format!("argument must be between {min} and {max} inclusive"));
    }
    Ok(Value::Integer(number))
}

fn parse_bytes(text: &[u8], min: u64, max: u64) -> Result<Value, String> {
    match parse_memory(text) {
        Ok(bytes) if (min..=max).contains(&bytes) => Ok(Value::Bytes(bytes)),
        Ok(_) | Err(BadAmount::TooLarge) => {
            Err(format!("argument must be between {min} and {max} inclusive"))
        }
        Err(BadAmount::Malformed) => Err("argument must be a memory value".to_string()),
    }
}

fn parse_amount(text: &[u8], refusal: &str) -> Result<Value, String> {
    let amount = parse_percent_or_bytes(text).map_err(|_| refusal)?;
    match amount {
        PercentOrBytes::Percent(percent) => match u8::try_from(percent) {
            Ok(percent @ ..=100) => Ok(Value::Amount(Amount::Percent(percent))),
            _ => Err("percentage argument must be less or equal to 100".to_string()),
        },
        PercentOrBytes::Bytes(bytes) => Ok(Value::Amount(Amount::Bytes(bytes))),
    }
}

fn parse_octal(text: &[u8], max: i64) -> Result<Value, String> {
    let digits = std::str::from_utf8(text).ok();
    let number = digits.and_then(|digits| i64::from_str_radix(digits, 8).ok());
    match number.ok_or("argument couldn't be parsed as an octal number")? {
        number if number < 0 || number > max => {
            Err(format!("argument must be between 0 and {max:o} inclusive"))
        }
        number => Ok(Value::Integer(number)),
    }
}

fn parse_choice(text: &[u8], names: &'static [&'static str]) -> Result<Value, String> {
    let index = names.iter().position(|name| eq_ignore_case(name.as_bytes(), text));
    index.map(Value::Choice).ok_or_else(|| one_of(names))
}

fn one_of(names: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", names.join(", "))
}

fn parse_bind(args: &[Vec<u8>]) -> Result<Value, String> {
    match args {
        [empty] if empty.is_empty() => Ok(Value::Words(Vec::new())),
        _ if args.len() > BIND_ADDRESSES_MAX => Err("Too many bind addresses specified.".to_string()),
        _ => Ok(Value::Words(args.to_vec())),
    }
}

fn parse_replica_of(args: &[Vec<u8>]) -> Result<Value, String> {
    match args {
        [] => Ok(Value::Words(Vec::new())),
        [no, one] if eq_ignore_case(no, b"no") && eq_ignore_case(one, b"one") => Ok(Value::Words(Vec::new())),
        [_, port] if parse_i64(port).is_some_and(|port| (0..=65535).contains(&port)) => {
            Ok(Value::Words(args.to_vec()))
        }
        [_, _] => Err("Invalid master port".to_string()),
        _ => Err("wrong number of arguments".to_string()),
    }
}

fn parse_scores(args: &[Vec<u8>]) -> Result<Value, String> {
    if args.len() != 3 {
        return Err("wrong number of arguments".to_string());
    }
    let valid = |score: &Vec<u8>| parse_i64(score).is_some_and(|score| (-2000..=2000).contains(&score));
    if !args.iter().all(valid) {
        return Err("Invalid oom-score-adj-values, elements must be between -2000 and 2000.".to_string());
    }
    Ok(Value::Words(args.to_vec()))
}

fn parse_shutdown(args: &[Vec<u8>]) -> Result<Value, String> {
    let mut flags = ShutdownFlags::default();
    for word in args {
        match SHUTDOWN_NAMES.iter().position(|name| eq_ignore_case(name.as_bytes(), word)) {
            Some(0) => {}
            Some(1) => flags.save = true,
            Some(2) => flags.nosave = true,
            Some(3) => flags.now = true,
            Some(4) => flags.force = true,
            _ => return Err(one_of(&SHUTDOWN_NAMES)),
        }
    }
    match (args.is_empty(), flags.save && flags.nosave) {
        (true, _) => Err(one_of(&SHUTDOWN_NAMES)),
        (_, true) => Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_string()),
        _ => Ok(Value::Shutdown(flags)),
    }
}

fn print_shutdown(flags: ShutdownFlags) -> String {
    let set = [flags.save, flags.nosave, flags.now, flags.force];
    let names = SHUTDOWN_NAMES[1..].iter().zip(set).filter(|(_, set)| *set);
    match names.map(|(name, _)| *name).collect::<Vec<_>>() {
        names if names.is_empty() => SHUTDOWN_NAMES[0].to_string(),
        names => names.join(" "),
    }
}

fn parse_save(args: &[Vec<u8>]) -> Result<Value, String> {
    let args = match args {
        [empty] if empty.is_empty() => &[],
        _ => args,
    };
    let point = |pair: &[Vec<u8>]| match pair {
        [seconds, changes] => {
            let seconds = parse_i64(seconds).filter(|seconds| *seconds >= 1)?;
            let changes = parse_i64(changes).filter(|changes| *changes >= 0)?;
            Some(SavePoint { seconds, changes })
        }
        _ => None,
    };
    let points: Option<Vec<_>> = args.chunks(2).map(point).collect();
    points.map(Value::Save).ok_or_else(|| "Invalid save parameters".to_string())
}

fn print_save(points: &[SavePoint]) -> Vec<String> {
    points.iter().map(|point| format!("{} {}", point.seconds, point.changes)).collect()
}

fn parse_limits(args: &[Vec<u8>], mut limits: [OutputLimit; 3]) -> Result<Value, String> {
    if !args.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_string());
    }
    for group in args.chunks(4) {
        let class = CLASSES.iter().find(|(name, _)| eq_ignore_case(name.as_bytes(), &group[0]));
        let (_, class) = class.ok_or("Invalid client class specified in buffer limit configuration.")?;
        limits[*class] = parse_limit(&group[1..])
            .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
    }
    Ok(Value::Limits(limits))
}

fn parse_limit(amounts: &[Vec<u8>]) -> Option<OutputLimit> {
    Some(OutputLimit {
        hard_bytes: parse_memory(&amounts[0]).ok()?,
        soft_bytes: parse_memory(&amounts[1]).ok()?,
        soft_seconds: parse_i64(&amounts[2]).filter(|seconds| (0..=i64::from(i32::MAX)).contains(seconds))?,
    })
}

fn print_limits(limits: &[OutputLimit; 3]) -> String {
    let print = |(limit, name): (&OutputLimit, &str)| {
        format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
    };
    let classes = limits.iter().zip(["normal", "slave", "pubsub"]);
    classes.map(print).collect::<Vec<_>>().join(" ")
}

fn file_limit(limits: &[OutputLimit; 3], class: usize) -> String {
    let OutputLimit { hard_bytes, soft_bytes, soft_seconds } = limits[class];
    format!("{} {} {} {soft_seconds}", CLASSES[class].0, memory(hard_bytes), memory(soft_bytes))
}

fn parse_percentiles(args: &[Vec<u8>]) -> Result<Value, String> {
    let args = match args {
        [empty] if empty.is_empty() => &[],
        _ => args,
    };
    let mut numbers = Vec::with_capacity(args.len());
    for arg in args {
        let number = parse_f64(arg).ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&number) {
            return Err(
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_string()
            );
        }
        numbers.push(number);
    }
    Ok(Value::Percentiles(numbers))
}

fn print_percentiles(numbers: &[f64]) -> String {
    let print = |number: &f64| {
        let digits = format!("{number:.6}");
        digits.trim_end_matches('0').trim_end_matches('.').to_string()
    };
    numbers.iter().map(print).collect::<Vec<_>>().join(" ")
}

/// Addresses one server may listen on.
const BIND_ADDRESSES_MAX: usize = 16;

/// Bound of `SHUTDOWN` flags; the first stands for none.
const SHUTDOWN_NAMES: [&str; 5] = ["default", "save", "nosave", "now", "force"];

/// Class names and their index; the first three are those written to files.
const CLASSES: [(&str, usize); 4] = [("normal", 0), ("replica", 1), ("pubsub", 2), ("slave", 1)];

const BAD_EVENTS: &str = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        split_words(line.as_bytes())
    }

    #[test]
    fn amounts_for_files() {
        let check = |bytes: u64, expected: &str| assert_eq!(memory(bytes), expected);
        check(0, "0");
        check(1023, "1023");
        check(1024, "1kb");
        check(1536 << 10, "1536kb");
        check(5 << 20, "5mb");
        check(3 << 40, "3072gb");
    }

    #[test]
    fn lines_of_files() {
        let check = |shape: Shape, text: &str, current: Value, expected: &[&str]| {
            let value = shape.parse(&words(text), &current).expect("a valid value");
            assert_eq!(shape.file_lines(&value), expected);
        };
        let limits = Value::Limits([OutputLimit::default(); 3]);
        check(Shape::Save, "900 1 60 0", Value::Bool(false), &["900 1", "60 0"]);
        check(Shape::Save, "", Value::Bool(false), &["\"\""]);
        check(Shape::Memory(0, u64::MAX), "100mb", Value::Bool(false), &["100mb"]);
        check(Shape::Bind, "127.0.0.1 -::1", Value::Bool(false), &["127.0.0.1 -::1"]);
        check(Shape::Bind, "", Value::Bool(false), &["\"\""]);
        check(Shape::Limits, "slave 1mb 5 3", limits, &["normal 0 0 0", "replica 1mb 5 3", "pubsub 0 0 0"]);
        check(Shape::Octal(0o777), "700", Value::Bool(false), &["700"]);
        check(Shape::MemoryOrPercent, "5%", Value::Bool(false), &["5%"]);
        check(Shape::MemoryOrPercent, "1gb", Value::Bool(false), &["1gb"]);
        check(Shape::Percentiles, "50 99.90 0.1234567", Value::Bool(false), &["50 99.9 0.123457"]);
        check(Shape::Events, "KEA", Value::Bool(false), &["\"AKE\""]);
        check(Shape::Shutdown, "force now", Value::Bool(false), &["now force"]);
    }

    proptest! {
        #[test]
        fn quoted_words_return(word: Vec<u8>) {
            prop_assert_eq!(split_args(quoted(&word).as_bytes()), Ok(vec![word]));
        }

        #[test]
        fn memory_returns(bytes: u64) {
            prop_assert_eq!(parse_memory(memory(bytes).as_bytes()), Ok(bytes));
        }
    }
}
