mod cases;
mod forms;
pub(crate) mod naive;
mod property;
