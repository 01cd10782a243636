//! Which tables are safe to replicate, from the start on and while a stream runs.

mod drift;
mod drift_functions;
mod drift_traffic;
mod landing;
mod privileges;
mod stage;
mod traffic;
