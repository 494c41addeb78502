"""Every threshold of the noise: its value, its unit, and its evidence.

"Real images" are those of docs/benchmarks.md with white noise (W2S, FMD, Hagen). "Blurred noise" is
Gaussian noise blurred by a Gaussian, added to their references. Sizes of windows and blocks, which
decide nothing, are where they are used.
"""

# Diagnosis.

SIGNIFICANT = 0.05
"""Correlation coefficient, or share of line offsets in the noise standard deviation, from which
it is significant: at lag 1 real images have -0.05 to 0.06, line offsets 0.06 and more."""

STANDARD_ERRORS = 4.0
"""Standard errors by which a correlation coefficient has to exceed 0: once in 16,000 by chance."""

ROUNDING = 1e-9
"""Noise standard deviation over the largest grey level up to which it is floating-point rounding.
"""

LARGE_MISFIT = 0.12
"""Relative distance of the variances from their line above which the line is no noise model:
real images have 0.01 to 0.03, after a square root up to 0.14, grass 0.14 to 0.41."""

SMALL_PHOTON_SHARE = 0.5
"""Share of photon noise in the variance below which the noise counts as Gaussian."""

FEW_HOMOGENEOUS = 0.05
"""Share of homogeneous blocks below which structure is measured as noise: grass, gravel and
sections of tissue (ssTEM) have 0.02, real images 0.12 and more."""

STRONG_RESIDUAL = 1.1
"""RMS of the residual over the noise standard deviation above which it holds more than noise: real
images have 0.90 to 1.02."""

SMOOTH = 0.3
"""Correlation at lag 1 from which the noise may be underestimated: noise blurred by 0.7 pixels has
0.5 and a residual up to 1.1 times the noise, by one pixel 1.4 to 4 times."""

WHITE_RESIDUAL = 0.05
"""Correlation at lag 1 up to which a residual is white: real images have -0.08 to 0.05, noise
blurred by half a pixel 0.19 and more."""

PATTERN = 0.4
"""Share of the residual's power in its strongest frequencies, 1 in 500, above which it holds a
repeated pattern. Fringes and lattices of 3 to 5 pixels, which the pretrained network weakens, have
0.41 to 0.95, colour (Bayer) mosaics 0.46 to 0.75 where it alters them. Real images have 0.01 to
0.13, smooth noise up to 0.17."""

STRUCTURED_RESIDUAL = 0.03
"""Correlation at lag 1 of the residual minus that of the noise, above which the residual holds
structure: the residual of noise blurred by half a pixel is less correlated than the noise."""

NEXT_ONLY = 0.4
"""Correlation at lag 2 over that at lag 1 up to which a denoiser tells smooth noise from structure:
noise blurred by up to 0.85 pixels has at most 0.33, by 1.5 pixels up to 1.2."""

TOO_DARK = 0.002
"""Share of the pixels that are darker than an offset by chance: 0.0013 of Gaussian noise is below
three standard deviations."""

VERY_SMOOTH = 0.5
"""Correlation at lag 1 along both axes above which noise cannot be told from structure without a
denoiser: noise blurred by 0.7 pixels has 0.5, sections of tissue (ssTEM) up to 0.65."""

KEPT_SMOOTH_NOISE = 0.6
"""Residual of a denoiser at half the size of the image, over the residual of the image that is
denoised at that size, below which the denoiser keeps smooth noise: images with white noise have
0.76 to 1.9, a page of text 0.65, noise blurred by 1.2 pixels and more 0.04 to 0.46."""

SURELY_SMOOTH = 0.7
"""Correlation at lag 1 along both axes from which noise is smooth, so that any of it that is kept
counts: noise blurred by 0.85 pixels has 0.69, images blurred by one pixel or enlarged twice 0.72 to
0.77. Of 26 of these, 24 gain 0.06 to 2.0 dB, two lose 0.07 and 0.20. At half the size, noise
blurred by 2 pixels has 0.73 to 0.81, where a second scale is worth 0.2 to 5 dB; by 1.25 pixels
0.55, where it costs up to 1 dB."""

MAX_SMOOTH_RESIDUAL = 1.5
"""The latter residual over the noise standard deviation at that size, above which it holds
structure: smooth noise has 0.3 to 1.5, pages, coins and bricks 2.5 to 7."""

MAX_LIKENESS = 0.15
"""Correlation of that residual with the denoised image above which it holds structure: smooth noise
has 0.04 to 0.13, sections of tissue (EM) 0.21, gravel 0.19. Much noise blurred by 2 pixels has 0.31
and is missed."""

MUCH_NOISE = 0.5
"""Standard deviation of that residual over that of the denoised image, above which this correlation
tells nothing: a scene has 0.18, 0.31 and 0.37 with 0.2, 0.7 and 2.0."""

CLIPPED = 0.0005
"""Share of the pixels at an end of the scale above which the pixels are clipped there."""

# Measurement.

CERTAIN_OFFSETS = 6.0
"""Standard errors by which line sums vary more than by noise: structure along lines makes them
vary, too."""

SHARED_OFFSETS = 0.4
"""Least excess of nine tenths of the line sums, as a share of that of all. Offsets of all lines
have 0.66 to 1.1. With the seam of a split view, or a straight edge one pixel sharp, it is 0 to
0.17: subtracted as an offset, such an edge cost up to 6 dB."""

FRINGES = 0.6
"""Share of the power of line sums in a tenth of the frequencies above which lines have a regular
pattern. Gratings of 2.5 to 3.3 pixels have 0.83 to 0.99 in 96 to 256 lines, stripes of 5 and 10
pixels 0.55 to 0.95, offsets drawn by chance 0.2 to 0.5."""

OUTLIER = 4.0
"""Standard deviations at which a residual is cut off, and standard errors above which a block is
left out: 6 in 100,000 values of Gaussian noise exceed it."""

CUT_OFF = 0.01
"""Share of the pixels that may be clipped at the darkest level without changing the skewness."""

CORRECTED_CORRELATION = 0.1
"""Correlation coefficient above which the variance is corrected for it; smaller ones are traces of
structure."""

PILE_PIXELS, PILE_RATIO = 8, 2.0
"""Pixels, and multiple of the median of the next three levels, from which an end of the histogram
is a pile: tails thin out."""

FLAT_SHARE = 0.3
"""Share of the blocks of a level, those with the least coarse detail, that the fit starts from."""

MIN_SHARE = 0.02
"""Smallest share of the blocks for a line; fewer are homogeneous by chance."""

STRUCTURE_ERRORS = 5.0
"""Standard errors above the line from which a block's variance is that of structure."""

UNCERTAIN_SLOPE = 0.15
"""Standard error of the slope over the slope above which the flattest blocks are tried instead."""

CLIPPED_LEVEL = 0.02
"""Share of the pixels of a level's blocks at an end of the scale above which it is clipped."""

CUT_VARIANCE = 0.92
"""Variance of dark levels over that of the line, below which noise is clipped there."""

COUNTED_VARIANCE = 1.5
"""Variance of dark levels over that of single photons, up to which photons are counted."""

MIN_FREE = 0.1
"""Smallest share of blocks without clipping that tells the variance missing in the others."""

GROWTH_ERRORS = 2.0
"""Standard errors within which a slope counts as 0: noise exceeds them once in 20 times."""

KNOWN_EXCESS = 0.25
"""Largest standard error of the excess, which is 1 for photons, for a useful skewness."""

SKEWED_ERRORS = 3.0
"""Standard errors within which the excess counts as 1, that of equal photons."""

GROWING_RESIDUAL = 0.3
"""Growth of the residual's variance over the levels, relative to its mean, above which the noise
depends on the signal; structure in the residual makes 0.24 without that."""

FEW_PHOTONS = 0.1
"""Photons in a pixel, in steps of the grey levels above the darkest level, below which the
pretrained network takes them for noise: it keeps 97 % of the light of 0.1, 58 % of 0.03 and 11 %
of 0.01. Sums of squares of pixels with more gain, on drawn cells and a photograph: 0.0 and 0.8 dB
at 0.1 photons (2 x 2), 1.5 and 7.0 dB at 0.03 (4 x 4), 7.9 and 11.3 dB at 0.01 (4 x 4)."""

LARGE_PART = 0.5
"""Share of the blocks with fewer photons than that, above which they are most of the image: a
quarter with 8 photons beside 0.02 hides them in the mean, and 6 % of their light is kept."""

# Stacks.

SHARED_NOISE = -0.38
"""Correlation of successive differences of planes, in the fine detail of flat blocks, above which
their noise is in part the same. 22 stacks with independent noise, of 2 to 3,000 photons, still,
drifting, moving, have -0.48 to -0.53; running means of 2 to 64 frames 0, a recursive filter -0.40
(0.8 of the new frame), -0.25 (0.5) and -0.10 (0.2), repeated planes 0, interpolated ones 0.25. A
scene of 10,000 photons that drifts by 0.2 and 0.5 pixels has -0.44 and -0.33."""

REPEATED = 0.25
"""Share of the pairs of successive planes that are equal, above which noise counts as shared: of
20 frames whose first ones are frozen, neighbours change the RMS error of all from 1.33 to 1.24
photons if 5 are (0.21), from 1.35 to 1.43 if 7 are (0.32), from 1.25 to 1.6 if 10 are."""

SHARED_BY_TWO = 0.4
"""Correlation of the fine detail of two planes above which they share noise: means of overlapping
pairs of frames have 0.5, 15 stacks of 2 to 3,000 photons -0.01 to 0.06."""

# Line offsets.

TAILS = (2.0, 98.0)
"""Percentiles at which a residual is cut off: a single bright pixel is no line offset."""

KEPT_OFFSETS = 0.2
"""Share of the offsets of rows and columns that a denoiser keeps as structure; half of one."""

SMALL_OFFSETS = 1 / 6
"""Offsets over the standard error of a line's mean that are negligible."""

MIN_NOISE = 0.1
"""Share of the mean variance that is added to the local one, so that few pixels do not dominate."""
