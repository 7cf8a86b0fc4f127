//! A small certificate authority in a folder, for those who have none.
//!
//! ```text
//! ca.crt  ca.key  ca.crl  issued.json      NAME.crt  NAME.key
//! ```
//!
//! Files are replaced whole and keys are their owner's alone. Every subject is distinct from the
//! authority's own: a leaf with the same name would look self-signed.
mod files;
mod issued;

pub use issued::{Issued, Status};

use crate::config::auth::{Kind, Name};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm,
};
use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};
use time::{Duration, OffsetDateTime};

/// Clocks differ: certificates are valid from so long ago.
const BACKDATED: Duration = Duration::minutes(5);
/// By when the next revocation list is promised.
const NEXT_UPDATE: Duration = Duration::days(30);

/// Why the authority did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is one already.
    #[error("{} is there already, and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// There is none.
    #[error("no authority in {}: `gateway pki init` makes one", .0.display())]
    Missing(PathBuf),
    /// A file cannot be read or written.
    #[error("{}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The list of what was issued is not one.
    #[error("{} is damaged: restore it from a copy", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Key and certificate cannot be made or read.
    #[error("certificates")]
    Certificate(#[from] rcgen::Error),
    /// No name that a certificate could have.
    #[error("{0:?}: expected a host name, a URI or an email address")]
    Name(String),
    /// A name that would not be a file's.
    #[error("{0:?} cannot be a file's name: choose one with --out")]
    FileName(String),
    /// Nothing of that name or serial number was issued, or it is revoked already.
    #[error("no valid certificate {0}: `gateway pki list` shows them")]
    Unknown(String),
    /// No random numbers.
    #[error("no random numbers from the kernel: {0}")]
    Random(getrandom::Error),
}

/// Which kind of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256, which everything speaks.
    #[default]
    P256,
    /// Ed25519.
    Ed25519,
}

impl Algorithm {
    fn generate(self) -> Result<KeyPair, Error> {
        let algorithm: &'static SignatureAlgorithm = match self {
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
        };
        Ok(KeyPair::generate_for(algorithm)?)
    }
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Who: a host name, a URI or an email address.
    pub name: String,
    /// Further host names and addresses, of a router.
    pub also: Vec<String>,
    /// Whether it is a router's.
    pub server: bool,
    /// For how long.
    pub valid: std::time::Duration,
    /// Its key.
    pub algorithm: Algorithm,
    /// What its files are called, without ending; none means the name.
    pub out: Option<String>,
}

/// Where a certificate lies, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// What was noted.
    pub issued: Issued,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// An authority in a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    _lock: files::Lock,
}

impl Authority {
    /// Makes an authority. Its certificate is valid for `valid`.
    ///
    /// # Errors
    /// [`Error::Exists`], and those of the system.
    pub fn init(
        folder: &Path,
        name: &str,
        valid: std::time::Duration,
        algorithm: Algorithm,
    ) -> Result<Self, Error> {
        let lock = files::Lock::take(folder)?;
        for file in ["ca.key", "ca.crt", "issued.json"].map(|name| folder.join(name)) {
            if file.exists() {
                return Err(Error::Exists(file));
            }
        }
        let key = algorithm.generate()?;
        let mut params = parameters(&format!("{name} CA {}", short(&serial()?)), valid)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        files::secret(&folder.join("ca.key"), &key.serialize_pem())?;
        files::public(&folder.join("ca.crt"), &certificate.pem())?;
        let authority = Self { folder: folder.to_owned(), _lock: lock };
        issued::save(&authority.folder, &[])?;
        authority.refresh()?;
        Ok(authority)
    }

    /// Opens an authority; one process at a time.
    ///
    /// # Errors
    /// [`Error::Missing`], and those of the system.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        if !folder.join("ca.key").exists() {
            return Err(Error::Missing(folder.to_owned()));
        }
        let lock = files::Lock::take(folder)?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// Issues a certificate with a key of its own.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Name`], and those of the system.
    pub fn issue(&self, order: &Order) -> Result<Delivered, Error> {
        let stem = files::stem(order.out.as_deref().unwrap_or(&order.name))?;
        let certificate = self.folder.join(format!("{stem}.crt"));
        let key_file = self.folder.join(format!("{stem}.key"));
        for file in [&certificate, &key_file] {
            if file.exists() {
                return Err(Error::Exists(file.clone()));
            }
        }
        let mut params = parameters(&order.name, order.valid)?;
        let names = core::iter::once(&order.name).chain(&order.also);
        params.subject_alt_names =
            names.map(|name| alternative(name, order.server)).collect::<Result<_, _>>()?;
        let serial = serial()?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let usage = if order.server {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        };
        params.extended_key_usages = vec![usage];
        let key = order.algorithm.generate()?;
        let signed = params.signed_by(&key, &self.issuer()?)?;
        let issued = Issued {
            serial: hex(&serial),
            name: order.name.clone(),
            server: order.server,
            expires: params.not_after.unix_timestamp(),
            revoked: None,
        };
        // noted before it exists: what was issued can be revoked
        let mut list = issued::load(&self.folder)?;
        list.push(issued.clone());
        issued::save(&self.folder, &list)?;
        files::secret(&key_file, &key.serialize_pem())?;
        files::public(&certificate, &signed.pem())?;
        self.refresh()?;
        Ok(Delivered { issued, certificate, key: key_file })
    }

    /// Revokes every valid certificate with this name, or the one with this serial number.
    ///
    /// # Errors
    /// [`Error::Unknown`], and those of the system.
    pub fn revoke(&self, which: &str) -> Result<Vec<Issued>, Error> {
        let mut list = issued::load(&self.folder)?;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let mut ended = Vec::new();
        for entry in &mut list {
            let meant = entry.name == which || entry.serial.eq_ignore_ascii_case(which);
            if meant && entry.revoked.is_none() {
                entry.revoked = Some(now);
                ended.push(entry.clone());
            }
        }
        if ended.is_empty() {
            return Err(Error::Unknown(which.to_owned()));
        }
        issued::save(&self.folder, &list)?;
        self.refresh()?;
        Ok(ended)
    }

    /// Everything that was issued, oldest first.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::File`].
    pub fn list(&self) -> Result<Vec<Issued>, Error> {
        issued::load(&self.folder)
    }

    /// Writes the revocation list anew, with a new promise for the next one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn refresh(&self) -> Result<PathBuf, Error> {
        let now = OffsetDateTime::now_utc();
        let at = |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(now);
        let mut revoked = Vec::new();
        for entry in issued::load(&self.folder)? {
            let Some(when) = entry.revoked else { continue };
            let serial =
                unhex(&entry.serial).ok_or_else(|| Error::Unknown(entry.serial.clone()))?;
            revoked.push(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial),
                revocation_time: at(when),
                reason_code: None,
                invalidity_date: None,
            });
        }
        // grows with time, as RFC 5280 §5.2.3 wants it to
        let number = u64::try_from(now.unix_timestamp_nanos() / 1_000).unwrap_or(0);
        let params = CertificateRevocationListParams {
            this_update: now - BACKDATED,
            next_update: now + NEXT_UPDATE,
            crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs: revoked,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let file = self.folder.join("ca.crl");
        files::public(&file, &params.signed_by(&self.issuer()?)?.pem()?)?;
        Ok(file)
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, Error> {
        let key = KeyPair::from_pem(&files::read(&self.folder.join("ca.key"))?)?;
        Ok(Issuer::from_ca_cert_pem(&files::read(&self.folder.join("ca.crt"))?, key)?)
    }
}

fn parameters(name: &str, valid: std::time::Duration) -> Result<CertificateParams, Error> {
    /// RFC 5280 §A.1: ub-common-name.
    const LONGEST: usize = 64;
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name.chars().take(LONGEST).collect::<String>());
    params.distinguished_name = subject;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    let valid = Duration::try_from(valid).unwrap_or(Duration::days(1));
    params.not_after = now.checked_add(valid).unwrap_or(now);
    Ok(params)
}

/// A name by its looks: an address (of a router), a URI, an email address, else a host name.
fn alternative(name: &str, server: bool) -> Result<SanType, Error> {
    let wrong = || Error::Name(name.to_owned());
    if let (true, Ok(address)) = (server, name.parse::<IpAddr>()) {
        return Ok(SanType::IpAddress(address));
    }
    let plain = Name::new(Kind::Uri, name).ok_or_else(wrong)?.text;
    let text = |text: String| text.try_into().map_err(|_| wrong());
    let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if plain.contains(':') {
        Ok(SanType::URI(text(plain)?))
    } else if plain.split('@').count() == 2 {
        Ok(SanType::Rfc822Name(text(plain)?))
    } else if plain.chars().all(host) && plain.parse::<IpAddr>().is_err() {
        Ok(SanType::DnsName(text(plain)?))
    } else {
        Err(wrong())
    }
}

/// 127 random bits, positive (RFC 5280 §4.1.2.2).
fn serial() -> Result<[u8; 16], Error> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(Error::Random)?;
    let [first, ..] = &mut serial;
    *first = *first & 0x7f | 0x40;
    Ok(serial)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn short(serial: &[u8; 16]) -> String {
    hex(serial).chars().take(8).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let pair = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(pair).collect())?
}

#[cfg(test)]
mod tests;
