//! Certificates and keys from PEM files, TLS 1.2 and 1.3 only. The cryptography is always that of aws-lc-rs, named
//! explicitly, so that no other provider can slip in as a default.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read a PEM {what} from '{path}'")]
    Pem {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    #[error("'{0}' holds no certificate")]
    NoCertificate(PathBuf),
    #[error("the key in '{key}' does not belong to the certificate in '{certificate}'")]
    KeyMismatch {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("certificate in '{path}' cannot be a trust anchor")]
    Anchor {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("TLS would not be in the FIPS module's approved mode; use the standard edition or report this")]
    NotApproved,
    #[error("'{0}' holds no list of revoked certificates in PEM")]
    NoList(PathBuf),
    #[error("certificates of clients cannot be verified")]
    Clients(#[source] rustls::server::VerifierBuilderError),
    #[error("TLS cannot be configured")]
    Configuration(#[source] rustls::Error),
}

/// Where a certificate chain and its key stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Which certificates of clients are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM file with the authorities that issue them.
    pub ca_file: PathBuf,
    /// PEM files with lists of what these have revoked. Where there is one, a certificate whose issuer has none is refused.
    pub crl_files: Vec<PathBuf>,
    /// Whether a client without one is turned away.
    pub required: bool,
}

/// TLS of a server, whose files can be loaded anew while it runs.
#[derive(Clone)]
pub struct ServerTls {
    files: TlsFiles,
    clients: Option<ClientCertificates>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl ServerTls {
    /// Loads certificate and key, and what clients are verified with.
    pub fn load(files: TlsFiles, clients: Option<ClientCertificates>) -> Result<Self, TlsError> {
        let current = Arc::new(RwLock::new(server_config(&files, clients.as_ref())?));
        Ok(Self { files, clients, current })
    }

    /// Loads all files anew for connections to come; sessions of before are not resumed, so that a list of revoked
    /// certificates counts at once. On an error the old ones stay in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let loaded = server_config(&self.files, self.clients.as_ref())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn server_config(files: &TlsFiles, clients: Option<&ClientCertificates>) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Configuration)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(client_verifier(clients)?),
    };
    let key = SingleCertAndKey::from(load_certified_key(files)?);
    let mut config = builder.with_cert_resolver(Arc::new(key));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    check_approved(config.fips())?;
    Ok(Arc::new(config))
}

fn client_verifier(clients: &ClientCertificates) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = Arc::new(roots(Some(&clients.ca_file))?);
    let mut lists = Vec::new();
    for path in &clients.crl_files {
        let failed = |source| TlsError::Pem { what: "list of revoked certificates", path: path.to_owned(), source };
        let before = lists.len();
        for list in CertificateRevocationListDer::pem_file_iter(path).map_err(failed)? {
            lists.push(list.map_err(failed)?);
        }
        if lists.len() == before {
            return Err(TlsError::NoList(path.to_owned()));
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider()).with_crls(lists);
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(TlsError::Clients)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The FIPS edition makes no connection outside the module's approved mode.
const fn check_approved(is_approved: bool) -> Result<(), TlsError> {
    if cfg!(feature = "fips") && !is_approved { Err(TlsError::NotApproved) } else { Ok(()) }
}

fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Pem { what: "certificate", path: path.to_owned(), source };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(certificates)
}

fn load_certified_key(files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = load_certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::Pem {
        what: "key",
        path: files.key.clone(),
        source,
    })?;
    CertifiedKey::from_der(chain, key, &provider()).map(Arc::new).map_err(|source| TlsError::KeyMismatch {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    })
}

/// TLS of a client that trusts the certificates in `ca_file`, or those of the system where none is named.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    client_config_of(ca_file, None)
}

/// The same, of a client that shows a certificate where it is asked for one.
pub(super) fn client_config_of(ca_file: Option<&Path>, client: Option<&TlsFiles>) -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Configuration)?
        .with_root_certificates(roots(ca_file)?);
    let config = match client {
        Some(files) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(load_certified_key(files)?))),
        None => config.with_no_client_auth(),
    };
    check_approved(config.fips())?;
    Ok(config)
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in load_certificates(path)? {
                roots.add(certificate).map_err(|source| TlsError::Anchor { path: path.to_owned(), source })?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "part of the system's certificates cannot be read");
            }
            roots.add_parsable_certificates(found.certs);
        }
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::http::{HeaderMap, Method, Request, Response, Version};

    use super::{ClientCertificates, ServerTls, TlsError, TlsFiles};
    use crate::http::client::{Client, ClientError, ClientSettings};
    use crate::http::listener::Listener;
    use crate::http::server::{Handler, RequestInfo, ServerSettings, serve};
    use crate::http::{Body, Incoming};
    use crate::sys::certificate::{SelfSigned, self_signed};
    use crate::sys::certificate_authority::Authority;
    use crate::sys::dir::{Create, Dir as _};
    use crate::sys::dir_real::RealDir;

    struct Tell;

    impl Handler for Tell {
        async fn handle(self: Arc<Self>, request: Request<Incoming>, _info: RequestInfo) -> Response<Body> {
            assert_eq!(request.version(), Version::HTTP_2);
            Response::new(Body::full("told"))
        }
    }

    fn files(folder: &tempfile::TempDir) -> TlsFiles {
        let dir = RealDir::open(folder.path()).unwrap();
        let made = self_signed("a test", None, "127.0.0.1:0".parse().unwrap()).unwrap();
        for (name, text) in [("c", made.certificate), ("k", made.key)] {
            let file = dir.open_write(name, Create::Missing).unwrap();
            file.set_len(0).unwrap();
            file.write_at(text.as_bytes(), 0).unwrap();
        }
        TlsFiles { certificate: folder.path().join("c"), key: folder.path().join("k") }
    }

    #[tokio::test]
    async fn only_a_trusted_certificate_is_spoken_to() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let tls = ServerTls::load(files.clone(), None).unwrap();
        tls.reload().unwrap();
        let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), Some(tls), false).await.unwrap();
        let port = listener.local_address().unwrap().port();
        let _server = tokio::spawn(serve(listener, Arc::new(Tell), ServerSettings::default(), std::future::pending()));
        let ask = async |ca_file| {
            let client = Client::new(ClientSettings { ca_file, ..ClientSettings::default() }).unwrap();
            let uri = format!("https://localhost:{port}/").parse().unwrap();
            client.fetch(Method::GET, uri, HeaderMap::new()).await
        };
        let answer = ask(Some(files.certificate)).await.unwrap();
        assert_eq!(answer.into_body().collect(10).await.unwrap(), "told");
        assert!(matches!(ask(None).await, Err(ClientError::Connect { .. })));
    }

    /// Says whom the server takes its client for.
    struct Names;

    impl Handler for Names {
        async fn handle(self: Arc<Self>, _request: Request<Incoming>, info: RequestInfo) -> Response<Body> {
            let names = info.certificate_names.map_or_else(|| "nobody".to_owned(), |names| names.join(" "));
            Response::new(Body::full(names))
        }
    }

    fn write(folder: &tempfile::TempDir, name: &str, text: &str) -> std::path::PathBuf {
        let dir = RealDir::open(folder.path()).unwrap();
        crate::sys::dir::replace(&dir, name, text.as_bytes()).unwrap();
        folder.path().join(name)
    }

    /// What the server answers a client that shows this certificate; none where there is no connection.
    async fn told(port: u16, ca_file: &std::path::Path, client: Option<&TlsFiles>) -> Option<String> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let config = super::client_config_of(Some(ca_file), client).unwrap();
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.rsplit_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    #[tokio::test]
    async fn clients_are_who_their_certificate_says_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let server = files(&folder);
        let (authority, stranger) = (Authority::new("site"), Authority::new("site"));
        let card = authority.issue(7, "DOE.JOHN.1234567890", &["upn:1234567890@MIL", "email:j@x.mil"]);
        let node = authority.issue(8, "node", &["dns:Node.example", "uri:spiffe://site/node"]);
        let forged = stranger.issue(9, "node", &["dns:node.example"]);
        let client = |name: &str, made: &SelfSigned| TlsFiles {
            certificate: write(&folder, &format!("{name}.pem"), &made.certificate),
            key: write(&folder, &format!("{name}.key"), &made.key),
        };
        let (card, node, forged) = (client("card", &card), client("node", &node), client("forged", &forged));
        let list = write(&folder, "list", &authority.revoked(&[99]));
        let clients = |required| ClientCertificates {
            ca_file: write(&folder, "ca", &authority.certificate),
            crl_files: vec![list.clone()],
            required,
        };
        for required in [false, true] {
            write(&folder, "list", &authority.revoked(&[99]));
            let tls = ServerTls::load(server.clone(), Some(clients(required))).unwrap();
            let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), Some(tls.clone()), false).await.unwrap();
            let port = listener.local_address().unwrap().port();
            let serving = serve(listener, Arc::new(Names), ServerSettings::default(), std::future::pending());
            let task = tokio::spawn(serving);
            let ask = async |client| told(port, &server.certificate, client).await;
            assert_eq!(ask(None).await.as_deref(), (!required).then_some("nobody"));
            assert_eq!(ask(Some(&card)).await.unwrap(), "upn:1234567890@mil email:j@x.mil edipi:1234567890");
            assert_eq!(ask(Some(&node)).await.unwrap(), "dns:node.example uri:spiffe://site/node");
            assert_eq!(ask(Some(&forged)).await, None, "of another authority with the same name");
            write(&folder, "list", &authority.revoked(&[7]));
            tls.reload().unwrap();
            assert_eq!(ask(Some(&card)).await, None, "revoked");
            assert!(ask(Some(&node)).await.is_some());
            // A list of somebody else revokes nothing, and without its own the authority is believed in nothing.
            write(&folder, "list", &Authority::new("other").revoked(&[]));
            tls.reload().unwrap();
            assert_eq!(ask(Some(&node)).await, None, "no list of its authority");
            write(&folder, "list", "nonsense");
            assert!(
                matches!(tls.reload(), Err(TlsError::NoList(_))),
                "a file without a list must not pass for an empty one"
            );
            assert_eq!(ask(Some(&node)).await, None, "what was loaded before stays");
            task.abort();
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mixed = TlsFiles { key: files(&other).key, ..files(&one) };
        assert!(matches!(ServerTls::load(mixed, None), Err(TlsError::KeyMismatch { .. })));
        let missing = TlsFiles { key: "/nowhere".into(), certificate: "/nowhere".into() };
        assert!(matches!(ServerTls::load(missing, None), Err(TlsError::Pem { .. })));
    }
}
