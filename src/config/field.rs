//! One definition of a setting serves everything: parsing, checking, the environment, the
//! documented file and the listing of `rigd check`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

/// A setting's value on its way from text into the program.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A string.
    Text(String),
    /// An array of strings.
    Texts(Vec<String>),
    /// An array of whole numbers.
    Ints(Vec<i64>),
    /// A table of names and numbers.
    Levels(Vec<(String, f64)>),
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number in a range, ends included.
    Int(i64, i64),
    /// A finite number in a range, ends included.
    Float(f64, f64),
    /// One of a few words; `""` leaves it unset where it is in the list.
    Choice(&'static [&'static str]),
    /// A string of at most so many characters; its type may ask for more.
    Text(usize),
    /// At most so many strings.
    Texts(usize),
    /// At most so many whole numbers in a range, ends included.
    Ints(usize, i64, i64),
    /// At most so many names, each with a number in a range, ends included.
    Levels(usize, f64, f64),
}

/// One setting of a `T`.
pub struct Field<T: 'static> {
    /// Its table in the file; `""` is the top of the file.
    pub section: &'static str,
    /// Its name.
    pub key: &'static str,
    /// Its unit, or `""`.
    pub unit: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it does and what it costs, line by line.
    pub doc: &'static [&'static str],
    /// Reads it.
    pub get: fn(&T) -> Value,
    /// Writes a value that `kind` has accepted; `Err` is what else is wrong with it.
    pub set: fn(&mut T, Value) -> Result<(), String>,
}

/// A setting whose name has one of these in it is nobody else's business.
const SECRET: [&str; 4] = ["secret", "password", "passphrase", "token"];

impl<T> Field<T> {
    /// Whether it is left out of what others get to read.
    pub fn is_secret(&self) -> bool {
        SECRET.iter().any(|word| self.key.contains(word))
    }

    /// The environment variable that overrides it.
    pub fn variable(&self) -> String {
        let name = if self.section.is_empty() {
            format!("RIGD_{}", self.key)
        } else {
            format!("RIGD_{}_{}", self.section, self.key)
        };
        name.to_ascii_uppercase()
    }

    /// Checks a value and stores it.
    pub fn apply(&self, target: &mut T, value: Value) -> Result<(), String> {
        let value = self.kind.check(value, self.unit)?;
        (self.set)(target, value)
    }
}

impl Value {
    /// What the file says. `Err` names the type that no setting has.
    pub fn from_toml(value: &DeValue<'_>) -> Result<Value, &'static str> {
        Ok(match value {
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Integer(value) => Value::Int(
                i64::from_str_radix(value.as_str(), value.radix())
                    .map_err(|_| "a whole number beyond all ranges")?,
            ),
            DeValue::Float(value) => {
                Value::Float(value.as_str().parse().map_err(|_| "an unreadable number")?)
            }
            DeValue::String(value) => Value::Text(value.to_string()),
            DeValue::Array(items) => {
                let items: Vec<Value> = items
                    .iter()
                    .map(|item| Value::from_toml(item.get_ref()))
                    .collect::<Result<_, _>>()?;
                if items.iter().all(|item| matches!(item, Value::Int(_))) && !items.is_empty() {
                    Value::Ints(items.into_iter().filter_map(Value::int).collect())
                } else if items.iter().all(|item| matches!(item, Value::Text(_))) {
                    Value::Texts(items.into_iter().filter_map(Value::text).collect())
                } else {
                    return Err("an array of mixed values");
                }
            }
            DeValue::Table(entries) => {
                let mut levels = Vec::new();
                for (name, value) in entries {
                    let level = match Value::from_toml(value.get_ref())? {
                        Value::Int(level) => level as f64,
                        Value::Float(level) => level,
                        _ => return Err("a table of other things than numbers"),
                    };
                    levels.push((name.get_ref().to_string(), level));
                }
                Value::Levels(levels)
            }
            DeValue::Datetime(_) => return Err("a date"),
        })
    }

    fn int(self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Value::Text(value) => Some(value),
            _ => None,
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Value::Bool(_) => "true or false",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Text(_) => "a string",
            Value::Texts(_) => "an array of strings",
            Value::Ints(_) => "an array of whole numbers",
            Value::Levels(_) => "a table",
        }
    }

    /// As TOML, in one line.
    pub fn to_toml(&self) -> String {
        let text = |text: &String| toml::Value::String(text.clone()).to_string();
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        match self {
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => toml::Value::Float(*value).to_string(),
            Value::Text(value) => text(value),
            Value::Texts(values) => list(values.iter().map(text).collect()),
            Value::Ints(values) => list(values.iter().map(i64::to_string).collect()),
            Value::Levels(levels) => {
                let entry = |(name, level): &(String, f64)| {
                    format!("{} = {}", text(name), toml::Value::Float(*level))
                };
                if levels.is_empty() {
                    return "{}".into();
                }
                let entries: Vec<String> = levels.iter().map(entry).collect();
                format!("{{ {} }}", entries.join(", "))
            }
        }
    }
}

impl Kind {
    /// Reads a value from an environment variable: as in the file, but strings without quotes
    /// and lists with commas.
    pub fn parse(self, text: &str, unit: &str) -> Result<Value, String> {
        let text = text.trim();
        let wrong = || self.wanted(unit);
        let list = || {
            text.trim_start_matches('[')
                .trim_end_matches(']')
                .split(',')
                .map(|item| item.trim().trim_matches('"'))
                .filter(|item| !item.is_empty())
        };
        Ok(match self {
            Kind::Bool => Value::Bool(parse_bool(text).ok_or_else(wrong)?),
            Kind::Int(..) => Value::Int(text.parse().map_err(|_| wrong())?),
            Kind::Float(..) => Value::Float(text.parse().map_err(|_| wrong())?),
            Kind::Choice(_) | Kind::Text(_) => Value::Text(text.into()),
            Kind::Texts(_) => Value::Texts(list().map(String::from).collect()),
            Kind::Ints(..) => Value::Ints(
                list()
                    .map(str::parse)
                    .collect::<Result<_, _>>()
                    .map_err(|_| wrong())?,
            ),
            Kind::Levels(..) => return Err("cannot come from the environment".into()),
        })
    }

    /// Accepts a value, as the type it shall have.
    fn check(self, value: Value, unit: &str) -> Result<Value, String> {
        let value = match (self, value) {
            (Kind::Float(..), Value::Int(whole)) => Value::Float(whole as f64),
            (Kind::Ints(..), Value::Texts(none)) if none.is_empty() => Value::Ints(Vec::new()),
            (_, value) => value,
        };
        let shown = match &value {
            Value::Int(_) | Value::Float(_) => value.to_toml(),
            Value::Text(text) if text.chars().count() <= 40 => value.to_toml(),
            other => other.what().into(),
        };
        let refuse = || Err(format!("must be {}, not {shown}", self.wanted(unit)));
        let fits = match (self, &value) {
            (Kind::Bool, Value::Bool(_)) => true,
            (Kind::Int(min, max), Value::Int(value)) => (min..=max).contains(value),
            (Kind::Float(min, max), Value::Float(value)) => (min..=max).contains(value),
            (Kind::Choice(words), Value::Text(word)) => words.contains(&word.as_str()),
            (Kind::Text(most), Value::Text(text)) => text.chars().count() <= most,
            (Kind::Texts(most), Value::Texts(texts)) => texts.len() <= most,
            (Kind::Ints(most, min, max), Value::Ints(values)) => {
                if let Some(bad) = values.iter().find(|value| !(min..=max).contains(*value)) {
                    return Err(format!("holds {bad}; it must be {}", self.wanted(unit)));
                }
                values.len() <= most
            }
            (Kind::Levels(most, min, max), Value::Levels(levels)) => {
                if let Some((name, bad)) = levels.iter().find(|(_, v)| !(min..=max).contains(v)) {
                    return Err(format!(
                        "sets {name} to {bad}; it must be {}",
                        self.wanted(unit)
                    ));
                }
                levels.len() <= most
            }
            _ => return refuse(),
        };
        if fits { Ok(value) } else { refuse() }
    }

    /// What it takes, in words.
    pub fn wanted(self, unit: &str) -> String {
        let of = |unit: &str| {
            if unit.is_empty() {
                String::new()
            } else {
                format!(" ({unit})")
            }
        };
        match self {
            Kind::Bool => "true or false".into(),
            Kind::Int(min, max) => format!("a whole number from {min} to {max}{}", of(unit)),
            Kind::Float(min, max) => format!("a number from {min} to {max}{}", of(unit)),
            Kind::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", words.join(", "))
            }
            Kind::Text(most) => format!("a string of at most {most} characters"),
            Kind::Texts(most) => format!("an array of at most {most} strings"),
            Kind::Ints(most, min, max) => {
                format!("an array of at most {most} whole numbers from {min} to {max}")
            }
            Kind::Levels(most, min, max) => {
                format!("a table of at most {most} names with numbers from {min} to {max}")
            }
        }
    }
}

/// The spellings of a switch in the environment.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A type that a setting can have.
pub trait Setting: Sized {
    /// For the listing.
    fn to_value(&self) -> Value;
    /// From a value that the field's [`Kind`] has accepted; `Err` is what else is wrong with it.
    fn from_value(value: Value) -> Result<Self, String>;
}

/// A definition whose [`Kind`] does not fit its type: a mistake in the table, not in the file.
fn misfit<T>(value: &Value) -> Result<T, String> {
    Err(format!("cannot be {}", value.what()))
}

impl Setting for bool {
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }

    fn from_value(value: Value) -> Result<bool, String> {
        match value {
            Value::Bool(value) => Ok(value),
            other => misfit(&other),
        }
    }
}

macro_rules! whole_number {
    ($($ty:ty)+) => {$(
        impl Setting for $ty {
            fn to_value(&self) -> Value {
                Value::Int(i64::try_from(*self).unwrap_or(i64::MAX))
            }

            fn from_value(value: Value) -> Result<$ty, String> {
                match value {
                    Value::Int(value) => {
                        <$ty>::try_from(value).map_err(|_| format!("cannot be {value}"))
                    }
                    other => misfit(&other),
                }
            }
        }
    )+};
}

whole_number!(u8 u32 usize);

impl Setting for f64 {
    fn to_value(&self) -> Value {
        Value::Float(*self)
    }

    fn from_value(value: Value) -> Result<f64, String> {
        match value {
            Value::Float(value) => Ok(value),
            other => misfit(&other),
        }
    }
}

impl Setting for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }

    fn from_value(value: Value) -> Result<String, String> {
        match value {
            Value::Text(value) => Ok(value),
            other => misfit(&other),
        }
    }
}

impl Setting for PathBuf {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string_lossy().into_owned())
    }

    fn from_value(value: Value) -> Result<PathBuf, String> {
        String::from_value(value).map(PathBuf::from)
    }
}

/// `""` is `None`.
impl Setting for Option<PathBuf> {
    fn to_value(&self) -> Value {
        self.as_ref()
            .map_or(Value::Text(String::new()), Setting::to_value)
    }

    fn from_value(value: Value) -> Result<Option<PathBuf>, String> {
        let text = String::from_value(value)?;
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    }
}

impl Setting for Vec<String> {
    fn to_value(&self) -> Value {
        Value::Texts(self.clone())
    }

    fn from_value(value: Value) -> Result<Vec<String>, String> {
        match value {
            Value::Texts(values) => Ok(values),
            other => misfit(&other),
        }
    }
}

impl Setting for Vec<usize> {
    fn to_value(&self) -> Value {
        Value::Ints(self.iter().map(|value| *value as i64).collect())
    }

    fn from_value(value: Value) -> Result<Vec<usize>, String> {
        match value {
            Value::Ints(values) => values
                .into_iter()
                .map(|value| usize::try_from(value).map_err(|_| format!("cannot hold {value}")))
                .collect(),
            other => misfit(&other),
        }
    }
}

impl Setting for Vec<(String, f64)> {
    fn to_value(&self) -> Value {
        Value::Levels(self.clone())
    }

    fn from_value(value: Value) -> Result<Vec<(String, f64)>, String> {
        match value {
            Value::Levels(levels) => Ok(levels),
            other => misfit(&other),
        }
    }
}

impl Setting for Vec<SocketAddr> {
    fn to_value(&self) -> Value {
        Value::Texts(self.iter().map(SocketAddr::to_string).collect())
    }

    fn from_value(value: Value) -> Result<Vec<SocketAddr>, String> {
        let texts = Vec::<String>::from_value(value)?;
        if texts.is_empty() {
            return Err("must name at least one address, such as \"127.0.0.1:8000\"".into());
        }
        texts.iter().map(|text| parse_address(text)).collect()
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.into(),
    };
    numeric.parse().map_err(|_| {
        format!(
            "holds \"{text}\", which is no ADDRESS:PORT; write one like \"127.0.0.1:8000\", \
             \"0.0.0.0:8000\" or \"[::1]:8000\""
        )
    })
}

/// Defines a struct of settings together with its table of [`Field`]s and its defaults.
///
/// `at |c| place` says where in the struct `of` the section lives.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident, section $section:literal of $target:ident at |$c:ident| $place:expr;
        $(
            $(#[doc = $doc:literal])+
            pub $key:ident: $ty:ty = $default:expr, $kind:expr, $unit:literal;
        )+
        $(and {
            $( $(#[$more_meta:meta])* pub $more:ident: $more_ty:ty = $more_default:expr; )+
        })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $key: $ty, )+
            $($( $(#[$more_meta])* pub $more: $more_ty, )+)?
        }

        impl Default for $name {
            fn default() -> $name {
                $name {
                    $( $key: $default, )+
                    $($( $more: $more_default, )+)?
                }
            }
        }

        impl $name {
            /// The settings of this section, in the order of the documented file.
            pub const FIELDS: &'static [$crate::config::field::Field<$target>] = &[
                $( $crate::config::field::Field {
                    section: $section,
                    key: stringify!($key),
                    unit: $unit,
                    kind: $kind,
                    doc: &[$($doc),+],
                    get: |$c: &$target| {
                        <$ty as $crate::config::field::Setting>::to_value(&$place.$key)
                    },
                    set: |$c: &mut $target, value| {
                        $place.$key =
                            <$ty as $crate::config::field::Setting>::from_value(value)?;
                        Ok(())
                    },
                }, )+
            ];
        }
    };
}

pub(crate) use settings;

/// Something wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line of the file, from 1; `None` when it comes from elsewhere, which the message names.
    pub line: Option<usize>,
    /// A sentence that says what to do.
    pub message: String,
}

/// Everything wrong with the settings, in the order of the file's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// At least one.
    pub list: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match (&self.file, fault.line) {
                (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display())?,
                (None, Some(line)) => write!(f, "line {line}: ")?,
                (_, None) => (),
            }
            write!(f, "{}", fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
