//! Bad networks: loss, duplication, re-ordering, by seed.
