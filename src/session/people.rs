//! What the host has said about people, by name: survives a restart, and outweighs what older tokens
//! say. Pure.

use std::collections::BTreeMap;

use super::role::Role;
use super::token::{BadToken, Claims};

/// People that something is remembered of.
pub const PEOPLE_MAX: usize = 1024;

/// Of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Grows with everything that is said of them. Tokens say with which they were made.
    pub generation: u64,
    /// Older tokens are worth nothing: they were signed out then.
    pub good_from: u64,
    /// What older tokens are worth: role, and a performer's tracks.
    pub role: Option<(Role, Vec<String>)>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People(BTreeMap<String, Person>);

impl People {
    /// What is known of one.
    pub fn get(&self, user_id: &str) -> Option<&Person> {
        self.0.get(user_id)
    }

    /// All that something is known of.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Person)> {
        self.0.iter().map(|(id, person)| (id.as_str(), person))
    }

    /// Puts back what was kept.
    pub fn put(&mut self, user_id: String, person: Person) {
        self.0.insert(user_id, person);
    }

    /// The generation of a token that is made now.
    pub fn generation(&self, user_id: &str) -> u64 {
        self.0.get(user_id).map_or(0, |person| person.generation)
    }

    /// Whether something can be said of this one.
    pub fn has_room_for(&self, user_id: &str) -> bool {
        self.0.len() < PEOPLE_MAX || self.0.contains_key(user_id)
    }

    /// What becomes of one who is signed out.
    pub fn signed_out(&self, user_id: &str) -> Person {
        let person = self.0.get(user_id).cloned().unwrap_or_default();
        Person {
            generation: person.generation + 1,
            good_from: person.generation + 1,
            role: None,
        }
    }

    /// What becomes of one who is given a role.
    pub fn given(&self, user_id: &str, role: Role, tracks: &[String]) -> Person {
        let person = self.0.get(user_id).cloned().unwrap_or_default();
        Person {
            generation: person.generation + 1,
            role: Some((role, tracks.to_vec())),
            ..person
        }
    }

    /// Puts what the host has said since above what a token says.
    pub fn judge(&self, claims: &mut Claims) -> Result<(), BadToken> {
        let Some(person) = self.0.get(&claims.user_id) else {
            return Ok(());
        };
        if claims.generation < person.good_from {
            return Err(BadToken::SignedOut);
        }
        if claims.generation < person.generation
            && let Some((role, tracks)) = &person.role
        {
            claims.role = *role;
            claims.tracks.clone_from(tracks);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Life;
    use super::*;

    fn ana(generation: u64) -> Claims {
        Claims {
            user_id: "ana".to_owned(),
            role: Role::Host,
            tracks: Vec::new(),
            life: Life {
                iat: None,
                exp: 1e9,
                made: None,
            },
            generation,
        }
    }

    fn role(people: &People, generation: u64) -> Result<Role, BadToken> {
        let mut claims = ana(generation);
        people.judge(&mut claims).map(|()| claims.role)
    }

    #[test]
    fn what_the_host_says_outweighs_older_tokens_and_newer_ones_outweigh_it() {
        let mut people = People::default();
        assert_eq!(role(&people, 0), Ok(Role::Host));
        people.put("ana".into(), people.given("ana", Role::Guest, &[]));
        assert_eq!(role(&people, 0), Ok(Role::Guest));
        assert_eq!(role(&people, people.generation("ana")), Ok(Role::Host));
        people.put("ana".into(), people.signed_out("ana"));
        assert_eq!(role(&people, 0), Err(BadToken::SignedOut));
        assert_eq!(role(&people, 1), Err(BadToken::SignedOut));
        assert_eq!(role(&people, people.generation("ana")), Ok(Role::Host));
        let again = people.given("ana", Role::Performer, &[]);
        people.put("ana".into(), again);
        assert_eq!(role(&people, 1), Err(BadToken::SignedOut), "for good");
        assert_eq!(role(&people, 2), Ok(Role::Performer));
    }
}
