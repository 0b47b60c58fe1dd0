//! The console seen from the command line.
