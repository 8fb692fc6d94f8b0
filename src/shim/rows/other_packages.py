"""Names and arguments that SciPy and librosa removed. They do not depend on the release of torch, so this is advice."""

from __future__ import annotations

from .row import advice


def _lost(module: str, names: str) -> tuple[str, ...]:
    """Return what Python, and librosa's own modules, say of names that a module has lost."""
    module = module.replace(".", r"\.")
    return (
        rf"cannot import name '({names})' from '{module}'",
        rf"[Mm]odule '{module}' has no attribute '({names})'",
        rf"No {module} attribute ({names})\b",
    )


advice(
    "scipy.misc",
    "SciPy removed its functions for images in 1.3. Read and write with imageio.imread and imageio.imwrite; resize "
    "with numpy.array(PIL.Image.fromarray(x).resize((width, height))). imresize and imsave also scaled the values to 0 "
    "to 255, so compare a few images. logsumexp, comb and factorial are in scipy.special.",
    _lost(
        "scipy.misc",
        "imread|imresize|imsave|imrotate|imshow|imfilter|toimage|fromimage|bytescale|logsumexp|comb|factorial?",
    ),
    works="<1.3",
    of="scipy",
)
advice(
    "scipy.linalg.pinv2",
    "SciPy 1.9 removed pinv2, which pinv replaces, and median_absolute_deviation, which median_abs_deviation(x, "
    "scale=1.4826) replaces.",
    (*_lost("scipy.linalg", "pinv2"), *_lost("scipy.stats", "median_absolute_deviation")),
    works="<1.9",
    of="scipy",
)
advice(
    "scipy.interp",
    "SciPy had NumPy's functions under its own name up to 1.11. Import them from numpy: numpy.interp, numpy.array. "
    "scipy.stats.binom_test is binomtest(...).pvalue.",
    (
        *_lost(
            "scipy", "interp|array|zeros|ones|arange|linspace|sqrt|exp|log|mean|std|sum|rand|randn|dot|pi|where|nan|inf"
        ),
        *_lost("scipy.stats", "binom_test"),
    ),
    works="<1.12",
    of="scipy",
)
advice(
    "scipy.signal.hann",
    "SciPy 1.13 removed the window functions from scipy.signal. Import them from scipy.signal.windows.",
    _lost(
        "scipy.signal",
        "hann|hamming|blackman|blackmanharris|bartlett|boxcar|kaiser|gaussian|tukey",
    ),
    works="<1.13",
    of="scipy",
)
advice(
    "scipy.integrate.trapz",
    "SciPy 1.14 renamed trapz to trapezoid, cumtrapz to cumulative_trapezoid and simps to simpson. It removed "
    "interp2d, whose error message has a guide, and the attributes A and H of sparse matrices: write toarray() and "
    "conj().T.",
    (
        *_lost("scipy.integrate", "trapz|cumtrapz|simps"),
        r"`interp2d` has been removed in SciPy 1\.14",
        r"'(?:csr|csc|coo|bsr|dia|dok|lil)_(?:matrix|array)' object has no attribute '[AH]'",
    ),
    works="<1.14",
    of="scipy",
)
advice(
    "scipy.signal.cwt",
    "SciPy 1.15 removed its wavelets (cwt, daub, morlet, ricker): use PyWavelets. It emptied scipy.misc: the example "
    "images are in scipy.datasets, and numdifftools computes derivatives.",
    (
        *_lost("scipy.signal", "cwt|daub|morlet|morlet2|ricker|cascade|qmf"),
        *_lost("scipy.misc", "face|ascent|electrocardiogram|derivative|central_diff_weights"),
    ),
    works="<1.15",
    of="scipy",
)
advice(
    "librosa.output",
    "librosa 0.8 removed librosa.output. Write sound with soundfile.write(path, y, sr).",
    (r"No module named 'librosa\.output'", *_lost("librosa", "output")),
    works="<0.8",
    of="librosa",
)
advice(
    "librosa.feature.rmse",
    "librosa renamed rmse to rms, logamplitude to power_to_db, ifgram to reassigned_spectrogram, waveplot to waveshow "
    "and util.example_audio_file to example.",
    _lost(
        r"librosa(?:.feature|.core|.display|.util)?", "rmse|logamplitude|ifgram|waveplot|example_audio_file|buf_to_int"
    ),
    works="<0.7",
    of="librosa",
)
advice(
    "librosa's arguments",
    "Since librosa 0.10, all arguments but the signal are given by name: librosa.filters.mel(sr=22050, n_fft=1024), "
    "librosa.resample(y, orig_sr=44100, target_sr=22050), librosa.load(path, sr=22050).",
    (
        r"\b(mel|melspectrogram)\(\) takes 0 positional arguments but \d+ (positional arguments )?.*\bgiven\b",
        r"\blibrosa\.[^\"]* \w+\(\) takes [01] positional arguments? but \d+ (positional arguments )?.*\bgiven\b",
    ),
    works="<0.10",
    of="librosa",
)
