"""Thresholds of the quality checks: value, unit and evidence.

Of a pair, values up to the first are good, and values up to the second are a caution. They were
chosen on the 21 real images of docs/quality-checks.md: means of many captures pass all checks.
"""

SHIFT = (0.5, 1.5)
"""Shift of the mean, in per cent of the grey-level range."""

LOCAL_SHIFT = (1.25, 2.5)
"""RMS of the same over squares of 32 x 32 pixels, minus the contribution of noise."""

EXCESS = (0.015, 0.06)
"""Autocorrelation of the residual minus that of the noise, mean of lags 1 and 2."""

SHARE = (1.2, 1.5)
"""Mean square of the residual over the variance of the noise."""

SHARE_LEFT = 0.7
"""The same, below which noise remains."""

UNCHANGED = 0.05
"""The same, below which the image is unchanged."""

CONTRAST = (1.25, 1.6)
"""Mean square of the residual over the variance of the noise, in the brightest or most structured
tenth over that in the other half."""

UNSUPPORTED = 0.2
"""Share of the contrast of a result (RMS, scales up to 32 pixels) that may be unsupported."""

ALTERNATING = 0.3
"""Autocorrelation at lag 1, negative, and at lag 2, of either sign, from which the residual is a
repeated pattern: a colour (Bayer) mosaic has -0.8 and 0.9, blurred white noise little at lag 2."""

CORRELATED = 0.1
"""Autocorrelation from which on noise counts as correlated."""

REMOVED = 0.5
"""Autocorrelation of the residual over that of the noise, below which correlated noise remains."""

LARGE_ERROR = 0.25
"""Two standard errors of the noise removed over its value, from which on it is not judged: its
thresholds differ by 0.3."""

LITTLE = 0.3
"""Noise removed below which the residual depends on the method rather than on the image."""

CLIPPED = 0.0005
"""Share of the pixels from which on an end of the scale counts as a clipping limit."""

OUTLIER = 6.0
"""Standard deviations to which residuals are limited: a single event (cosmic ray, hot pixel) must
not decide alone."""

FEWEST_PIXELS = 0.1
"""Smallest share of pixels that are neither clipped nor missing."""

FEWEST_CONTRASTED = 200
"""Smallest number of blocks of 8 x 8 pixels: a tenth of them is 20 blocks."""

SUPPORTED = 0.7
"""Correlation with the noise-free image from which on detail is supported: about half of its power
is then signal."""

LEAST_SNR = 0.15
"""Smallest signal power over noise power, which is known to a few per cent only."""

STANDARD_ERRORS = 3.0
"""Standard errors by which the signal power has to exceed 0."""

FEWEST_BLOCKS = 4
"""Smallest number of blocks for the power of a band."""

KNOWN = 0.95
"""Smallest share of the pixels of a block that are known and not clipped."""

FLICKER = (0.2, 1.0)
"""RMS over planes of the shift of their mean, minus the contribution of noise, in per cent of the
grey-level range."""

SMEARED_Z = 5.0
"""Local mean of a residual, in its standard deviations, from which on it is not noise."""

SMEARED = (0.001, 0.01)
"""Share of the pixels of a plane where neighbours shifted the brightness: a moving object of 5 x 5
pixels in a window of 256 x 256 is 0.0004."""
