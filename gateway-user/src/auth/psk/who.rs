//! How a client is to prove who it is, and who it then is.
use super::keys::{self, Keys};
use crate::{
    auth::{material::Material, presented::Presented},
    config::auth::Name,
    lease::{Credential, Way},
};
use core::fmt;
use dimpl::DtlsCertificate;
use rustls::{CertificateError, Error};
use std::{sync::Arc, time::SystemTime};

/// `TLS_PSK_WITH_AES_128_CCM_8` (RFC 6655): who offers it has a key.
pub(super) const KEYS: [u8; 2] = [0xc0, 0xa8];

/// By what a client is to prove who it is.
pub(super) enum Proof {
    /// A key.
    Key,
    /// A certificate, by what was in force of the router's files when it came.
    Certificate(Arc<Material>),
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The identity of a key.
    Key(String),
    /// Who a certificate names.
    Certificate(Presented),
}

impl Proof {
    /// What the router proves itself with, if not with the same key.
    pub(super) fn own(&self) -> Option<&DtlsCertificate> {
        match self {
            Self::Key => None,
            Self::Certificate(material) => Some(&material.own),
        }
    }

    /// Looks at a client's certificate. Whether it has the key is for the engine to find out.
    ///
    /// # Errors
    /// Why nobody is let in with it.
    pub(super) fn meet(&self, der: &[u8]) -> Result<Who, Error> {
        match self {
            Self::Key => Err(Error::General("a certificate in a handshake without".to_owned())),
            Self::Certificate(material) => {
                material.verify(der)?;
                let unreadable = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
                Presented::read(der).map(Who::Certificate).map_err(unreadable)
            }
        }
    }
}

impl Who {
    /// The names that are proved.
    pub(super) fn names(&self) -> Vec<Name> {
        match self {
            Self::Key(identity) => keys::names(identity),
            Self::Certificate(presented) => presented.names.clone(),
        }
    }

    /// What stands for the proof behind a lease; nothing if its key is gone.
    pub(super) fn credential(&self, keys: &Keys) -> Option<Credential> {
        match self {
            Self::Key(identity) => keys.credential(identity),
            Self::Certificate(presented) => Some(presented.credential.clone()),
        }
    }

    /// When the proof ends by itself.
    pub(super) const fn ends(&self) -> Option<SystemTime> {
        match self {
            Self::Key(_) => None,
            Self::Certificate(presented) => Some(presented.ends),
        }
    }

    /// How a lease for its address was asked for.
    pub(super) const fn way(&self) -> Way {
        match self {
            Self::Key(_) => Way::Psk,
            Self::Certificate(_) => Way::Certificate,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(identity) => out.write_str(identity),
            Self::Certificate(presented) => match presented.names.first() {
                Some(name) => out.write_str(&name.text),
                None => out.write_str("a certificate without names"),
            },
        }
    }
}
