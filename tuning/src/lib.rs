//! Topology and placement plan.
