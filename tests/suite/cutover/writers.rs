//! Live writers through a cutover: what was acknowledged is there, and they see a pause and one clear error.
