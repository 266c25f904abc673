mod cases;
mod model;
