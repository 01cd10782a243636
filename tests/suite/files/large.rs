//! Memory does not grow with the files: rows are read and written a few at a time.

use std::time::Duration;

use super::{directory, leads};
use crate::testkit::{Bridge, World, assert_equal, assert_peak, landing, said_with_peak};

/// Bound of the process's resident memory, in bytes. The measured build is not optimised.
const MEMORY: u64 = 96 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_of_a_hundred_kilobytes_are_exported_and_imported_in_bounded_memory() {
    let world = World::new().await;
    leads(&world, 1, 1000).await;
    let metadata = "UPDATE landing_leads SET metadata = jsonb_build_object('answers',
        (SELECT string_agg(md5(phone || ' ' || k), '') FROM generate_series(1, 3200) AS k))";
    landing(&world, metadata).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_bytes = \"256KiB\"");
    for format in ["csv", "jsonl"] {
        super::emptied(&world).await;
        let path = directory(&bridge, format);
        let path = path.to_str().unwrap();
        for arguments in [&["export", path, "--format", format][..], &["import", path, "--yes"]] {
            let (said, peak) = said_with_peak(bridge.command(arguments), Duration::from_secs(120)).await;
            assert_eq!(said.code, 0, "{}", said.err);
            assert_peak(peak, MEMORY);
        }
        let file =
            std::fs::metadata(directory(&bridge, format).join(format!("landing_leads.{format}"))).unwrap();
        assert!(file.len() > MEMORY, "the file alone would not fit");
    }
    assert_equal(&world).await;
}
