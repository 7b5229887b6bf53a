//! The known fields of a JSON object. Found in one pass that copies nothing; each is read only when
//! asked for, with an error that names it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::rig::Reject;

/// An envelope and what is in it have no more known fields than this, as a rule.
const FIELDS_USUAL: usize = 16;
/// The longest value that an error repeats, in bytes.
const ECHO_MAX: usize = 128;

/// The name under which a field is known here; `None` for fields that this page does not know.
/// Several spellings (camelCase, aliases) are one field.
fn canonical(name: &str) -> Option<&'static str> {
    Some(match name {
        "type" => "type",
        "id" => "id",
        "data" => "data",
        "timestamp" => "timestamp",
        "user_id" | "userId" => "user_id",
        "session_id" | "sessionId" => "session_id",
        "t0_timestamp" | "t0Timestamp" => "t0_timestamp",
        "requires_ack" | "requiresAck" => "requires_ack",
        "idempotency_key" | "idempotencyKey" => "idempotency_key",
        "token" => "token",
        "track_id" | "trackId" => "track_id",
        "plugin_id" | "pluginId" => "plugin_id",
        "parameter_id" | "parameterId" => "parameter_id",
        "parameter_value" | "parameterValue" | "value" => "parameter_value",
        "name" | "plugin_name" | "pluginName" => "name",
        "plugin_path" | "pluginPath" | "path" => "plugin_path",
        "plugin_format" | "pluginFormat" => "plugin_format",
        "position" => "position",
        "changes" => "changes",
        "parameters" => "parameters",
        "debounce_ms" | "debounceMs" => "debounce_ms",
        "apply_immediately" | "applyImmediately" => "apply_immediately",
        "bypass" | "bypassed" => "bypass",
        "preset_name" | "presetName" => "preset_name",
        "preset_data" | "presetData" => "preset_data",
        "kind" => "kind",
        "input" => "input",
        "input_gain_db" | "inputGainDb" => "input_gain_db",
        "volume" => "volume",
        "pan" => "pan",
        "mute" => "mute",
        "solo" => "solo",
        "sends" => "sends",
        "mode" => "mode",
        "freq_hz" | "freqHz" => "freq_hz",
        "level_db" | "levelDb" => "level_db",
        "seconds" => "seconds",
        "batch" => "batch",
        "dialect" => "dialect",
        "rate_hz" | "rateHz" => "rate_hz",
        "format" => "format",
        "base_seq" | "baseSeq" => "base_seq",
        "since_seq" | "sinceSeq" => "since_seq",
        "epoch" => "epoch",
        "track_ids" | "trackIds" => "track_ids",
        "plugin_ids" | "pluginIds" => "plugin_ids",
        "types" => "types",
        "entity_type" | "entityType" => "entity_type",
        "entity_id" | "entityId" => "entity_id",
        "operation" => "operation",
        "since" => "since",
        "until" => "until",
        "limit" => "limit",
        "cursor" => "cursor",
        "daid" => "daid",
        "role" => "role",
        "tracks" => "tracks",
        "ttl_s" | "ttlS" => "ttl_s",
        "factory" => "factory",
        "connection_id" | "connectionId" => "connection_id",
        "code" => "code",
        "direction" => "direction",
        _ => return None,
    })
}

/// Known fields of one object, in the order they came; of a name given twice the last counts.
#[derive(Default)]
pub struct Fields<'a>(Vec<(&'static str, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Reads an object; `Err` with serde's words when it is not one.
    pub fn parse(text: &'a str) -> Result<Fields<'a>, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let fields = reader.deserialize_map(FieldsVisitor)?;
        reader.end()?;
        Ok(fields)
    }

    /// Adds fields that are not there yet.
    pub fn or(mut self, others: Fields<'a>) -> Fields<'a> {
        for (name, value) in others.0 {
            if self.raw(name).is_none() {
                self.0.push((name, value));
            }
        }
        self
    }

    /// Takes fields out.
    pub fn without(mut self, names: &[&str]) -> Fields<'a> {
        self.0.retain(|(name, _)| !names.contains(name));
        self
    }

    /// A field as it came.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        debug_assert_eq!(canonical(name), Some(name));
        self.0
            .iter()
            .rev()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    /// A field that counts as absent when it is null.
    fn present(&self, name: &str) -> Option<&'a RawValue> {
        self.raw(name).filter(|value| value.get() != "null")
    }

    /// An optional string of at most `max` characters.
    pub fn string(&self, name: &str, max: usize) -> Result<Option<String>, Reject> {
        Ok(self.text(name, max)?.map(Cow::into_owned))
    }

    /// The same, not copied unless something in it is escaped.
    pub fn text(&self, name: &str, max: usize) -> Result<Option<Cow<'a, str>>, Reject> {
        let Some(value) = self.present(name) else {
            return Ok(None);
        };
        let Some(text) = text(value) else {
            return Err(Reject::field(name, "must be a string"));
        };
        if text.len() > max && text.chars().count() > max {
            let reason = format!("must not be longer than {max} characters");
            return Err(Reject::over(Some(name), reason, max as u64));
        }
        Ok(Some(text))
    }

    /// A string that must be there and must not be empty.
    pub fn required(&self, name: &str, max: usize) -> Result<String, Reject> {
        match self.string(name, max)? {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(Reject::field(name, "must not be empty")),
            None => Err(missing(name)),
        }
    }

    /// An optional `true` or `false`.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Reject> {
        match self.present(name).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Reject::field(name, "must be true or false")),
        }
    }

    /// An optional number; `Err` when it is anything else.
    pub fn number(&self, name: &str) -> Result<Option<f64>, Reject> {
        let Some(value) = self.present(name) else {
            return Ok(None);
        };
        match number(value) {
            Some(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(Reject::field(name, "must be a finite number")),
        }
    }

    /// An optional whole number, 0 or more.
    pub fn count(&self, name: &str) -> Result<Option<u64>, Reject> {
        let Some(value) = self.present(name) else {
            return Ok(None);
        };
        let count = serde_json::from_str::<u64>(value.get());
        count
            .map(Some)
            .map_err(|_| Reject::field(name, "must be a whole number, 0 or more"))
    }

    /// An optional list of at most `max` strings of at most `chars` characters each.
    pub fn strings(
        &self,
        name: &str,
        max: usize,
        chars: usize,
    ) -> Result<Option<Vec<String>>, Reject> {
        let Some(list) = self.present(name) else {
            return Ok(None);
        };
        let Ok(list) = serde_json::from_str::<Vec<String>>(list.get()) else {
            return Err(Reject::field(name, "must be a list of strings"));
        };
        if list.len() > max || list.iter().any(|text| text.chars().count() > chars) {
            let reason = format!(
                "must not have more than {max} entries, or entries of more than {chars} characters"
            );
            return Err(Reject::over(Some(name), reason, max as u64));
        }
        Ok(Some(list))
    }

    /// An optional value, whatever it is: judged later, by what knows its range.
    pub fn value(&self, name: &str) -> Option<Value> {
        self.raw(name).map(value)
    }

    /// A list of objects with known fields, one result each; `None` when the field is not there.
    pub fn list(
        &self,
        name: &str,
        max: usize,
    ) -> Result<Option<Vec<Result<Fields<'a>, Reject>>>, Reject> {
        let Some(list) = self.present(name) else {
            return Ok(None);
        };
        if !list.get().starts_with('[') {
            return Err(Reject::field(name, "must be a list"));
        }
        let mut reader = serde_json::Deserializer::from_str(list.get());
        let items = reader
            .deserialize_seq(Items(max))
            .map_err(|error| Reject::field(name, error.to_string()))?;
        let Some(items) = items else {
            let reason = format!("must not have more than {max} entries");
            return Err(Reject::over(Some(name), reason, max as u64));
        };
        let read = |item: &'a RawValue| {
            Fields::parse(item.get())
                .map_err(|_| Reject::field(name, "must have objects as its entries"))
        };
        Ok(Some(items.into_iter().map(read).collect()))
    }

    /// An object of values by free names (at most `max` of them, each name at most 64 characters).
    pub fn values(&self, name: &str, max: usize) -> Result<Option<Vec<(String, Value)>>, Reject> {
        let Some(object) = self.present(name) else {
            return Ok(None);
        };
        let Ok(map) = serde_json::from_str::<BTreeMap<String, &RawValue>>(object.get()) else {
            return Err(Reject::field(name, "must be an object"));
        };
        if map.len() > max || map.keys().any(|key| key.chars().count() > 64) {
            let reason = format!(
                "must not have more than {max} entries, or names of more than 64 characters"
            );
            return Err(Reject::over(Some(name), reason, max as u64));
        }
        Ok(Some(
            map.into_iter()
                .map(|(key, raw)| (key, value(raw)))
                .collect(),
        ))
    }
}

/// A field that must be there.
pub fn missing(name: &str) -> Reject {
    Reject::field(name, "is missing")
}

/// A JSON string.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if quoted.contains('\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(quoted))
}

/// A JSON number as f64; one beyond f64's range is infinite.
fn number(raw: &RawValue) -> Option<f64> {
    let text = raw.get();
    let starts_a_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    starts_a_number.then(|| text.parse().ok()).flatten()
}

/// Any JSON value, shortened where it is long: it only ever comes back in an error.
fn value(raw: &RawValue) -> Value {
    if let Some(number) = number(raw) {
        return serde_json::Number::from_f64(number)
            .map_or_else(|| Value::from(raw.get()), Value::Number);
    }
    if raw.get().len() > ECHO_MAX {
        let short: String = raw.get().chars().take(ECHO_MAX).collect();
        return Value::from(format!("{short}…"));
    }
    serde_json::from_str(raw.get()).unwrap_or(Value::Null)
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::with_capacity(FIELDS_USUAL);
        while let Some(name) = map.next_key_seed(Name)? {
            match name {
                Some(name) => fields.push((name, map.next_value()?)),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Fields(fields))
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(canonical(name))
    }
}

/// The entries of a list, or `None` when there are more than the bound.
struct Items(usize);

impl<'de> Visitor<'de> for Items {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == self.0 {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            items.push(item);
        }
        Ok(Some(items))
    }
}
