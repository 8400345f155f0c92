"""Sources: one data set a module, found by `curation.discovery`. They name clips; they never download."""
