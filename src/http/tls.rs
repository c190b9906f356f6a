//! Certificates and keys from PEM files, TLS 1.2 and 1.3 only. The cryptography is always that of aws-lc-rs, named
//! explicitly, so that no other provider can slip in as a default.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
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
    #[error("TLS cannot be configured")]
    Configuration(#[source] rustls::Error),
}

/// Where a server's certificate chain and its key stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// TLS of a server, whose certificate can be loaded anew while it runs.
#[derive(Clone)]
pub struct ServerTls {
    files: TlsFiles,
    current: Arc<CurrentCertificate>,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Loads certificate and key.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = Arc::new(CurrentCertificate(RwLock::new(load_certified_key(&files)?)));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Configuration)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        check_approved(config.fips())?;
        Ok(Self { files, current, config: Arc::new(config) })
    }

    /// Loads certificate and key anew for connections to come. On an error the old ones stay in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let loaded = load_certified_key(&self.files)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.files).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
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

    use super::{ServerTls, TlsError, TlsFiles};
    use crate::http::client::{Client, ClientError, ClientSettings};
    use crate::http::listener::Listener;
    use crate::http::server::{Handler, RequestInfo, ServerSettings, serve};
    use crate::http::{Body, Incoming};
    use crate::sys::certificate::self_signed;
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
        let tls = ServerTls::load(files.clone()).unwrap();
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

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mixed = TlsFiles { key: files(&other).key, ..files(&one) };
        assert!(matches!(ServerTls::load(mixed), Err(TlsError::KeyMismatch { .. })));
        let missing = TlsFiles { key: "/nowhere".into(), certificate: "/nowhere".into() };
        assert!(matches!(ServerTls::load(missing), Err(TlsError::Pem { .. })));
    }
}
