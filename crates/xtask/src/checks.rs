//! The checks, one file each. Each takes the tree and gives back what it found.

pub(crate) mod docs;
pub(crate) mod layers;
pub(crate) mod length;
pub(crate) mod machine;
pub(crate) mod manifests;
pub(crate) mod metrics;
pub(crate) mod purity;
