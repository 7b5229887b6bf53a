//! Everything by which people come in: the gate, open codes, the thread for their files, and where the
//! door is.

use std::net::SocketAddr;
use std::path::Path;

use super::code::Codes;
use super::failures::Failures;
use super::gate::Gate;
use super::role::Grants;
use super::secret::Secret;
use super::vault::{self, Vault};

/// See the module. Control thread.
pub struct Door {
    /// Tokens.
    pub gate: Gate,
    /// Codes that were made in this run.
    pub codes: Codes,
    /// Who brings wrong ones.
    pub wrong_codes: Failures,
    /// Codes that were left in the state folder, and news of the secret.
    pub vault: Option<Vault>,
    /// Where the rig listens.
    pub listening: Vec<SocketAddr>,
    /// How it is reached there.
    pub scheme: &'static str,
    /// What is wrong, in a sentence for a person.
    pub trouble: Option<String>,
}

impl Door {
    /// No token is good, and there is no code.
    pub fn closed() -> Door {
        Door {
            gate: Gate::new(None, Grants::default()),
            codes: Codes::default(),
            wrong_codes: Failures::default(),
            vault: None,
            listening: Vec::new(),
            scheme: "http",
            trouble: None,
        }
    }

    /// With the secret of a state folder; where that cannot be had, with one that ends with this run.
    pub fn open(
        folder: &Path,
        grants: Grants,
        scheme: &'static str,
        listening: Vec<SocketAddr>,
    ) -> Door {
        let opened = Secret::open(folder).and_then(|secret| {
            vault::note_listening(folder, scheme, &listening)?;
            let vault = Vault::start(folder.to_owned(), secret.clone())?;
            Ok((secret, vault))
        });
        let door = Door {
            listening,
            scheme,
            ..Door::closed()
        };
        match opened {
            Ok((secret, vault)) => Door {
                gate: Gate::new(Some(secret), grants),
                vault: Some(vault),
                ..door
            },
            Err(error) => {
                let trouble = format!(
                    "the secret in the state folder {} cannot be used ({error}): older tokens are not known, and new ones end with this run",
                    folder.display()
                );
                log::error!("{trouble}");
                Door {
                    gate: Gate::new(Secret::random().ok(), grants),
                    trouble: Some(trouble),
                    ..door
                }
            }
        }
    }
}
