"""What makes ours a Hydra application: how it is run, its job, its callback."""
