//! What is accepted: applied to the state, handed to the engine, or kept until its debouncing is over.

use std::sync::Arc;
use std::time::Instant;

use super::Desk;
use super::client::ClientId;
use super::settle::{Answer, BatchEcho, Origin, Settling, Waiting};
use crate::protocol::Batch;
use crate::rig::batch::{as_request, check_batch, debounce_ms, last_of_each, overtake};
use crate::rig::{Accepted, ParameterChange, Reject, Request, What, apply};

impl Desk {
    pub(super) fn change(
        &mut self,
        origin: &Origin,
        request: Request,
        now: Instant,
    ) -> Result<(), Reject> {
        if request.is_operation() && self.handover.is_choked() {
            return Err(Reject::EngineError(
                "the engine stands still; try again when it runs".to_owned(),
            ));
        }
        let accepted = apply(&mut self.state, request)?;
        self.overtake(&accepted);
        self.note(origin.client, &accepted);
        let by = Arc::clone(&origin.by);
        let changes: Vec<_> = accepted
            .changes
            .into_iter()
            .map(|change| (Arc::new(change), Arc::clone(&by)))
            .collect();
        let applied = changes.len();
        let answer = Answer {
            origin: origin.clone(),
            first: 0,
            applied,
            superseded: 0,
        };
        let settling = Settling {
            client: origin.client,
            changes,
            answers: vec![answer],
        };
        self.handover
            .hand_over(accepted.commands, Waiting::Changes(settling), now);
        Ok(())
    }

    /// Remembers who changed what.
    pub(super) fn note(&mut self, client: ClientId, accepted: &Accepted) {
        let author = self.author(client);
        let mut is_track_gone = false;
        for change in &accepted.changes {
            self.history.note(author, change);
            is_track_gone |= matches!(change.what, What::TrackRemoved { .. });
        }
        if is_track_gone {
            let state = &self.state;
            self.history
                .keep_only(|id| state.plugin(id).is_some() || state.track(id).is_some());
        }
    }

    pub(super) fn overtake(&mut self, accepted: &Accepted) {
        for change in &accepted.changes {
            overtake(&mut self.batcher, &self.state, &change.what);
        }
    }

    pub(super) fn batch(
        &mut self,
        origin: &Origin,
        batch: Batch,
        now: Instant,
    ) -> Result<(), Reject> {
        let changes = check_batch(&self.state, self.allowed(origin, batch.changes))?;
        let debounce_ms = debounce_ms(batch.debounce_ms);
        self.next_batch += 1;
        let mut origin = origin.clone();
        origin.echo = Some(Box::new(BatchEcho {
            batch_id: format!("batch_{}", self.next_batch),
            debounce_ms,
            apply_immediately: batch.apply_immediately,
        }));
        if !batch.apply_immediately {
            let time = self.micros(now);
            self.batcher
                .submit(origin.client, origin, changes, debounce_ms * 1000, time);
            return Ok(());
        }
        let given = changes.len();
        let last = last_of_each(&changes);
        let accepted = apply(&mut self.state, as_request(&last))?;
        self.overtake(&accepted);
        self.note(origin.client, &accepted);
        let by = Arc::clone(&origin.by);
        let changes: Vec<_> = accepted
            .changes
            .into_iter()
            .map(|change| (Arc::new(change), Arc::clone(&by)))
            .collect();
        let client = origin.client;
        let answer = Answer {
            origin,
            first: 0,
            applied: last.len(),
            superseded: given - last.len(),
        };
        let settling = Settling {
            client,
            changes,
            answers: vec![answer],
        };
        self.handover
            .hand_over(accepted.commands, Waiting::Changes(settling), now);
        Ok(())
    }

    /// What of a batch the sender may not change carries that fault.
    fn allowed(
        &self,
        origin: &Origin,
        changes: Vec<Result<ParameterChange, Reject>>,
    ) -> Vec<Result<ParameterChange, Reject>> {
        let Some(client) = self.clients.get(&origin.client) else {
            return changes;
        };
        let user_id = &origin.by.user_id;
        let check = |change: ParameterChange| {
            let checked = client.rights.check_change(user_id, &change, &self.state);
            checked.map(|()| change)
        };
        changes
            .into_iter()
            .map(|change| change.and_then(check))
            .collect()
    }

    /// Hands over the debounced groups whose time has come.
    pub(super) fn flush_due(&mut self, now: Instant) {
        let time = self.micros(now);
        while let Some(group) = self.batcher.take_due(time) {
            // All of it was valid on arrival, and what has ceased to be was taken out since.
            let Ok(accepted) = apply(&mut self.state, as_request(&group.changes)) else {
                log::error!("a pending group could not be applied; it is dropped");
                continue;
            };
            self.note(group.client, &accepted);
            let mut accepted_changes = accepted.changes.into_iter();
            let mut changes = Vec::new();
            let mut answers = Vec::new();
            for waiting in group.batches {
                let first = changes.len();
                let by = &waiting.batch.by;
                changes.extend(
                    accepted_changes
                        .by_ref()
                        .take(waiting.applied)
                        .map(|change| (Arc::new(change), Arc::clone(by))),
                );
                let (applied, superseded) = (waiting.applied, waiting.superseded);
                answers.push(Answer {
                    origin: waiting.batch,
                    first,
                    applied,
                    superseded,
                });
            }
            let settling = Settling {
                client: group.client,
                changes,
                answers,
            };
            if accepted.commands.is_empty() {
                self.handover.wait_for_last(Waiting::Changes(settling), now);
            } else {
                self.handover
                    .hand_over(accepted.commands, Waiting::Changes(settling), now);
            }
        }
        self.settle_what_is_applied(now);
    }
}
