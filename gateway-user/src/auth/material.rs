//! Certificates, keys and revocation lists: from files to what TLS needs.
use super::presented::RevocationList;
use crate::{
    config::auth::{Https, StaleCrl},
    lease::Credential,
    tunnel::frame::ALPN,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime, pem::PemObject,
    },
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::TLS13,
};
use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

/// Why the files do not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("auth.https.{key}: cannot read {}: {source} (`gateway pki` makes one)", file.display())]
    Read {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file does not have what it should.
    #[error("auth.https.{key}: {}: {problem}", file.display())]
    Content {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The key is of a kind that the DTLS engine does not take.
    #[error(
        "auth.https.key: {}: for auth.dtls it must be an ECDSA key with P-256 or P-384 \
         (`gateway pki` makes one)", file.display()
    )]
    Kind {
        /// The file.
        file: PathBuf,
    },
    /// Others may read the key.
    #[error(
        "auth.https.key: {} may be read by others (mode {mode:o}): `chmod 600` it", file.display()
    )]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// What the files say.
#[derive(Debug)]
pub struct Material {
    /// For handshakes.
    pub config: Arc<ServerConfig>,
    /// The router's own certificate and its key, for handshakes over DTLS.
    pub(crate) own: dimpl::DtlsCertificate,
    /// Who is let in.
    verifier: Arc<dyn ClientCertVerifier>,
    /// Certificates that are revoked.
    pub revoked: HashSet<Credential>,
    /// A revocation list that is past its next update since then.
    pub stale: Option<SystemTime>,
}

impl Material {
    /// Reads all files.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(https: &Https) -> Result<Self, Error> {
        let chain = certificates("certificate", &https.certificate)?;
        let key = key(&https.key)?;
        let crls = match &https.crl {
            Some(file) => revocation_lists(file)?,
            None => Vec::new(),
        };
        let lists = read_lists(https, &crls)?;
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(roots(&https.client_ca)?);
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .with_crls(crls);
        if https.stale_crl == StaleCrl::Refuse {
            verifier = verifier.enforce_revocation_expiration();
        }
        let wrong = |key, file: &Path, problem: String| Error::Content {
            key,
            file: file.to_owned(),
            problem,
        };
        let own = dimpl::DtlsCertificate {
            certificate: chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default(),
            private_key: key.secret_der().to_vec(),
        };
        let verifier = verifier
            .build()
            .map_err(|error| wrong("client_ca", &https.client_ca, error.to_string()))?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| wrong("certificate", &https.certificate, error.to_string()))?;
        let mut config = builder
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_single_cert(chain, key)
            .map_err(|error| wrong("key", &https.key, error.to_string()))?;
        // a resumed session would not have its certificate held against the revocation list
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec(), ALPN.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            own,
            verifier,
            stale: lists.iter().filter_map(|list| list.next_update).min(),
            revoked: lists.into_iter().flat_map(|list| list.revoked).collect(),
        })
    }
}

impl Material {
    /// Whether a client's certificate is of one of the authorities, valid now and not revoked. It
    /// came without intermediate ones.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn verify(&self, der: &[u8]) -> Result<(), rustls::Error> {
        let leaf = CertificateDer::from(der);
        self.verifier.verify_client_cert(&leaf, &[], UnixTime::now()).map(drop)
    }
}

/// What is in force of the files, for all who serve clients with certificates.
#[derive(Clone, Default)]
pub struct Current(Arc<RwLock<Option<Arc<Material>>>>);

impl Current {
    /// What is in force; nothing while nobody may come with a certificate.
    pub(crate) fn material(&self) -> Option<Arc<Material>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts something else into force.
    pub(crate) fn set(&self, material: Option<Arc<Material>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = material;
    }
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |source| Error::Read { key, file: file.to_owned(), source };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(failed)?.collect();
    let found = found.map_err(failed)?;
    if found.is_empty() {
        let problem = "has no certificate in PEM".to_owned();
        return Err(Error::Content { key, file: file.to_owned(), problem });
    }
    Ok(found)
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let key = PrivateKeyDer::from_pem_file(file).map_err(|source| Error::Read {
        key: "key",
        file: file.to_owned(),
        source,
    })?;
    let mode = fs::metadata(file).map_or(0, |meta| meta.mode() & 0o7777);
    if mode & 0o007 != 0 {
        return Err(Error::Exposed { file: file.to_owned(), mode });
    }
    Ok(key)
}

fn roots(file: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client_ca", file)? {
        roots.add(certificate).map_err(|error| Error::Content {
            key: "client_ca",
            file: file.to_owned(),
            problem: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn revocation_lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let failed = |source| Error::Read { key: "crl", file: file.to_owned(), source };
    let found: Result<Vec<_>, _> =
        CertificateRevocationListDer::pem_file_iter(file).map_err(failed)?.collect();
    let found = found.map_err(failed)?;
    if found.is_empty() {
        let problem = "has no revocation list in PEM; \"\" is for none".to_owned();
        return Err(Error::Content { key: "crl", file: file.to_owned(), problem });
    }
    Ok(found)
}

fn read_lists(
    https: &Https,
    crls: &[CertificateRevocationListDer<'static>],
) -> Result<Vec<RevocationList>, Error> {
    let read = |crl: &CertificateRevocationListDer<'static>| {
        RevocationList::read(crl).map_err(|_| Error::Content {
            key: "crl",
            file: https.crl.clone().unwrap_or_default(),
            problem: "is no revocation list that can be read".to_owned(),
        })
    };
    crls.iter().map(read).collect()
}

/// What changes with the content of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(u64, i64, i64, u64)>>);

impl Stamp {
    /// The files as they are now.
    pub fn read(https: &Https) -> Self {
        let crl = https.crl.iter();
        let files = [&https.certificate, &https.key, &https.client_ca];
        let mark = |file: &PathBuf| {
            let meta = fs::metadata(file).ok()?;
            Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
        };
        Self(files.into_iter().chain(crl).map(mark).collect())
    }
}
