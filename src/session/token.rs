//! Tokens: JWT, signed by HMAC-SHA256 with the rig's secret and by nothing else. Pure; time is passed in.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use signature::{Signer, Verifier};

use super::clock::Life;
use super::role::Role;
use super::secret::Secret;
use crate::config::is_id;

/// Characters in a user's name.
pub const USER_MAX: usize = 128;
/// Tracks that a token may name.
pub const TRACKS_MAX: usize = 16;

/// What a token says.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// Who.
    pub user_id: String,
    /// As what.
    pub role: Role,
    /// A performer's.
    pub tracks: Vec<String>,
    /// How long.
    pub life: Life,
    /// How often the user had been signed out or given another role when it was made.
    pub generation: u64,
}

/// Why a token is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// It is the empty string.
    Empty,
    /// It is not a JWT, or one that is signed in another way.
    NotOurs,
    /// Its signature is not the rig's.
    Foreign,
    /// It is over.
    Expired,
    /// The user was signed out.
    SignedOut,
    /// A claim is not there.
    Missing(&'static str),
    /// A claim is not what it should be.
    Wrong(&'static str, &'static str),
    /// The rig has no secret, so no token is good.
    NoSecret,
}

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadToken::Empty => f.write_str("the token is empty"),
            BadToken::NotOurs => f.write_str("the token is not a JWT signed with HS256"),
            BadToken::Foreign => f.write_str(
                "the token was not signed by this rig, or everyone has been signed out since",
            ),
            BadToken::Expired => f.write_str("the token has expired; ask the host for a new one"),
            BadToken::SignedOut => {
                f.write_str("the host has signed you out; ask the host for a new token")
            }
            BadToken::Missing(claim) => write!(f, "the token has no claim \"{claim}\""),
            BadToken::Wrong(claim, wanted) => {
                write!(f, "the token's claim \"{claim}\" must be {wanted}")
            }
            BadToken::NoSecret => f.write_str("this rig has no secret to check tokens with"),
        }
    }
}

impl Claims {
    /// The token.
    pub fn sign(&self, secret: &Secret) -> String {
        install();
        let mut claims = json!({
            "sub": self.user_id, "role": self.role.name(), "exp": self.life.exp as u64,
        });
        if self.role == Role::Performer {
            claims["tracks"] = json!(self.tracks);
        }
        if let Some(iat) = self.life.iat {
            claims["iat"] = json!(iat as u64);
        }
        if let Some((boot, up)) = &self.life.made {
            claims["boot"] = json!(boot);
            claims["up"] = json!(up);
        }
        if self.generation > 0 {
            claims["gen"] = json!(self.generation);
        }
        let key = EncodingKey::from_secret(secret.bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
            .expect("JSON is signed by an HMAC, which cannot fail")
    }

    /// What a token says, if it is the rig's. Whether it is over is not looked at.
    pub fn read(token: &str, secret: &Secret) -> Result<Claims, BadToken> {
        install();
        if token.is_empty() {
            return Err(BadToken::Empty);
        }
        let mut only = Validation::new(Algorithm::HS256);
        // The library would ask the clock; see `clock.rs`. And it knows nothing of `userId`.
        only.required_spec_claims.clear();
        only.validate_exp = false;
        only.validate_aud = false;
        let key = DecodingKey::from_secret(secret.bytes());
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &only)
            .map_err(|error| bad(&error))?
            .claims;
        let user_id = match (claims.get("sub"), claims.get("userId")) {
            (Some(Value::String(id)), _) | (None, Some(Value::String(id))) => id.clone(),
            (None, None) => return Err(BadToken::Missing("sub")),
            _ => return Err(BadToken::Wrong("sub", "a string")),
        };
        if !is_name(&user_id) {
            let wanted = "1 to 128 printable characters";
            return Err(BadToken::Wrong("sub", wanted));
        }
        let number = |claim| match claims.get(claim) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(_) => Err(BadToken::Wrong(claim, "a number of seconds")),
        };
        let role = match claims.get("role") {
            None => return Err(BadToken::Missing("role")),
            Some(role) => role.as_str().and_then(Role::from_name),
        };
        let tracks = match claims.get("tracks") {
            None => Some(Vec::new()),
            Some(list) => serde_json::from_value::<Vec<String>>(list.clone()).ok(),
        };
        let boot = claims.get("boot").and_then(Value::as_str);
        Ok(Claims {
            user_id,
            role: role.ok_or(BadToken::Wrong("role", "host, performer, guest or display"))?,
            tracks: tracks
                .filter(|tracks| is_tracks(tracks))
                .ok_or(BadToken::Wrong("tracks", "a list of at most 16 track ids"))?,
            life: Life {
                iat: number("iat")?,
                exp: number("exp")?.ok_or(BadToken::Missing("exp"))?,
                made: boot.map(str::to_owned).zip(number("up")?),
            },
            generation: claims.get("gen").and_then(Value::as_u64).unwrap_or(0),
        })
    }
}

/// Whether somebody can be called so.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().count() <= USER_MAX && !name.chars().any(char::is_control)
}

/// Whether these can be a performer's tracks.
pub fn is_tracks(tracks: &[String]) -> bool {
    tracks.len() <= TRACKS_MAX && tracks.iter().all(|track| is_id(track))
}

fn bad(error: &Error) -> BadToken {
    match error.kind() {
        ErrorKind::InvalidSignature => BadToken::Foreign,
        _ => BadToken::NotOurs,
    }
}

/// The library's cryptography is its user's to choose: HMAC-SHA256, so that nothing else can even be
/// tried.
static HS256: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Mac256::new(*algorithm, key.as_bytes())?)),
    verifier_factory: |algorithm, key| {
        Ok(Box::new(Mac256::new(*algorithm, key.try_get_as_bytes()?)?))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

fn install() {
    // Whoever was first has installed the same.
    let _ = HS256.install_default();
}

struct Mac256(Hmac<Sha256>);

impl Mac256 {
    fn new(algorithm: Algorithm, key: &[u8]) -> Result<Mac256, Error> {
        match (algorithm, Hmac::new_from_slice(key)) {
            (Algorithm::HS256, Ok(mac)) => Ok(Mac256(mac)),
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        }
    }
}

impl Signer<Vec<u8>> for Mac256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let mac = self.0.clone().chain_update(message);
        Ok(mac.finalize().into_bytes().to_vec())
    }
}

impl JwtSigner for Mac256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl Verifier<Vec<u8>> for Mac256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let mac = self.0.clone().chain_update(message);
        // In a time that tells nothing of where they differ.
        mac.verify_slice(signature)
            .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Mac256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn life() -> Life {
        Life {
            iat: Some(1000.0),
            exp: 2000.0,
            made: Some(("boot".to_owned(), 12.5)),
        }
    }

    fn ana() -> Claims {
        Claims {
            user_id: "ana".to_owned(),
            role: Role::Performer,
            tracks: vec!["mic1".to_owned()],
            life: life(),
            generation: 3,
        }
    }

    fn signed(claims: &Value, secret: &Secret) -> String {
        install();
        let key = EncodingKey::from_secret(secret.bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
    }

    #[test]
    fn a_token_says_what_it_was_made_to_say() {
        let secret = Secret::random().unwrap();
        assert_eq!(Claims::read(&ana().sign(&secret), &secret), Ok(ana()));
        let other = Secret::random().unwrap();
        let read = Claims::read(&ana().sign(&other), &secret);
        assert_eq!(read, Err(BadToken::Foreign));
    }

    #[test]
    fn it_is_the_token_that_every_library_makes() {
        let secret = Secret::random().unwrap();
        let token = ana().sign(&secret);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mac = secret.mac().chain_update(signed.as_bytes());
        let mut ours = Vec::new();
        for byte in mac.finalize().into_bytes() {
            ours.push(byte);
        }
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = ours
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
        let bits: Vec<u8> = bits.chain([0, 0]).collect();
        let text: String = bits
            .chunks(6)
            .map(|six| char::from(digits[six.iter().fold(0, |n, bit| n * 2 + usize::from(*bit))]))
            .collect();
        assert_eq!(signature, text);
        assert!(token.starts_with("eyJ"));
    }

    #[test]
    fn nothing_but_hs256_is_taken() {
        let secret = Secret::random().unwrap();
        // {"alg":"none"}, {"alg":"HS384"}, {"alg":"RS256"}, {"alg":5}, {}
        for header in [
            "eyJhbGciOiJub25lIn0",
            "eyJhbGciOiJIUzM4NCJ9",
            "eyJhbGciOiJSUzI1NiJ9",
            "eyJhbGciOjV9",
            "e30",
        ] {
            let token = ana().sign(&secret);
            let rest = token.split_once('.').unwrap().1;
            let (body, signature) = rest.split_once('.').unwrap();
            for token in [
                format!("{header}.{body}.{signature}"),
                format!("{header}.{body}."),
                format!("{header}.{body}"),
            ] {
                assert_eq!(
                    Claims::read(&token, &secret),
                    Err(BadToken::NotOurs),
                    "{token}"
                );
            }
        }
        assert_eq!(Claims::read("", &secret), Err(BadToken::Empty));
        assert_eq!(Claims::read("a.b.c", &secret), Err(BadToken::NotOurs));
        assert_eq!(Claims::read("☃.☃.☃", &secret), Err(BadToken::NotOurs));
    }

    #[test]
    fn claims_of_the_wrong_kind_are_named() {
        let secret = Secret::random().unwrap();
        let whole = json!({"sub": "ana", "role": "guest", "exp": 2000});
        let read = |claims: &Value| Claims::read(&signed(claims, &secret), &secret);
        assert_eq!(read(&whole).unwrap().role, Role::Guest);
        let with = |claim: &str, value: Value| {
            let mut claims = whole.clone();
            claims[claim] = value;
            read(&claims)
        };
        let without = |claim: &str| {
            let mut claims = whole.clone();
            claims.as_object_mut().unwrap().remove(claim);
            read(&claims)
        };
        for claim in ["sub", "role", "exp"] {
            assert_eq!(without(claim), Err(BadToken::Missing(claim)));
        }
        for (claim, value) in [
            ("sub", json!(5)),
            ("sub", json!("")),
            ("sub", json!("a\nb")),
            ("sub", json!("x".repeat(129))),
            ("role", json!("king")),
            ("role", json!("nobody")),
            ("role", json!(null)),
            ("exp", json!("2000")),
            ("exp", json!(null)),
            ("iat", json!([])),
            ("tracks", json!("mic1")),
            ("tracks", json!(["a:b"])),
            ("tracks", json!(vec!["a"; 17])),
        ] {
            let read = with(claim, value.clone());
            assert!(
                matches!(read, Err(BadToken::Wrong(named, _)) if named == claim),
                "{claim} {value}: {read:?}"
            );
        }
        let mut old = whole.clone();
        old["userId"] = json!("ben");
        assert_eq!(read(&old).unwrap().user_id, "ana");
        old.as_object_mut().unwrap().remove("sub");
        assert_eq!(read(&old).unwrap().user_id, "ben");
    }

    proptest! {
        #[test]
        fn no_text_is_a_token_and_none_is_too_strange(text in ".{0,200}") {
            let secret = Secret::random().unwrap();
            prop_assert!(Claims::read(&text, &secret).is_err());
        }

        #[test]
        fn a_token_that_was_touched_anywhere_is_not_ours(at in 0usize..400, flip in 1u8..128) {
            let secret = Secret::random().unwrap();
            let mut bytes = ana().sign(&secret).into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            if let Ok(token) = String::from_utf8(bytes) {
                // The last digit of a signature has two bits that stand for nothing.
                if let Ok(read) = Claims::read(&token, &secret) {
                    prop_assert_eq!(read, ana());
                    prop_assert_eq!(at, token.len() - 1);
                }
            }
        }
    }
}
