//! Serving processes, as people see them. `list` is all that can be done with them: a node comes and goes with its process.

mod list;
