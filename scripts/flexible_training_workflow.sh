#!/bin/sh
# Check a config, make sure that shim works here, and run the job under it.
#
#   scripts/flexible_training_workflow.sh [--fix --value V [--add-missing]] CONFIG [--] command...
#
# CONFIG is a file or a directory. Findings are reported and do not stop the job, which is guarded. The job is not started
# if a config cannot be read (exit code 2), or if doctor finds that it would not be guarded (doctor's exit code). Else the
# exit code is the job's. PYTHON names the interpreter, by default "python".
set -u

usage() {
    echo "usage: $0 [--fix --value V [--add-missing]] CONFIG [--] command..." >&2
    exit 2
}

python=${PYTHON:-python}
config=
fix=
value=
add=
while [ $# -gt 0 ]; do
    case $1 in
    --fix) fix=--fix ;;
    --add-missing) add=--add-missing ;;
    --value)
        [ $# -ge 2 ] || usage
        value=--value=$2
        shift
        ;;
    --value=*) value=$1 ;;
    -*) usage ;;
    *)
        config=$1
        shift
        break
        ;;
    esac
    shift
done
[ "${1-}" = -- ] && shift
[ -n "$config" ] && [ $# -gt 0 ] || usage

"$python" -m shim check ${fix:+"$fix"} ${value:+"$value"} ${add:+"$add"} -- "$config" >&2
checked=$?
if [ "$checked" -gt 1 ]; then
    echo "$0: the job was not started: $config could not be checked" >&2
    exit "$checked"
fi

"$python" -m shim doctor >&2
doctor=$?
if [ "$doctor" -ne 0 ]; then
    echo "$0: the job was not started: it would not be guarded here" >&2
    exit "$doctor"
fi

exec "$python" -m shim run "$@"
