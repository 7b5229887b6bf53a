//! `GET` and `POST /api/device/wifi`: the networks in reach, and joining one; for hosts. On the box's own
//! network everybody sees the list, since everybody there could listen for themselves; and as long as the
//! box has no host, who has its claim code may join one. That does not use the code up: whoever does it
//! sits at a phone's sign-in window for networks, which keeps nothing.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::{Map, Value, json};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::timeout;

use super::device::{failed, record};
use super::reply::{Refusal, json_answer, refusal, refusal_of, silent};
use super::visit::Visit;
use crate::care::Caretaker;
use crate::care::wifi::{self, Joining};
use crate::rig::Reject;
use crate::server::http::Answer;
use crate::server::{Caller, Shared};
use crate::session::By;

/// Its name in the log.
const OPERATION: &str = "device.wifi";
/// How long the disk may take to say whether a code is right.
const DISK_WITHIN: Duration = Duration::from_secs(10);
/// The box's own network ends when it joins another one: whoever asked over it gets the answer first.
const ANSWER_FIRST: Duration = Duration::from_secs(2);

/// `GET`.
pub async fn look(visit: &Visit, caller: Caller) -> Result<Answer, Refusal> {
    let shared = visit.shared();
    let point = shared.access_point();
    let is_near = point
        .as_ref()
        .is_some_and(|point| caller.at == point.address);
    let host = visit.admit_host(Instant::now());
    let is_host = host.is_ok();
    let caretaker = match host {
        Ok((caretaker, _)) => caretaker,
        Err(_) if is_near => shared.desk.borrow().caretaker().map_err(|r| refusal(&r))?,
        Err(reject) => return Err(refusal_of(&reject, visit.is_known())),
    };
    check_allowed(&caretaker)?;
    let own = point.as_ref().map(|point| point.name.clone());
    let (networks, present) = match point {
        Some(point) => (point.networks, None),
        None => {
            let looked = spawn_blocking(wifi::look).await.map_err(|_| silent())?;
            looked.map_err(failed)?
        }
    };
    let body = json!({
        "networks": networks, "connected": present, "own": own, "join": caretaker.joining(),
        "is_host": is_host, "success": true,
    });
    Ok(json_answer(StatusCode::OK, body.to_string()))
}

/// `POST {network, password?, code?}`.
pub async fn join(
    visit: &Visit,
    fields: &Map<String, Value>,
    caller: Caller,
) -> Result<Answer, Refusal> {
    let shared = Rc::clone(visit.shared());
    let (caretaker, by) = match visit.admit_host(Instant::now()) {
        Ok(admitted) => admitted,
        Err(reject) => {
            let near = shared
                .access_point()
                .is_some_and(|point| caller.at == point.address);
            match fields.get("code").and_then(Value::as_str) {
                Some(code) if near => by_claim(&shared, code, caller).await?,
                _ => return Err(refusal_of(&reject, visit.is_known())),
            }
        }
    };
    check_allowed(&caretaker)?;
    let network = text(fields, "network")?;
    let password = text(fields, "password")?;
    wifi::check(&network, &password)
        .map_err(|(field, reason)| refusal(&Reject::field(field, reason)))?;
    let turn = caretaker.begin().map_err(|reject| refusal(&reject))?;
    record(&shared, OPERATION, json!({ "network": network }), &by);
    let joining = Joining::Joining {
        network: network.clone(),
    };
    turn.tell_of_joining(joining.clone());
    let has_own_network = shared.access_point().is_some();
    spawn_local(async move {
        if has_own_network {
            tokio::time::sleep(ANSWER_FIRST).await;
        }
        let name = network.clone();
        let joined = spawn_blocking(move || {
            let joined = wifi::join(&name, &password);
            let network = name;
            turn.tell_of_joining(match &joined {
                Ok(()) => Joining::Joined { network },
                Err(reason) => Joining::Failed {
                    network,
                    reason: reason.clone(),
                },
            });
            joined
        });
        let joined = joined
            .await
            .unwrap_or_else(|_| Err("it was not finished".to_owned()));
        let details = match joined {
            Ok(()) => json!({ "network": network, "joined": true }),
            Err(reason) => {
                log::warn!("the network was not joined: {reason}");
                json!({ "network": network, "failed": reason })
            }
        };
        record(&shared, OPERATION, details, &by);
    });
    let body = json!({ "join": joining, "success": true });
    Ok(json_answer(StatusCode::ACCEPTED, body.to_string()))
}

fn check_allowed(caretaker: &Caretaker) -> Result<(), Refusal> {
    if caretaker.config().device.allow_wifi {
        return Ok(());
    }
    Err(refusal(&Reject::TurnedOff {
        kind: OPERATION,
        feature: "allow_wifi under [device]",
    }))
}

/// Whoever has the code that makes the first host, as long as there is none.
async fn by_claim(
    shared: &Rc<Shared>,
    code: &str,
    caller: Caller,
) -> Result<(Caretaker, Arc<By>), Refusal> {
    let address = caller.peer.ip();
    let asked = shared.desk.borrow_mut().ask_claim(code, address);
    let asked = asked.map_err(|reject| refusal(&reject))?;
    let is_right = timeout(DISK_WITHIN, asked).await.map_err(|_| silent())?;
    let admitted = shared
        .desk
        .borrow_mut()
        .admit_claimer(is_right == Ok(true), address);
    admitted.map_err(|reject| refusal(&reject))
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, Refusal> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(refusal(&Reject::field(name, "must be a text"))),
    }
}
