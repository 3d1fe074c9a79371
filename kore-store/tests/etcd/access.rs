//! TLS, users, and endpoints that are dead.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use kore_store::{Error, EtcdOptions, EtcdStore, Store, WatchRequest, Watched};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use crate::harness::{Etcd, connect, etcdctl, free_port};

/// An authority and what it signs.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn sign(&self, name: &str) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

fn write(directory: &Path, name: &str, content: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

async fn works(store: &EtcdStore) {
    let mut watch = store.watch(WatchRequest::key("k")).await.unwrap();
    let revision = store.put("k".into(), "v".into()).await.unwrap();
    let Some(Ok(Watched::Batch(batch))) = watch.next().await else { panic!("nothing was told") };
    assert_eq!(batch.revision, revision);
    assert_eq!(&store.get("k".into()).await.unwrap().unwrap().value[..], b"v");
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn both_sides_show_certificates() {
    let authority = Authority::new();
    let server = authority.sign("etcd.example");
    let files = tempfile::tempdir().unwrap();
    let path = |name, content: &str| write(files.path(), name, content).to_str().unwrap().to_owned();
    let (ca, certificate, key) =
        (path("ca", &authority.pem()), path("certificate", &server.certificate), path("key", &server.key));
    let etcd = Etcd::launch(
        1,
        "https",
        &["--client-cert-auth", "--trusted-ca-file", &ca, "--cert-file", &certificate, "--key-file", &key],
    );
    let client = authority.sign("client");
    let options = etcd.options().ca_pem(authority.pem()).server_name("etcd.example");
    let known = options.clone().client_pem(client.certificate, client.key);
    works(&connect(known.clone()).await).await;

    let patience = Duration::from_millis(500);
    let stranger = Authority::new();
    let other = stranger.sign("client");
    for (what, refused) in [
        ("no client certificate", options.clone()),
        ("a stranger's client certificate", options.clone().client_pem(other.certificate, other.key)),
        ("another name", known.clone().server_name("other.example")),
        ("another authority", known.clone().ca_pem(stranger.pem())),
    ] {
        let error = EtcdStore::connect(refused.request_timeout(patience)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{what}: {error}");
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_user_is_authenticated_again_when_the_token_is_forgotten() {
    // Tokens are forgotten after a second without use.
    let mut etcd = Etcd::start(1, &["--auth-token-ttl", "1"]).await;
    let endpoint = etcd.members[0].endpoint.clone();
    let anonymous = etcd.store().await;
    for command in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "small:secret"],
        &["role", "add", "own"],
        &["role", "grant-permission", "own", "--prefix=true", "readwrite", "own/"],
        &["role", "grant-permission", "own", "readwrite", "own0"],
        &["user", "grant-role", "small", "own"],
        &["auth", "enable"],
    ] {
        etcdctl(&endpoint, command);
    }

    let error = anonymous.get("k".into()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "nobody in particular: {error}");
    let wrong = EtcdStore::connect(etcd.options().user("root", "wrong")).await.unwrap_err();
    assert!(matches!(wrong, Error::Unavailable { .. }), "a wrong password: {wrong}");

    let root = connect(etcd.options().user("root", "secret")).await;
    works(&root).await;
    let mut watch = root.watch(WatchRequest::key("later")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    works(&root).await;
    // A restart forgets all tokens.
    etcd.members[0].kill();
    etcd.members[0].restart();
    works(&root).await;
    let revision = root.put("later".into(), "v".into()).await.unwrap();
    let Some(Ok(Watched::Batch(batch))) = watch.next().await else { panic!("the watch did not go on") };
    assert_eq!(batch.revision, revision);

    let small = connect(etcd.options().user("small", "secret")).await;
    let mut watch = small.watch(WatchRequest::prefix("own/")).await.unwrap();
    let revision = small.put("own/a".into(), "v".into()).await.unwrap();
    watch.request_progress();
    let Some(Ok(Watched::Batch(batch))) = watch.next().await else { panic!("nothing was told") };
    assert_eq!(batch.revision, revision);
    assert!(matches!(watch.next().await, Some(Ok(Watched::Progress(told))) if told >= revision));
    for refused in [
        small.put("other".into(), "v".into()).await.err(),
        small.get("other".into()).await.err(),
        small.watch(WatchRequest::prefix("other")).await.err(),
    ] {
        assert!(matches!(refused, Some(Error::Unavailable { .. })), "{refused:?}");
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn dead_endpoints_are_passed_over() {
    let etcd = Etcd::single().await;
    let dead = format!("http://127.0.0.1:{}", free_port());
    let living = etcd.members[0].endpoint.clone();
    works(&connect(EtcdOptions::new([dead.clone(), living])).await).await;

    let none = EtcdOptions::new([dead]).request_timeout(Duration::from_millis(500));
    let error = EtcdStore::connect(none).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    // An address that swallows everything.
    let silent = EtcdOptions::new(["http://192.0.2.1:2379"]).request_timeout(Duration::from_millis(500));
    let error = EtcdStore::connect(silent).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    for nonsense in ["127.0.0.1:2379", "ftp://127.0.0.1:2379", "http://"] {
        let error = EtcdStore::connect(EtcdOptions::new([nonsense])).await.unwrap_err();
        assert!(matches!(error, Error::InvalidRequest { .. }), "{nonsense}: {error}");
    }
}
