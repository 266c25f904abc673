mod cases;
mod days;
mod explains;
mod forms;
pub(crate) mod naive;
mod property;
