"""Following, comparing and starting trainings: what the files of a run folder say, read as they grow."""
