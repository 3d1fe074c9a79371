//! ServiceAccount.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::entry::{AGE, Entry, NAME, Title};
use crate::object::ResourceType;

pub(super) static SERVICE_ACCOUNT: Entry = Entry {
    short_names: &["sa"],
    has_status: false,
    subresources: &["token"],
    columns: &[NAME, Title("Secrets", "string", "How many secrets its pods may use.", 0), AGE],
    cells: |row| vec![row.name(), row.count("/secrets").into(), row.age()],
    ..Entry::of(ResourceType::of::<ServiceAccount>)
};
