//! Weeks on a virtual clock: a day's curve is never called rising, a leak is, and when the cap is reached is told.

mod leaks;
mod week;
mod world;
