//! The log on a disk that forgets, fills up, fails and rots.

mod damage;
mod helpers;
mod keep;
mod power;
mod run;
