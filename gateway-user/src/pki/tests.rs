//! What the authority issues, as TLS and the agent read it.
use super::*;
use crate::{
    auth::{
        material::Material,
        presented::{Presented, RevocationList},
    },
    config::Config,
};
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

fn order(name: &str) -> Order {
    Order {
        name: name.to_owned(),
        also: Vec::new(),
        server: false,
        valid: DAY,
        algorithm: Algorithm::P256,
        out: None,
    }
}

fn authority(folder: &Path) -> Authority {
    Authority::init(folder, "lab", DAY * 30, Algorithm::P256).unwrap()
}

fn der(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

fn revoked(folder: &Path) -> RevocationList {
    let der = CertificateRevocationListDer::from_pem_file(folder.join("ca.crl")).unwrap();
    RevocationList::read(&der).unwrap()
}

/// Whether a client with this certificate is let in.
fn verify(folder: &Path, certificate: &Path) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(der(&folder.join("ca.crt"))).unwrap();
    let crl = CertificateRevocationListDer::from_pem_file(folder.join("ca.crl")).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls([crl])
        .build()
        .unwrap();
    verifier.verify_client_cert(&der(certificate), &[], UnixTime::now()).map(drop)
}

#[test]
fn what_is_issued_is_let_in_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority(folder.path());
    for (name, algorithm) in
        [("pump-7.example", Algorithm::P256), ("urn:dev:ops:1", Algorithm::Ed25519)]
    {
        let made = authority.issue(&Order { algorithm, ..order(name) }).unwrap();
        let presented = Presented::read(&der(&made.certificate)).unwrap();
        assert_eq!(presented.names.first().map(|name| name.text.as_str()), Some(name));
        assert_eq!(presented.credential.serial, made.issued.serial);
        verify(folder.path(), &made.certificate).unwrap();
        assert!(!revoked(folder.path()).revoked.contains(&presented.credential));
        assert_eq!(authority.revoke(name).unwrap().len(), 1);
        assert!(revoked(folder.path()).revoked.contains(&presented.credential));
        let error = verify(folder.path(), &made.certificate).unwrap_err().to_string();
        assert!(error.contains("Revoked"), "{error}");
        assert!(matches!(authority.revoke(name), Err(Error::Unknown(_))));
    }
    assert_eq!(authority.list().unwrap().len(), 2);
}

#[test]
fn nothing_is_overwritten_and_keys_are_the_owners() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority(folder.path());
    let made = authority.issue(&order("pump")).unwrap();
    assert!(matches!(authority.issue(&order("pump")), Err(Error::Exists(_))));
    assert!(matches!(authority.issue(&order("../pump")), Err(Error::FileName(_))));
    assert!(matches!(authority.issue(&order("ca")), Err(Error::FileName(_))));
    for key in [made.key, folder.path().join("ca.key")] {
        assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    drop(authority);
    let again = Authority::init(folder.path(), "lab", DAY, Algorithm::P256);
    assert!(matches!(again, Err(Error::Exists(_))));
    assert_eq!(Authority::open(folder.path()).unwrap().list().unwrap().len(), 1);
}

#[test]
fn a_leaf_is_no_authority_and_has_a_subject_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let made = authority(folder.path()).issue(&order("lab")).unwrap();
    let (leaf, root) = (der(&made.certificate), der(&folder.path().join("ca.crt")));
    let parse = |der: &CertificateDer<'_>| {
        let (_, read) = x509_parser::parse_x509_certificate(der).unwrap();
        (read.subject().to_string(), read.issuer().to_string(), read.is_ca())
    };
    let ((subject, issuer, ca), (root, _, root_ca)) = (parse(&leaf), parse(&root));
    assert_ne!(subject, issuer);
    assert_eq!((issuer, ca, root_ca), (root, false, true));
}

#[test]
fn names_are_told_apart_by_their_looks() {
    let kind = |name: &str, server| {
        alternative(name, server).ok().map(|san| match san {
            SanType::URI(_) => "uri",
            SanType::DnsName(_) => "dns",
            SanType::Rfc822Name(_) => "email",
            SanType::IpAddress(_) => "address",
            SanType::OtherName(_) | _ => "other",
        })
    };
    assert_eq!(kind("urn:dev:ops:1", false), Some("uri"));
    assert_eq!(kind("ops@example", false), Some("email"));
    assert_eq!(kind("pump-7.example", false), Some("dns"));
    assert_eq!(kind("2001:db8::1", true), Some("address"));
    assert_eq!(kind("192.0.2.1", false), None);
    assert_eq!((kind("", false), kind("a b", false), kind("pump 7", true)), (None, None, None));
}

#[test]
fn the_agent_takes_a_routers_files() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority(folder.path());
    let router =
        Order { server: true, also: vec!["2001:db8:f::2".to_owned()], ..order("router.example") };
    let made = authority.issue(&router).unwrap();
    let text = format!(
        "[auth.https]\nlisten = [\"[::1]:4433\"]\ncertificate = {:?}\nkey = {:?}\nclient_ca = {:?}\ncrl = {:?}\n",
        made.certificate,
        made.key,
        folder.path().join("ca.crt"),
        folder.path().join("ca.crl"),
    );
    let https = Config::parse(&text, "-").unwrap().auth.https;
    let material = Material::load(&https).unwrap();
    assert!(material.stale.is_some_and(|next| next > std::time::SystemTime::now() + DAY));
    fs::set_permissions(&made.key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = Material::load(&https).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
    fs::write(folder.path().join("ca.crl"), "").unwrap();
    fs::set_permissions(&made.key, fs::Permissions::from_mode(0o600)).unwrap();
    let error = Material::load(&https).unwrap_err().to_string();
    assert!(error.starts_with("auth.https.crl: "), "{error}");
}
