mod options;
mod talk;
