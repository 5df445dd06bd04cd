#!/usr/bin/env bash
# mlflow-skinny alone cannot write to MLflow's own default store, and the error speaks of something else.
#
# Guess before running: folders as stores may be retired by now; the default address, an SQLite file, works, or the error
# names SQLAlchemy as missing.
# Seen: creating a client for the default address raises
# UnsupportedModelRegistryStoreURIException ("Model registry functionality is unavailable"), although no model registry is
# asked for. A folder as address is refused too, with a MlflowException about a backend in maintenance mode. The package
# does not require SQLAlchemy and Alembic; with both installed the same lines write the run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check "mlflow-skinny==3.17.2"
cat > track.py <<'PY'
import sys
import mlflow

address = sys.argv[1] if len(sys.argv) > 1 else mlflow.get_tracking_uri()
try:
    client = mlflow.MlflowClient(tracking_uri=address)
    run = client.create_run(client.create_experiment("example"))
    client.log_metric(run.info.run_id, "loss", 1.0, step=1)
    print("written:", client.get_run(run.info.run_id).data.metrics)
except Exception as error:
    print(type(error).__name__, str(error).strip()[:100])
PY
env/bin/python -c "import mlflow; print('mlflow-skinny', mlflow.__version__, 'default address', mlflow.get_tracking_uri().split(':')[0])"
alone=$(env/bin/python track.py 2>/dev/null)
in_folder=$(env/bin/python track.py "file://$folder/store" 2>/dev/null)
env/bin/pip install --quiet --disable-pip-version-check "sqlalchemy==2.0.54" "alembic==1.20.1"
together=$(env/bin/python track.py 2>/dev/null)
printf 'alone, default address:  %s\nalone, a folder:         %s\nwith SQLAlchemy, Alembic: %s\n' "$alone" "$in_folder" "$together"
[[ $alone == UnsupportedModelRegistryStoreURIException* ]]
[[ $in_folder == MlflowException* ]]
[[ $together == "written: {'loss': 1.0}" ]]
