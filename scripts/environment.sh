# Sourced by ./scripts/demo and ./scripts/test: makes the virtual environment, or finds an existing one.
#
# PYTHON   the interpreter (python3)
# TORCH    a torch release other than the one in scripts/torch.txt; it gets a separate environment
# Afterwards $python is the environment's interpreter.

set -eu
# Container images set PYTHONDONTWRITEBYTECODE, and every test process would compile NumPy and shim again, which takes a
# second each.
unset PYTHONDONTWRITEBYTECODE
checkout=$(cd "$(dirname "$0")/.." && pwd)
base=${PYTHON:-python3}
environment="$checkout/.venv${TORCH:+-$TORCH}"
python="$environment/bin/python"

if ! [ -x "$python" ]; then
    # If this Python already has torch, the environment uses that one.
    shared=
    if [ -z "${TORCH:-}" ] && (cd / && "$base" -c 'import torch') 2>/dev/null; then
        shared=--system-site-packages
    fi
    echo "making $environment with $("$base" --version 2>&1)" >&2
    "$base" -m venv $shared "$environment"
fi

if ! "$python" -c 'import torch' 2>/dev/null; then
    echo "installing torch (this takes a while, once)" >&2
    if [ -n "${TORCH:-}" ]; then
        "$python" -m pip install --quiet "torch==$TORCH"
    else
        "$python" -m pip install --quiet -r "$checkout/scripts/torch.txt"
    fi
fi

# A torch that was built before NumPy 2 prints a warning about it at every start.
case $("$python" -W ignore -c 'import torch; print(torch.__version__)' 2>/dev/null) in
    1.* | 2.[012].*) numpy='numpy<2' ;;
    *) numpy=numpy ;;
esac

# Use uv if it is installed, except in an environment that shares the packages of its interpreter: uv does not see them.
install() {
    if command -v uv >/dev/null && grep -q 'site-packages = false' "$environment/pyvenv.cfg"; then
        uv pip install --quiet --python "$python" "$numpy" "$@"
    else
        "$python" -m pip install --quiet --disable-pip-version-check "$numpy" "$@"
    fi
}
