mod concluded;
mod digests;
mod harness;
mod moving;
mod orders;
mod reading;
