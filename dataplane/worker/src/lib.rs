//! One core's turn: ring, http, rings, vm and storage composed.
