//! What somebody may do: a role gives permissions, and a performer's reach as far as some tracks.

use std::sync::Arc;

use crate::rig::Reject;

/// What a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Host,
    /// Sings: looks at everything, and steers some tracks.
    Performer,
    /// Looks.
    Guest,
    /// A screen: looks.
    Display,
    /// Nothing yet: it has not said who it is.
    Nobody,
}

impl Role {
    /// Those that somebody can be given.
    pub const GIVEN: [Role; 4] = [Role::Host, Role::Performer, Role::Guest, Role::Display];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Role::Host => "host",
            Role::Performer => "performer",
            Role::Guest => "guest",
            Role::Display => "display",
            Role::Nobody => "nobody",
        }
    }

    /// One that can be given, by its name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::GIVEN.into_iter().find(|role| role.name() == name)
    }
}

/// A kind of thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names on the wire say it")]
pub enum Permission {
    PluginRead,
    PluginWrite,
    PluginAdd,
    PluginRemove,
    TrackModify,
    SessionManage,
    LogRead,
}

impl Permission {
    /// All of them, as clients are told.
    pub const ALL: [Permission; 7] = [
        Permission::PluginRead,
        Permission::PluginWrite,
        Permission::PluginAdd,
        Permission::PluginRemove,
        Permission::TrackModify,
        Permission::SessionManage,
        Permission::LogRead,
    ];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Permission::PluginRead => "plugin:read",
            Permission::PluginWrite => "plugin:write",
            Permission::PluginAdd => "plugin:add",
            Permission::PluginRemove => "plugin:remove",
            Permission::TrackModify => "track:modify",
            Permission::SessionManage => "session:manage",
            Permission::LogRead => "log:read",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Permission> {
        let mut all = Permission::ALL.into_iter();
        all.find(|permission| permission.name() == name)
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permissions {
    /// None.
    pub const NONE: Permissions = Permissions(0);

    /// These.
    pub const fn of(list: &[Permission]) -> Permissions {
        let (mut bits, mut index) = (0, 0);
        while index < list.len() {
            bits |= 1 << list[index] as u8;
            index += 1;
        }
        Permissions(bits)
    }

    /// Whether this one is among them.
    pub fn has(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    /// Their names.
    pub fn names(self) -> Vec<&'static str> {
        let held = Permission::ALL.into_iter().filter(|p| self.has(*p));
        held.map(Permission::name).collect()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(list: I) -> Permissions {
        let bits = list.into_iter().fold(0, |bits, p| bits | 1 << p as u8);
        Permissions(bits)
    }
}

/// What each role may do; a host everything.
#[derive(Clone, Copy, Debug)]
pub struct Grants {
    /// On the tracks that its token names, as far as it is about tracks.
    pub performer: Permissions,
    /// Everywhere.
    pub guest: Permissions,
    /// Everywhere.
    pub display: Permissions,
}

impl Grants {
    /// What a role has.
    pub fn of(&self, role: Role) -> Permissions {
        match role {
            Role::Host => Permissions::of(&Permission::ALL),
            Role::Performer => self.performer,
            Role::Guest => self.guest,
            Role::Display => self.display,
            Role::Nobody => Permissions::NONE,
        }
    }
}

impl Default for Grants {
    fn default() -> Grants {
        let read = Permissions::of(&[Permission::PluginRead]);
        Grants {
            performer: Permissions::of(&[
                Permission::PluginRead,
                Permission::PluginWrite,
                Permission::TrackModify,
            ]),
            guest: read,
            display: read,
        }
    }
}

/// How much of the rig something concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach<'a> {
    /// No track: to look, or to make it safe.
    None,
    /// One track, and what is on it.
    Track(&'a str),
    /// What all share.
    Rig,
}

/// What a connection may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// As what.
    pub role: Role,
    /// At all.
    pub permissions: Permissions,
    /// Only on these tracks; `None`: on all, and on what all share.
    pub tracks: Option<Arc<[String]>>,
}

impl Rights {
    /// Those of a role. `tracks` are a performer's.
    pub fn new(role: Role, tracks: &[String], grants: &Grants) -> Rights {
        Rights {
            role,
            permissions: grants.of(role),
            tracks: (role == Role::Performer).then(|| tracks.into()),
        }
    }

    /// Those of one who has not said who it is.
    pub fn nobody() -> Rights {
        Rights {
            role: Role::Nobody,
            permissions: Permissions::NONE,
            tracks: None,
        }
    }

    /// Whether it may look at the rig: then it is told what happens.
    pub fn may_look(&self) -> bool {
        self.permissions.has(Permission::PluginRead)
    }

    /// Whether this is allowed, that far.
    pub fn allow(&self, permission: Permission, reach: Reach<'_>) -> bool {
        self.permissions.has(permission)
            && match (&self.tracks, reach) {
                (None, _) | (_, Reach::None) => true,
                (Some(tracks), Reach::Track(track)) => tracks.iter().any(|own| own == track),
                (Some(_), Reach::Rig) => false,
            }
    }

    /// Refuses what is not allowed.
    pub fn check(
        &self,
        user_id: &str,
        permission: Permission,
        reach: Reach<'_>,
    ) -> Result<(), Reject> {
        if self.allow(permission, reach) {
            return Ok(());
        }
        Err(Reject::Unauthorized {
            user_id: user_id.to_owned(),
            required_permission: permission.name(),
            track_id: match reach {
                Reach::Track(track) => Some(track.to_owned()),
                Reach::None | Reach::Rig => None,
            },
        })
    }
}
