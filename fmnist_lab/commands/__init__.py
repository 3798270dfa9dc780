"""What each `fmnist-lab X` does, a module for each command."""
