//! Who asks for a certificate is who is asking.

use async_trait::async_trait;
use serde_json::json;

use super::{Admission, Write};
use crate::error::Status;
use crate::request::Verb;

/// Notes in a new `CertificateSigningRequest` whose it is: name, uid, groups and the rest of what is known of the user. What the client
/// says of itself is overwritten: signers decide by it.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateRequester;

#[async_trait]
impl Admission for CertificateRequester {
    async fn mutate(&self, write: &mut Write<'_>) -> Result<(), Status> {
        let kind = (&*write.resource.group, &*write.resource.plural);
        if kind != ("certificates.k8s.io", "certificatesigningrequests") || write.verb != Verb::Create {
            return Ok(());
        }
        let user = write.user;
        let Some(spec) = write.object.get_mut("spec").and_then(serde_json::Value::as_object_mut) else {
            return Ok(());
        };
        for (field, value) in [
            ("username", json!(user.name)),
            ("uid", json!(user.uid)),
            ("groups", json!(user.groups)),
            ("extra", json!(user.extra)),
        ] {
            let nothing = value.as_str() == Some("")
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(serde_json::Map::is_empty);
            if nothing {
                spec.remove(field);
            } else {
                spec.insert(field.to_owned(), value);
            }
        }
        Ok(())
    }
}
