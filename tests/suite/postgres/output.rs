//! The output text of values.

use leadbridge::postgres::output::OUTPUT_IS_CAST;
use leadbridge::throwaway::Cluster;

use crate::testkit::template;

#[tokio::test]
async fn a_listed_type_has_its_listed_oid_and_no_function_that_casts_it_to_text() {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let client = cluster.connect("postgres").await.unwrap();
    // Without an entry the cast is the output function; method `b` takes the bytes as they are.
    let sql = "SELECT $1::text::regtype::oid, \
               NOT EXISTS (SELECT FROM pg_cast WHERE castsource = $2 AND casttarget = 'text'::regtype \
                 AND castmethod <> 'b')";
    for (oid, name) in OUTPUT_IS_CAST {
        let row = client.query_one(sql, &[&name, &oid]).await.unwrap();
        assert_eq!((row.get(0), row.get(1)), (oid, true), "{name}");
    }
}
