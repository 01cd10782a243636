//! Any bytes are a message or an error; and a message with a byte more is none.
#![no_main]

use bytes::Bytes;
use leadbridge::pgoutput::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if decode(Bytes::copy_from_slice(data)).is_ok() {
        let longer: Vec<u8> = data.iter().copied().chain([0]).collect();
        assert!(decode(longer.into()).is_err(), "a byte too many was accepted");
        assert!(
            decode(Bytes::copy_from_slice(&data[..data.len() - 1])).is_err(),
            "a cut message was accepted"
        );
    }
});
