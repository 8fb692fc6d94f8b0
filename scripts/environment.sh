# Sourced by ./scripts/demo and ./scripts/test: makes the virtual environment, or finds the one that is there.
#
# PYTHON   the interpreter (python3)
# TORCH    a torch release other than the one in scripts/torch.txt; it gets an environment of its own
# Afterwards $python is the environment's interpreter.

set -eu
# Images of containers set it. Every process of the suite would then compile NumPy and shim anew: a second of each.
unset PYTHONDONTWRITEBYTECODE
checkout=$(cd "$(dirname "$0")/.." && pwd)
base=${PYTHON:-python3}
environment="$checkout/.venv${TORCH:+-$TORCH}"
python="$environment/bin/python"

if ! [ -x "$python" ]; then
    # A torch that this Python has already is used as it is.
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

# A torch built before NumPy 2 complains about it at every start.
case $("$python" -W ignore -c 'import torch; print(torch.__version__)' 2>/dev/null) in
    1.* | 2.[012].*) numpy='numpy<2' ;;
    *) numpy=numpy ;;
esac

# uv is faster, where it is there; but it does not see what an environment shares with its interpreter.
install() {
    if command -v uv >/dev/null && grep -q 'site-packages = false' "$environment/pyvenv.cfg"; then
        uv pip install --quiet --python "$python" "$numpy" "$@"
    else
        "$python" -m pip install --quiet --disable-pip-version-check "$numpy" "$@"
    fi
}
