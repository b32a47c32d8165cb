//! Property tests: no input, however broken, makes the front end panic.
