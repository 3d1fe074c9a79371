use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn what_is_written_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/kubeconfig");
    let pem = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_vec();
    let mut access = Access::new("https://127.0.0.1:6443/", Credentials::Token("yes: \"#quoted".into())).trust(pem);
    access.namespace = Some("team".into());
    for credentials in [
        access.credentials.clone(),
        Credentials::None,
        Credentials::TokenFile("/var/run/token".into()),
        Credentials::Certificate { chain: b"chain".to_vec(), key: b"key".to_vec() },
    ] {
        access.credentials = credentials;
        Kubeconfig::new("true", &access).write(&path).await.unwrap();
        let read = Kubeconfig::read(&path).await.unwrap();
        assert_eq!(read.access(None).await.unwrap(), access);
        assert_eq!(read.contexts().collect::<Vec<_>>(), ["true"]);
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
}

const OF_KUBECTL: &str = "
apiVersion: v1
kind: Config
preferences: {}
current-context: two
clusters:
- name: files
  cluster:
    server: https://one:6443/
    certificate-authority: pki/ca.crt
- name: insecure
  cluster:
    server: https://two
    insecure-skip-tls-verify: true
    tls-server-name: other
contexts:
- name: one
  context: {cluster: files, user: certificate, namespace: ns}
- name: two
  context: {cluster: insecure, user: token}
- name: plugin
  context: {cluster: insecure, user: plugin}
- name: nobody
  context: {cluster: insecure, user: nobody}
- name: nowhere
  context: {cluster: nowhere, user: token}
users:
- name: certificate
  user: {client-certificate: pki/me.crt, client-key: pki/me.key}
- name: token
  user: {token: abc}
- name: plugin
  user: {exec: {command: aws}}
";

#[tokio::test]
async fn what_others_have_written_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    std::fs::write(&path, OF_KUBECTL).unwrap();
    std::fs::create_dir(directory.path().join("pki")).unwrap();
    for file in ["ca.crt", "me.crt", "me.key"] {
        std::fs::write(directory.path().join("pki").join(file), file).unwrap();
    }
    let config = Kubeconfig::read(&path).await.unwrap();
    let two = config.access(None).await.unwrap();
    assert_eq!(
        (two.server.as_str(), two.insecure, two.credentials),
        ("https://two", true, Credentials::Token("abc".into()))
    );
    assert_eq!(two.tls_server_name.as_deref(), Some("other"));
    let one = config.access(Some("one")).await.unwrap();
    assert_eq!((one.server.as_str(), &one.authority[..]), ("https://one:6443", &b"ca.crt"[..]));
    assert_eq!(one.credentials, Credentials::Certificate { chain: b"me.crt".to_vec(), key: b"me.key".to_vec() });
    assert_eq!(one.namespace.as_deref(), Some("ns"));
    for (context, named) in [
        ("plugin", "exec is not supported"),
        ("nobody", "there is no user \"nobody\""),
        ("nowhere", "there is no cluster \"nowhere\""),
        ("three", "there is no context \"three\""),
    ] {
        let error = config.access(Some(context)).await.unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("config"), "{error}");
    }
    std::fs::write(&path, "clusters: null\nusers: null\ncontexts: null\n").unwrap();
    assert_eq!(Kubeconfig::read(&path).await.unwrap().contexts().count(), 0);
    std::fs::write(&path, "clusters: [").unwrap();
    assert!(Kubeconfig::read(&path).await.is_err());
    assert!(Kubeconfig::read(&directory.path().join("missing")).await.unwrap_err().to_string().contains("missing"));
}
