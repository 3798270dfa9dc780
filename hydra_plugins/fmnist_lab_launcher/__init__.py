"""A Hydra launcher on Dask distributed: `hydra/launcher=dask`."""
