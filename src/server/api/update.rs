//! `POST /api/device/update`, with a signed bundle as its body, for hosts. What is answered is that all of it
//! is there; it is then installed whether or not somebody waits for it, and `GET /api/device` tells how far
//! that is.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::json;
use tokio::task::{spawn_blocking, spawn_local};

use super::device::{OCTETS, admit, failed, record};
use super::reply::{Refusal, json_answer};
use super::upload::{self, Said, Sort};
use super::visit::Visit;
use crate::care::update::{NOT_WHOLE, Progress};
use crate::server::http::Answer;
use crate::update;

/// Its name in the log.
const OPERATION: &str = "device.update";

/// Answers one request.
pub async fn answer(visit: &Visit, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let said = Said::read(request.headers());
    let mut body = request.into_body();
    let answer = take(visit, &said, &mut body).await;
    if answer.is_err() {
        upload::drain(&mut body).await;
    }
    answer
}

async fn take(visit: &Visit, said: &Said, body: &mut Incoming) -> Result<Answer, Refusal> {
    let (turn, by) = admit(visit)?;
    if !update::is_there() {
        return Err(failed(update::NOT_THERE.to_owned()));
    }
    let sort = Sort {
        name: "a bundle",
        types: &[OCTETS],
        max_mb: turn.config().device.update_max_mb,
        setting: "update_max_mb",
    };
    let bytes = said.check(&turn, &sort)?;
    let shared = Rc::clone(visit.shared());
    record(&shared, OPERATION, json!({ "bytes": bytes }), &by);
    turn.tell_of_update(Progress::Receiving);
    // On the thread that reads, which is there also when whoever sends it is not any more.
    let taken = upload::take(body, move |pieces, go| {
        match turn.take_update(pieces, bytes, go) {
            Ok(bundle) => Ok((turn, bundle)),
            Err(reason) => {
                turn.tell_of_update(Progress::failed(&reason));
                Err(reason)
            }
        }
    });
    let (turn, bundle) = taken.await.map_err(|reason| {
        record(&shared, OPERATION, json!({ "failed": reason }), &by);
        let status = if reason == NOT_WHOLE {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::INSUFFICIENT_STORAGE
        };
        failed(format!("the update is not installed: {reason}")).at(status)
    })?;
    let progress = Progress::Installing {
        percent: 0,
        doing: String::new(),
    };
    turn.tell_of_update(progress.clone());
    spawn_local(async move {
        let installed = spawn_blocking(move || {
            let installed = turn.install(bundle);
            turn.tell_of_update(match &installed {
                Ok(()) => Progress::Installed,
                Err(reason) => Progress::failed(reason),
            });
            installed
        });
        let installed = installed.await;
        let details = match installed.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(()) => json!({ "installed": true }),
            Err(reason) => {
                log::error!("an update was not installed: {reason}");
                json!({ "failed": reason })
            }
        };
        record(&shared, OPERATION, details, &by);
    });
    let body = json!({ "update": progress, "success": true });
    Ok(json_answer(StatusCode::ACCEPTED, body.to_string()))
}
