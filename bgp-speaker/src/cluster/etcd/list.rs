//! All keys under some prefixes, in pages, at one revision.

use super::connect::{EtcdError, EtcdOptions, in_time};
use crate::cluster::Entry;
use etcd_client::{GetOptions, KeyValue, KvClient};

/// Entries, and the revision at which they were read.
pub(super) async fn list(
    options: &EtcdOptions,
    kv: &mut KvClient,
    prefixes: &[String],
) -> Result<(Vec<Entry>, i64), EtcdError> {
    let mut entries = Vec::new();
    let mut revision = 0;
    for prefix in prefixes {
        let mut from = prefix.clone().into_bytes();
        let end = end_of(prefix);
        loop {
            let mut get = GetOptions::new().with_range(end.clone()).with_limit(options.page_size.into());
            if revision != 0 {
                get = get.with_revision(revision);
            }
            let mut page = in_time(options, kv.get(from.clone(), Some(get))).await?;
            if revision == 0 {
                revision = page.header().map_or(0, etcd_client::ResponseHeader::revision);
            }
            let has_more = page.more();
            let values = page.take_kvs();
            let Some(last) = values.last() else { break };
            from = last.key().to_vec();
            from.push(0);
            entries.extend(values.into_iter().filter_map(entry));
            if !has_more {
                break;
            }
        }
    }
    Ok((entries, revision))
}

/// A key with its value; one that is no text is nobody's that we know.
pub(super) fn entry(value: KeyValue) -> Option<Entry> {
    let revision = value.mod_revision();
    let is_gone = value.version() == 0;
    let (key, value) = value.into_key_value();
    let key = String::from_utf8(key).ok()?;
    Some(Entry { key, value: (!is_gone).then_some(value), revision })
}

/// The first key after all that start with a prefix.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // UTF-8 has no 0xff.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
