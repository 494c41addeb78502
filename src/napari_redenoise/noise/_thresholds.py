"""Every threshold of the noise: its value, its unit, and what it rests on.

"Real" are the images of docs/benchmarks.md with white noise (W2S, FMD, Hagen), "blurred" the
references of these with Gaussian noise that was blurred by a Gaussian. Sizes of windows and blocks,
which decide nothing, stand where they are used.
"""

# What a report means.

SIGNIFICANT = 0.05
"""Correlation coefficient, or share of line offsets in the noise standard deviation, from which on
it counts: at lag 1 real images have -0.05 to 0.06, line offsets 0.06 and more."""

STANDARD_ERRORS = 4.0
"""Standard errors by which a correlation coefficient has to exceed 0: once in 16,000 by chance."""

ROUNDING = 1e-9
"""Noise standard deviation over the largest grey level that is rounding of the arithmetic."""

LARGE_MISFIT = 0.12
"""Relative distance of the variances from their line from which on it is no model of the noise:
real images have 0.01 to 0.03, after a square root up to 0.14, grass 0.14 to 0.41."""

LITTLE_LIGHT = 0.5
"""Share of the variance below which photon noise may be taken for Gaussian; photons alone would
make all of it."""

FEW_HOMOGENEOUS = 0.05
"""Share of homogeneous blocks below which structure is measured as noise: grass, gravel and
sections of tissue (ssTEM) have 0.02, real images 0.12 and more."""

STRONG_RESIDUAL = 1.1
"""RMS of the residual over the noise standard deviation from which on it holds more than the noise:
of real images it is 0.90 to 1.02."""

SMOOTH = 0.3
"""Correlation at lag 1 from which on the noise may be stronger than it was measured: blurred by 0.7
pixels it is 0.5, and the residual up to 1.1 times the noise; by a pixel 1.4 to 4 times."""

WHITE_RESIDUAL = 0.05
"""Correlation at lag 1 up to which a residual is white: of real images it is -0.08 to 0.05, of
noise blurred by half a pixel 0.19 and more."""

STRUCTURED_RESIDUAL = 0.03
"""Correlation at lag 1 of the residual beyond that of the noise from which on it holds structure:
of noise blurred by half a pixel the residual is correlated less than the noise."""

NEXT_ONLY = 0.4
"""Correlation at lag 2 over that at lag 1 up to which a denoiser tells smooth noise from structure:
blurred by up to 0.85 pixels it is at most 0.33, by 1.5 pixels up to 1.2."""

TOO_DARK = 0.002
"""Share of the pixels that are darker than an offset by chance: of Gaussian noise 0.0013 are
below three standard deviations."""

VERY_SMOOTH = 0.5
"""Correlation at lag 1 along both axes from which on noise cannot be told from structure without a
denoiser: blurred by 0.7 pixels it is 0.5, of sections of tissue (ssTEM) up to 0.65."""

CLIPPED = 0.0005
"""Share of the pixels at an end of the scale from which on it counts as one that cuts off."""

# Measuring.

CERTAIN_OFFSETS = 6.0
"""Standard errors by which line sums have to vary more than noise explains: structure along lines
makes them vary, too."""

OUTLIER = 4.0
"""Standard deviations at which a residual is cut off, and standard errors from which on a block is
left out: of Gaussian noise 6 in 100,000 are beyond."""

CUT_OFF = 0.01
"""Share of the pixels at the darkest level that may be cut off without changing the skewness."""

CORRECTED_CORRELATION = 0.1
"""Correlation coefficient from which on the variance is corrected for it; below, the correction
would rest on traces of structure."""

PILE_PIXELS, PILE_RATIO = 8, 2.0
"""Pixels, and times the median of the next three levels, from which on an end of the histogram is
a pile: tails thin out."""

CALM_SHARE = 0.3
"""Share of the blocks of a level, those with the least coarse detail, in which the line begins."""

LEAST_SHARE = 0.02
"""Share of the blocks that a line has to rest on; fewer are homogeneous by chance."""

STRUCTURE_ERRORS = 5.0
"""Standard errors beyond the line from which on a block's variance is that of structure."""

UNCERTAIN_SLOPE = 0.15
"""Standard error of the slope over the slope from which on the calmest blocks are tried instead."""

CLIPPED_LEVEL = 0.02
"""Share of the pixels of a level's blocks at an end of the scale from which on it is clipped."""

CUT_VARIANCE = 0.92
"""Variance of dark levels over that of the line, below which noise was cut off there."""

COUNTED_VARIANCE = 1.5
"""Variance of dark levels over that of single photons, up to which photons are counted."""

LEAST_FREE = 0.1
"""Share of the blocks that have to be free of clipping to say what is missing in the others."""

GROWTH_ERRORS = 2.0
"""Standard errors within which a slope is taken for none: once in 20 by chance."""

KNOWN_EXCESS = 0.25
"""Largest standard error of the excess, which is 1 for photons, with which skewness tells anything.
"""

SKEWED_ERRORS = 3.0
"""Standard errors within which the excess is that of photons that are all alike."""

GROWING_RESIDUAL = 0.3
"""Growth of the residual's variance over the levels, relative to its mean, from which on the noise
grows with the light; structure in the residual makes 0.24 of none."""

# Line offsets.

TAILS = (2.0, 98.0)
"""Percentiles at which a residual is cut off: a single bright pixel is no offset."""

KEPT_OFFSETS = 0.2
"""Share of the offsets of rows and columns that a denoiser takes for structure; of one, half."""

SMALL_OFFSETS = 1 / 6
"""Offsets over the standard error of a line's mean that are as good as none."""

LEAST_NOISE = 0.1
"""Share of the mean variance that is added to that around a pixel, so that no few pixels decide."""
