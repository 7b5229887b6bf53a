//! TLS: the certificate of the settings, or one that the rig makes for itself and keeps.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::{config, keyfile};

/// In the state folder.
const CERT_FILE: &str = "tls-cert.pem";
const KEY_FILE: &str = "tls-key.pem";
/// A handshake must be done within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// What somebody hears who does not speak TLS here.
const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 57\r\n\
Connection: close\r\n\r\nThis rig speaks TLS on this port: use https:// or wss://\n";

/// A connection, encrypted or not. Boxed: without TLS nobody pays for it.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// What connections are encrypted with.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    /// SHA-256 of the certificate, as browsers show it.
    pub fingerprint: String,
}

/// Why there is no TLS.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read or written.
    File(PathBuf, String),
    /// They do not belong together, or are of a kind that is not known.
    Pair(String),
    /// One could not be made.
    Made(String),
}

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TlsError::File(path, error) => write!(
                f,
                "{} cannot be used for TLS: {error}; it must be PEM, and readable for rigd",
                path.display()
            ),
            TlsError::Pair(error) => write!(
                f,
                "the certificate and the key of [tls] cannot be used: {error}; are they a pair?"
            ),
            TlsError::Made(error) => write!(f, "no certificate could be made: {error}"),
        }
    }
}

impl Tls {
    /// By the settings; `None`: plain.
    pub fn open(settings: &config::Tls, state_dir: &Path) -> Result<Option<Tls>, TlsError> {
        match (&settings.cert, &settings.key) {
            (Some(cert), Some(key)) => Tls::load(cert, key).map(Some),
            _ if settings.self_signed => {
                let (cert, key) = (state_dir.join(CERT_FILE), state_dir.join(KEY_FILE));
                if !cert.exists() || !key.exists() {
                    make(&cert, &key)?;
                }
                Tls::load(&cert, &key).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn load(cert: &Path, key: &Path) -> Result<Tls, TlsError> {
        let unusable = |path: &Path, error: String| TlsError::File(path.to_owned(), error);
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect)
            .map_err(|error| unusable(cert, error.to_string()))?;
        let chain: Vec<CertificateDer<'static>> = chain;
        let Some(first) = chain.first() else {
            return Err(unusable(cert, "there is no certificate in it".to_owned()));
        };
        let fingerprint = fingerprint(first);
        // Nothing of a key is ever told.
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|_| unusable(key, "there is no private key in it".to_owned()))?;
        let pair = |error: tokio_rustls::rustls::Error| TlsError::Pair(error.to_string());
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(pair)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            fingerprint,
        })
    }

    /// The handshake. Who does not speak TLS is told so.
    pub async fn accept(&self, mut stream: TcpStream, peer: SocketAddr) -> Option<Stream> {
        let shake = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            if first[0] != HANDSHAKE {
                stream.write_all(PLAIN).await?;
                stream.shutdown().await?;
                return Err(io::Error::other("that is no TLS"));
            }
            self.acceptor.accept(stream).await
        };
        match timeout(HANDSHAKE_TIMEOUT, shake).await {
            Ok(Ok(stream)) => Some(Either::Right(Box::new(stream))),
            Ok(Err(error)) => {
                log::debug!("a TLS handshake of {peer} failed: {error}");
                None
            }
            Err(_) => None,
        }
    }
}

/// Makes a certificate for every name that this box may be called by, and keeps it with its key.
fn make(cert: &Path, key: &Path) -> Result<(), TlsError> {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().to_lowercase();
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    names.extend(["rig.local".to_owned(), format!("{host}.local"), host]);
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|error| TlsError::Made(error.to_string()))?;
    let write = |path: &Path, text: String| {
        keyfile::replace(path, text.as_bytes())
            .map_err(|error| TlsError::File(path.to_owned(), error.to_string()))
    };
    if let Some(folder) = cert.parent() {
        let unusable = |error: io::Error| TlsError::File(folder.to_owned(), error.to_string());
        fs::create_dir_all(folder).map_err(unusable)?;
    }
    // The key first: a certificate without its key would be of no use at the next start.
    write(key, made.signing_key.serialize_pem())?;
    write(cert, made.cert.pem())
}

fn fingerprint(cert: &CertificateDer<'_>) -> String {
    let hash = Sha256::digest(cert);
    let bytes: Vec<String> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_was_made_is_kept() {
        let folder = std::env::temp_dir().join(format!("rigd-tls-{}", uuid::Uuid::new_v4()));
        let settings = config::Tls {
            self_signed: true,
            ..config::Tls::default()
        };
        let first = Tls::open(&settings, &folder).unwrap().unwrap();
        let again = Tls::open(&settings, &folder).unwrap().unwrap();
        assert_eq!(first.fingerprint, again.fingerprint);
        fs::remove_dir_all(folder).unwrap();
        assert!(
            Tls::open(&config::Tls::default(), Path::new(""))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn the_sentence_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
