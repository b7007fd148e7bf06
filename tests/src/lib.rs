//! End-to-end suites: see the files in this folder.
