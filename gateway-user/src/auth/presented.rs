//! What a client's certificate says about it. Its signature and validity were checked before.
use crate::{
    config::auth::{Kind, Name},
    lease::Credential,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _,
    revocation_list::CertificateRevocationList,
};

/// A client, as its certificate names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Subject alternative names: URIs, then DNS names, then email addresses.
    pub names: Vec<Name>,
    /// The certificate.
    pub credential: Credential,
    /// From when on it is no longer valid.
    pub ends: SystemTime,
}

/// The certificate cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate cannot be read")]
pub struct Malformed;

impl Presented {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(der: &[u8]) -> Result<Self, Malformed> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Malformed)?;
        let alternative = certificate.subject_alternative_name().map_err(|_| Malformed)?;
        let general = alternative.map(|extension| extension.value.general_names.as_slice());
        let mut names: Vec<Name> = general.into_iter().flatten().filter_map(name).collect();
        names.sort_by_key(|name| name.kind);
        // RFC 5280 §4.1.2.5: the last second is part of the validity
        let ends = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        Ok(Self {
            names,
            credential: Credential {
                issuer: certificate.issuer().to_string(),
                serial: certificate.serial.to_str_radix(16),
            },
            ends: UNIX_EPOCH + Duration::from_secs(ends.saturating_add(1)),
        })
    }
}

fn name(general: &GeneralName<'_>) -> Option<Name> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "another crate's list may grow")]
    match general {
        GeneralName::URI(text) => Name::new(Kind::Uri, text),
        GeneralName::DNSName(text) => Name::new(Kind::Dns, text),
        GeneralName::RFC822Name(text) => Name::new(Kind::Email, text),
        _ => None,
    }
}

/// A revocation list, as far as leases need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// The certificates that it names.
    pub revoked: Vec<Credential>,
    /// By when the next one was promised.
    pub next_update: Option<SystemTime>,
}

impl RevocationList {
    /// Reads a list in DER.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(der: &[u8]) -> Result<Self, Malformed> {
        let (_, list) = CertificateRevocationList::from_der(der).map_err(|_| Malformed)?;
        let issuer = list.issuer().to_string();
        let revoked = list.iter_revoked_certificates().map(|entry| Credential {
            issuer: issuer.clone(),
            serial: entry.user_certificate.to_str_radix(16),
        });
        let next = list.next_update().and_then(|time| u64::try_from(time.timestamp()).ok());
        Ok(Self {
            revoked: revoked.collect(),
            next_update: next.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_come_in_their_order_and_common_names_do_not_count() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["B.example".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "admin");
        let email = rcgen::SanType::Rfc822Name("ops@example".try_into().unwrap());
        let uri = rcgen::SanType::URI("urn:dev:ops:1".try_into().unwrap());
        params.subject_alt_names.extend([email, uri]);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0, 0xab, 1]));
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let read = Presented::read(params.self_signed(&key).unwrap().der()).unwrap();
        let texts: Vec<&str> = read.names.iter().map(|name| name.text.as_str()).collect();
        assert_eq!(texts, ["urn:dev:ops:1", "b.example", "ops@example"]);
        assert_eq!(read.credential.serial, "ab01");
        assert_eq!(read.ends, UNIX_EPOCH + Duration::from_secs(1_893_456_001));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = (Presented::read(&bytes), RevocationList::read(&bytes));
        }
    }
}
