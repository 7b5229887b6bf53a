//! The long poll: what has changed since a number, at once or when there is something, else nothing
//! when the time is over. Who asks for what is not held any more gets a `state.snapshot`.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::body::Query;
use super::reply::{Frame, Refusal, json_answer, refusal, silent};
use super::visit::Visit;
use crate::rig::Reject;
use crate::server::http::Answer;

/// How long a poll waits unless it says so, and at most, in seconds.
const TIMEOUT_S: f64 = 25.0;
const TIMEOUT_MAX_S: f64 = 60.0;
/// What comes so shortly behind a first change comes with it.
const GATHER: Duration = Duration::from_millis(20);

/// Answers a poll.
pub async fn answer(visit: &mut Visit, query: &Query) -> Result<Answer, Refusal> {
    let since_seq: u64 = query.number("since_seq")?.ok_or_else(|| {
        let reason =
            "is missing: it is the seq of the newest change that you know, from /api/state";
        refusal(&Reject::field("since_seq", reason))
    })?;
    let timeout_s: f64 = query.number("timeout_s")?.unwrap_or(TIMEOUT_S);
    let until = Instant::now() + Duration::from_secs_f64(timeout_s.min(TIMEOUT_MAX_S));
    let mut data = json!({ "since_seq": since_seq });
    if let Some(epoch) = query.get("epoch") {
        data["epoch"] = epoch.into();
    }
    let message = json!({ "type": "state.resume", "data": data }).to_string();
    let mut news = visit.shared().desk.borrow().news();
    let mut ends = visit.shared().ends.subscribe();
    let events = loop {
        let frames = visit.ask(&message).await?;
        let first = Frame::read(&frames[0])?.check(visit.is_known())?;
        if first.kind == "state.snapshot" {
            break frames;
        }
        if frames.len() > 1 || Instant::now() >= until {
            break frames[1..].to_vec();
        }
        visit.begin_poll()?;
        tokio::select! {
            told = timeout_at(until, news.wait_for(|seq| *seq > since_seq)) => {
                if matches!(told, Ok(Ok(_))) {
                    sleep(GATHER).await;
                }
            }
            _ = ends.wait_for(|ends| *ends) => break Vec::new(),
        }
    };
    body(visit, since_seq, &events)
}

fn body(visit: &Visit, since_seq: u64, events: &[Utf8Bytes]) -> Result<Answer, Refusal> {
    let seq = match events.last() {
        Some(last) => Frame::read(last)?.seq.ok_or_else(silent)?,
        None => since_seq,
    };
    let epoch = json!(visit.shared().desk.borrow().epoch());
    let mut text = format!(
        "{{\"success\":true,\"epoch\":{epoch},\"since_seq\":{since_seq},\"seq\":{seq},\"events\":["
    );
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(event);
    }
    text.push_str("]}");
    Ok(json_answer(StatusCode::OK, text))
}
