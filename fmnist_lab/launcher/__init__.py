"""Runs Hydra jobs on Dask workers, one at a time on each.

In the controller `stream` gives each job to a worker and returns its result, and `cluster` finds or
starts the workers. `host` is the process that keeps a local cluster, `worker` the code inside a
worker. Nothing is imported here: Hydra looks at plugins before every
command, and Dask takes half a second.
"""
