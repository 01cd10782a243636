//! Writing to Traffic.

mod copying;
mod imports;
mod indexes;
mod keys;
mod ownership;
mod pipelined_batch;
mod role_default;
mod unique;
