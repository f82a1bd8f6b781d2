"""Reading other projects' files without running anything that is in them."""
