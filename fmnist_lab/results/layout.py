"""Names of the files and folders that runs and sweeps leave on disk, below `mlruns/`.

A trial's folder:   result.json  curves.jsonl  environment.json  checkpoint.npz  .hydra/
A sweep's folder:   multirun.yaml  spaces.json  optimization_results.yaml  manifest.json
                    trials/<number>/  replicates/<number>/  searches/<number>/
                    report.html  trials.csv  curves.csv  comparison.csv
                    study.journal  sweep.log  workers.log
The root:           mlruns/{trials,multirun,sweeps}/  mlflow.db  artifacts/  test-openings.jsonl

A sweep's `mlflow.json` says which MLflow run is the sweep's; a trial's
`mlflow-<key>.unsent.jsonl` holds what MLflow has not received yet.
"""

from pathlib import Path

ROOT = Path("mlruns")
SWEEPS, MULTIRUN = "sweeps", "multirun"
MLFLOW_DATABASE, ARTIFACTS = "mlflow.db", "artifacts"
MLFLOW_RUN = "mlflow.json"

RESULT, CURVES, ENVIRONMENT = "result.json", "curves.jsonl", "environment.json"
HYDRA, CONFIG, OVERRIDES = ".hydra", "config.yaml", "overrides.yaml"

TRIALS, REPLICATES, SEARCHES = "trials", "replicates", "searches"
STAGES = {"trial": TRIALS, "replicate": REPLICATES}  # the kind of a run: its folder in the sweep
SWEEP_CONFIG, SPACES, SWEEP_RESULTS = "multirun.yaml", "spaces.json", "optimization_results.yaml"
MANIFEST, OPENINGS = "manifest.json", "test-openings.jsonl"
SWEEP_LOG, WORKERS_LOG = "sweep.log", "workers.log"

REPORT = "report.html"
TRIALS_CSV, CURVES_CSV, COMPARISON_CSV = "trials.csv", "curves.csv", "comparison.csv"
