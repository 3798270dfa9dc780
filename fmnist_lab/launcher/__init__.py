"""Runs Hydra jobs on Dask workers, one at a time on each.

`stream` in the controller places the jobs, `cluster` finds or starts the workers, `host` is the
process that keeps a local cluster, `job` is what happens inside a worker. Nothing is imported
here: Hydra looks at plugins before every command, and Dask takes half a second.
"""
