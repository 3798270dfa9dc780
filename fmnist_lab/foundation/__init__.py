"""What all other packages build on: files, checks of values, secrets, overrides."""
