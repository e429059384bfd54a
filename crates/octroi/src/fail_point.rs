//! Named places at which a hub that was built for it ends itself as `kill -9`
//! would: no destructor, no flush, no goodbye. The tests under fire
//! (`tests/tests/suite/fire.rs`) run the real binary, tell it by
//! `OCTROI_FAIL_POINT=name:n` to end at the n-th passage, and judge from
//! outside what became of its messages.
//!
//! Without the feature `fail-points`, which only those tests build with, every
//! call is an empty function, and no name is known.
//!
//! INVARIANT: each name of `POINTS` stands in exactly one call, and each call
//! names one of them (`suite::fire::each_fail_point_stands_in_one_place_of_the_sources`).

#[cfg(feature = "fail-points")]
mod armed;
#[cfg(feature = "fail-points")]
mod disk;

#[cfg(feature = "fail-points")]
pub use armed::{BadFailPoint, POINTS, arm, due, reached};
#[cfg(feature = "fail-points")]
pub use disk::disk;

/// This place is passed; at the passage that was asked for, it is the process's last.
#[cfg(not(feature = "fail-points"))]
#[inline]
pub const fn reached(_name: &str) {}

/// The same, and says whether this is the passage that was asked for: what happens then is the caller's.
#[cfg(not(feature = "fail-points"))]
#[inline]
#[must_use]
pub const fn due(_name: &str) -> bool {
    false
}

/// The disk of a journal or a side log.
#[cfg(not(feature = "fail-points"))]
#[must_use]
pub fn disk(disk: octroi_journal::RealDisk) -> std::sync::Arc<dyn octroi_journal::Disk> {
    std::sync::Arc::new(disk)
}
