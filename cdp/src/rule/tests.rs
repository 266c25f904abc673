mod cases;
mod explains;
mod forms;
pub(crate) mod naive;
mod property;
