//! The end of the certificate that a server has shown last.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// No certificate has been seen.
const NONE: i64 = i64::MIN;

/// Seconds since 1970 until which the certificate is valid that the server has shown last. Clones share the value.
#[derive(Clone, Debug)]
pub struct CertificateEnd(Arc<AtomicI64>);

impl Default for CertificateEnd {
    fn default() -> Self {
        CertificateEnd(Arc::new(AtomicI64::new(NONE)))
    }
}

impl CertificateEnd {
    pub(super) fn saw(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    /// `None` before the first certificate.
    pub fn seconds(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds != NONE)
    }
}
