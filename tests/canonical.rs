//! Canonical JSON against an independent implementation: whatever value, Python's `json` writes the same.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rigd::provenance::canonical::canonical;
use serde_json::{Map, Value, json};

const CASES: usize = 4000;
/// One value a line in, its canonical text a line out.
const PYTHON: &str = r#"
import json, sys
for line in sys.stdin:
    value = json.loads(line)
    print(json.dumps(value, sort_keys=True, separators=(",", ":")))
"#;

fn floats() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("JSON has only finite numbers", |float| float.is_finite()),
        // Where the spelling changes.
        (-30i32..30, any::<i32>())
            .prop_map(|(exponent, digits)| f64::from(digits) * 10f64.powi(exponent)),
        (-400i32..400).prop_map(|exponent| 2f64.powi(exponent)),
        prop::sample::select(vec![
            0.0,
            -0.0,
            1e-4,
            9.999e-5,
            1e15,
            1e16,
            9_999_999_999_999_998.0,
            5e-324,
            1e-7,
            123_456.789,
        ]),
    ]
    .prop_filter("finite", |float| float.is_finite())
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        any::<String>(),
        // Control characters, 0x7f, both sides of the surrogates, the last character of all.
        prop::collection::vec(
            prop_oneof![
                (0u32..0x20),
                Just(0x7f),
                Just(0x22),
                Just(0x5c),
                Just(0x2f),
                (0xd7f0u32..0xe010),
                (0x1_0000u32..0x11_0000)
            ],
            0..8
        )
        .prop_map(|codes| codes.into_iter().filter_map(char::from_u32).collect()),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        floats().prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((texts(), inner), 0..8)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn of_python(lines: &[String]) -> Vec<String> {
    let mut python = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed for this test");
    let mut stdin = python.stdin.take().unwrap();
    let all = lines.join("\n") + "\n";
    let writer = std::thread::spawn(move || stdin.write_all(all.as_bytes()).unwrap());
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn whatever_value_it_is_what_python_writes() {
    let mut runner = TestRunner::deterministic();
    let strategy = values();
    let values: Vec<Value> = (0..CASES)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .chain([
            json!({"b": 1, "a": {"é": 1e16, "e": -0.0}}),
            json!("\u{1f3a4}\u{7f}"),
        ])
        .collect();
    let lines: Vec<String> = values.iter().map(Value::to_string).collect();
    let theirs = of_python(&lines);
    assert_eq!(theirs.len(), values.len());
    for ((value, line), theirs) in values.iter().zip(&lines).zip(theirs) {
        assert_eq!(canonical(value), theirs, "of {line}");
        // What was kept as text is the same value when it is read again.
        let again: Value = serde_json::from_str(line).unwrap();
        assert_eq!(canonical(&again), theirs, "read again from {line}");
    }
}
