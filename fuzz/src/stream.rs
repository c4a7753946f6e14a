//! Framing.

use bgp_proto::{SessionParams, UpdateView, frame};
use bytes::{Buf, BytesMut};

use crate::params;

/// A stream, received at once and in chunks whose lengths follow from a seed: the same frames, the same error.
pub fn framing(data: &[u8]) {
    let [octet, seed, stream @ ..] = data else { return };
    let params = params(*octet);
    // Fuzzers do not guess sixteen octets of ones: 0xfe stands for a marker, so that streams get past the header.
    let mut bytes = Vec::new();
    for &octet in stream {
        if octet == 0xfe { bytes.extend([0xff; 16]) } else { bytes.push(octet) }
    }
    let whole = frames(&params, core::iter::once(&bytes[..]));
    let mut state = u32::from(*seed) | 1;
    let mut rest = &bytes[..];
    let chunks = core::iter::from_fn(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let len = (state >> 24) as usize % 40 + 1;
        let (chunk, tail) = rest.split_at(len.min(rest.len()));
        rest = tail;
        (!chunk.is_empty()).then_some(chunk)
    });
    assert_eq!(whole, frames(&params, chunks));
}

/// The lengths of all messages of a stream, and how it ended: `None` for want of bytes, an error's text otherwise.
fn frames<'a>(
    params: &SessionParams,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> (Vec<usize>, Option<String>) {
    let mut buf = BytesMut::new();
    let mut lens = Vec::new();
    for chunk in chunks {
        buf.extend_from_slice(chunk);
        loop {
            match frame(&buf, params) {
                Ok(Some(found)) => {
                    let len = found.bytes.len();
                    assert!((19..=params.max_message_len()).contains(&len));
                    if let Ok(view) = UpdateView::parse(found.body()) {
                        assert!(view.attributes.len() <= len);
                    }
                    lens.push(len);
                    buf.advance(len);
                }
                Ok(None) => break,
                Err(error) => return (lens, Some(error.to_string())),
            }
        }
        assert!(
            buf.len() < params.max_message_len() + chunk.len(),
            "a partial message is shorter than the maximum"
        );
    }
    (lens, None)
}
