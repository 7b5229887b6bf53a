//! Who is this, what may they do, how much.
//!
//! | file | noun |
//! |---|---|
//! | `role.rs` | roles, permissions, a performer's tracks |
//! | `needs.rs` | what each message takes |
//! | `secret.rs` | what tokens are signed with |
//! | `token.rs` | tokens: JWT |
//! | `clock.rs` | how old a token is, on a box whose clock may be wrong |
//! | `people.rs` | what the host has said about people |
//! | `gate.rs` | a token → who that is |
//! | `code.rs`, `link.rs` | one-time codes; the link and QR code that they travel in |
//! | `vault.rs` | the thread for the files of the gate |
//! | `door.rs` | all of these together |
//! | `commands.rs` | `rigd token`, `rigd pair` |
//! | `attendance.rs` | who has been here, for the record |
//! | `failures.rs` | who has guessed wrong how often |
//! | `limits.rs` | how much one may ask |

pub mod attendance;
pub mod clock;
pub mod code;
pub mod commands;
pub mod door;
pub mod failures;
pub mod gate;
pub mod limits;
pub mod link;
pub mod needs;
pub mod people;
pub mod role;
pub mod secret;
pub mod token;
pub mod vault;

pub use door::Door;
pub use gate::{Gate, Identity};
pub use limits::{Bucket, Buckets};
pub use people::People;
pub use role::{Grants, Permission, Reach, Rights, Role};

use std::sync::Arc;

/// Whose change it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The user.
    pub user_id: String,
    /// The group of people.
    pub session_id: String,
    /// What the connection may do.
    pub role: Role,
    /// Whether the user has been proved.
    pub verified: bool,
    /// Where the connection comes from.
    pub address: Arc<str>,
}

impl By {
    /// The rig itself.
    pub fn rig() -> By {
        By {
            user_id: "rigd".to_owned(),
            session_id: "rigd".to_owned(),
            role: Role::Host,
            verified: true,
            address: "".into(),
        }
    }
}
