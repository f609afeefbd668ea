"""What every stage runs on: parameters, Dask, Prefect, progress, and the record of a run."""
