//! Bytes ↔ messages: every spelling of a request is the same request, faults name their field, and
//! nothing that comes in can do harm.

use proptest::prelude::*;
use rigd::protocol::decode::pairing;
use rigd::protocol::{Body, Dialect, Incoming, Limits, decode};
use rigd::rig::{ParameterChange, PluginRef, Reject, Request};
use serde_json::{Value, json};

fn read(message: &Value) -> Incoming {
    decode(&message.to_string(), Limits { batch_changes: 256 })
}

fn request(message: &Value) -> Request {
    match read(message).body {
        Ok(Body::Change(request)) => request,
        other => panic!("{message} became {other:?}"),
    }
}

fn fault(text: &str) -> (Incoming, Reject) {
    let incoming = decode(text, Limits { batch_changes: 256 });
    let reject = incoming.body.as_ref().expect_err("must be refused").clone();
    (incoming, reject)
}

fn field_of(text: &str) -> String {
    match fault(text).1 {
        Reject::InvalidMessage { field, .. } => field.unwrap_or_default(),
        other => panic!("{text} was refused as {other:?}"),
    }
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.-]{1,64}"
}

proptest! {
    /// A parameter's value in every spelling there is.
    #[test]
    fn all_spellings_of_a_value_are_one_request(track in name(), plugin in name(), parameter in name(), value in any::<f64>().prop_filter("JSON", |v| v.is_finite())) {
        let expected = |track_id: Option<&String>| Request::PluginParameter(ParameterChange {
            plugin: PluginRef { track_id: track_id.cloned(), plugin_id: plugin.clone() },
            parameter_id: parameter.clone(),
            value: json!(value),
        });
        let snake = json!({"track_id": track, "plugin_id": plugin, "parameter_id": parameter, "parameter_value": value});
        let alias = json!({"track_id": track, "plugin_id": plugin, "parameter_id": parameter, "value": value});
        let camel = json!({"trackId": track, "pluginId": plugin, "parameterId": parameter, "parameterValue": value});
        for kind in ["plugin.parameter", "PLUGIN_PARAMETER", "UPDATE_PARAMETER"] {
            for data in [&snake, &alias, &camel] {
                let mut flat = data.clone();
                flat["type"] = json!(kind);
                prop_assert_eq!(request(&json!({"type": kind, "data": data})), expected(Some(&track)));
                prop_assert_eq!(request(&flat), expected(Some(&track)));
            }
        }
        let old = json!({"type": "UPDATE_PARAMETER", "data": {"pluginId": plugin, "parameterId": parameter, "value": value}});
        prop_assert_eq!(request(&old), expected(None));
    }

    /// Whatever comes in, something comes out, and an error never repeats more than a little of it.
    #[test]
    fn nothing_that_comes_in_does_harm(text in "\\PC{0,200}", json in any_json(), kind in prop::sample::select(vec!["plugin.add", "AUTH", "plugin.parameter.batch", "track.add", "heartbeat", "rig.panic"])) {
        let _ = decode(&text, Limits { batch_changes: 4 });
        let mut message = json!({"type": kind, "data": json});
        let _ = read(&message);
        message["type"] = json.clone();
        let _ = read(&message);
        if let Err(reject) = read(&json).body {
            prop_assert!(reject.details().to_string().len() + reject.sentence().len() < 2048);
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "type",
        "id",
        "data",
        "track_id",
        "pluginId",
        "parameter_id",
        "value",
        "changes",
        "parameters",
        "sends",
        "preset_data",
        "name",
        "position",
        "volume",
        "t0_timestamp",
        "requires_ack",
        "unheard_of",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,80}".prop_map(Value::from),
        Just(json!("plugin.parameter")),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..8).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Value>()),
        ]
    })
}

#[test]
fn the_envelope_is_read_before_its_faults_so_that_they_are_answered_to_the_right_message() {
    let text = r#"{"id": "m1", "type": "plugin.bypass", "requires_ack": true, "t0_timestamp": 1.50, "data": {"track_id": "a"}}"#;
    let (incoming, reject) = fault(text);
    assert_eq!(incoming.head.id.as_deref(), Some("m1"));
    assert!(incoming.head.requires_ack);
    assert_eq!(
        incoming.head.t0_timestamp.unwrap().get(),
        "1.50",
        "untouched"
    );
    assert_eq!(reject, Reject::field("plugin_id", "is missing"));
}

#[test]
fn faults_name_their_field() {
    assert_eq!(field_of(r#"{"type": 7}"#), "type");
    assert_eq!(field_of(r#"{"id": "a"}"#), "type");
    assert_eq!(field_of(r#"{"type": "state.get", "id": 7}"#), "id");
    assert_eq!(field_of(r#"{"type": "state.get", "id": null}"#), "id");
    assert_eq!(
        field_of(r#"{"type": "state.get", "user_id": {}}"#),
        "user_id"
    );
    assert_eq!(
        field_of(r#"{"type": "state.get", "requires_ack": "yes"}"#),
        "requires_ack"
    );
    assert_eq!(
        field_of(r#"{"type": "state.get", "t0_timestamp": []}"#),
        "t0_timestamp"
    );
    assert_eq!(field_of(r#"{"type": "state.get", "data": []}"#), "data");
    let misspelt =
        r#"{"type": "plugin.bypass", "data": {"track_id": "a", "plugin_id": "b", "bypas": true}}"#;
    assert_eq!(field_of(misspelt), "bypass");
    assert_eq!(
        field_of(
            r#"{"type": "plugin.parameter", "data": {"track_id": "a", "plugin_id": "b", "parameter_id": "c"}}"#
        ),
        "parameter_value"
    );
    assert_eq!(
        field_of(r#"{"type": "plugin.parameter.batch", "data": {"changes": {}}}"#),
        "changes"
    );
    assert_eq!(
        field_of(
            r#"{"type": "plugin.add", "data": {"track_id": "a", "name": "b", "plugin_id": "c d"}}"#
        ),
        "plugin_id"
    );
    assert_eq!(
        field_of(r#"{"type": "track.update", "data": {"track_id": "a", "vollume": 1}}"#),
        ""
    );
}

#[test]
fn what_is_no_object_is_told_apart_from_what_is_no_json() {
    for text in ["[]", "7", "\"a\"", "null", "true"] {
        assert_eq!(
            fault(text).1,
            Reject::message("must be a JSON object"),
            "{text}"
        );
    }
    for text in [
        "",
        "{",
        "{\"a\": }",
        "nonsense",
        "{} {}",
        "{\"type\": \"state.get\"} x",
    ] {
        assert!(
            fault(text).1.sentence().contains("not JSON"),
            "{text}: {}",
            fault(text).1.sentence()
        );
    }
}

#[test]
fn what_is_refused_is_not_repeated_however_long_it_is() {
    let long = "x".repeat(60_000);
    for text in [
        long.clone(),
        format!("\"{long}\""),
        format!("\"{long}\" and more"),
        format!("[\"{long}\"] and more"),
        format!("{{\"type\": \"{long}\"}}"),
        format!("{{\"id\": [\"{long}\"], \"type\": \"state.get\"}}"),
    ] {
        let (_, reject) = fault(&text);
        let told = reject.sentence().len() + reject.details().to_string().len();
        assert!(told < 1024, "{told} bytes of {}", &text[..20]);
        let (Err(reject), length) = (pairing(text.as_bytes()), text.len()) else {
            panic!("that is no pairing");
        };
        let told = reject.sentence().len() + reject.details().to_string().len();
        assert!(told < 1024, "{told} bytes of {length}");
    }
}

#[test]
fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
    let nested = |depth: usize| {
        format!(
            "{{\"type\": \"heartbeat\", \"data\": {}{}}}",
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    };
    assert!(
        decode(&nested(32), Limits { batch_changes: 1 })
            .body
            .is_ok()
    );
    assert!(matches!(
        fault(&nested(33)).1,
        Reject::InvalidMessage {
            limit: Some(32),
            ..
        }
    ));
    let (_, reject) = fault(&"[".repeat(10_000));
    assert!(matches!(
        reject,
        Reject::InvalidMessage {
            limit: Some(32),
            ..
        }
    ));
    let text = format!(
        "{{\"type\": \"heartbeat\", \"data\": {{\"a\": \"{}\\\"{{\"}}}}",
        "[".repeat(100)
    );
    assert!(decode(&text, Limits { batch_changes: 1 }).body.is_ok());
}

#[test]
fn values_are_judged_later_and_never_lost() {
    let value = |text: &str| {
        let text = format!(
            "{{\"type\": \"UPDATE_PARAMETER\", \"pluginId\": \"p\", \"parameterId\": \"q\", \"value\": {text}}}"
        );
        match decode(&text, Limits { batch_changes: 1 }).body {
            Ok(Body::Change(Request::PluginParameter(change))) => change.value,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(value("0.1"), json!(0.1));
    assert_eq!(value("7"), json!(7.0));
    assert_eq!(
        value("1e999"),
        json!("1e999"),
        "no number any more, and not a broken message"
    );
    assert_eq!(value("null"), Value::Null);
    assert_eq!(value("\"loud\""), json!("loud"));
    assert!(
        value(&format!("\"{}\"", "x".repeat(50_000)))
            .to_string()
            .len()
            < 200
    );
}

#[test]
fn a_batch_has_a_bound_and_each_entry_its_own_fault() {
    let change = |parameter: &str| json!({"track_id": "a", "plugin_id": "b", "parameter_id": parameter, "value": 1});
    let batch = |count: usize| json!({"type": "plugin.parameter.batch", "data": {"changes": vec![change("c"); count]}});
    let Ok(Body::Batch(read_back)) = read(&batch(256)).body else {
        panic!("256 are allowed")
    };
    assert_eq!(read_back.changes.len(), 256);
    assert!(matches!(
        read(&batch(257)).body,
        Err(Reject::InvalidMessage {
            limit: Some(256),
            ..
        })
    ));
    let mixed = json!({"type": "plugin.parameter.batch", "data": {"changes": [change("c"), {"value": 1}, 7]}});
    let Ok(Body::Batch(mixed)) = read(&mixed).body else {
        panic!("entries are judged one by one")
    };
    assert_eq!(
        mixed.changes.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false, false]
    );
    let short = json!({"type": "plugin.parameter.batch", "data": {"track_id": "a", "plugin_id": "b",
        "parameters": [{"parameter_id": "c", "parameter_value": 1}]}});
    let Ok(Body::Batch(short)) = read(&short).body else {
        panic!("the short form")
    };
    assert_eq!(short.changes[0].as_ref().unwrap().plugin.plugin_id, "b");
}

#[test]
fn the_type_shows_the_dialect() {
    for (kind, dialect) in [
        ("plugin.list", Dialect::Dotted),
        ("PLUGIN_LIST", Dialect::Upper),
        ("GET_PARAMETERS", Dialect::Legacy),
    ] {
        assert_eq!(read(&json!({"type": kind})).head.kind.unwrap().1, dialect);
    }
    assert!(
        matches!(read(&json!({"type": "PLUGIN_WOBBLE"})).body, Err(Reject::UnknownMessageType(kind)) if kind == "PLUGIN_WOBBLE")
    );
}
