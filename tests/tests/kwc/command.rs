//! The command as a process: exit codes, files, memory.
