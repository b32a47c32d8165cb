//! Errors for people: every kind, as it is printed.
