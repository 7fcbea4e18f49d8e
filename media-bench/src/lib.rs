//! Benchmarks of rotation and frame protection beside the peers.
