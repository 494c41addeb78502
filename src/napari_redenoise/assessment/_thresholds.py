"""Every threshold of the quality checks: its value, its unit, and what it rests on.

Of pairs the first is the bar up to which a figure is good, the second that up to which it is a
caution. They were chosen on the 21 real images of docs/quality-checks.md: means of many captures
pass all.
"""

SHIFT = (0.5, 1.5)
"""Shift of the mean, in per cent of the grey-level range."""

LOCAL_SHIFT = (1.25, 2.5)
"""The same over squares of 32 x 32 pixels, root mean square without what noise explains."""

EXCESS = (0.015, 0.06)
"""Correlation of the residual beyond that of the noise, mean of lags 1 and 2."""

SHARE = (1.2, 1.5)
"""Mean square of the residual over the variance of the noise."""

SHARE_LEFT = 0.7
"""The same, below which noise was left."""

UNCHANGED = 0.05
"""The same, below which nothing was done."""

CONTRAST = (1.25, 1.6)
"""Mean square of the residual over the variance of the noise, in the brightest or most structured
tenth over that in the other half."""

UNSUPPORTED = 0.2
"""Share of the contrast of a result (RMS, scales up to 32 pixels) that may be finer than what the
photons support."""

CORRELATED = 0.1
"""Correlation of the noise from which on it is worth speaking of."""

REMOVED = 0.5
"""Correlation of the residual over that of the noise, below which the correlated part stayed."""

LARGE_ERROR = 0.25
"""Two standard errors of the share removed over the share, from which on it cannot be judged: the
bars of the share are 0.3 apart."""

LITTLE = 0.3
"""Share removed below which the residual follows the method rather than the image."""

CLIPPED = 0.0005
"""Share of the pixels from which on an end of the scale counts as one that cuts off."""

OUTLIER = 6.0
"""Standard deviations beyond which are single events (cosmic rays, hot pixels): none may decide
alone."""

FEWEST_PIXELS = 0.1
"""Share of the pixels that have to be neither clipped nor missing to say anything of the others."""

FEWEST_CONTRASTED = 200
"""Blocks of 8 x 8 pixels below which a tenth of them tells too little: 20 blocks."""

SUPPORTED = 0.7
"""Correlation with the image without noise from which on detail is supported: about half of its
power is then that of the signal."""

LEAST_SNR = 0.15
"""Power of the signal over that of the noise, which itself is known to a few per cent only."""

STANDARD_ERRORS = 3.0
"""Standard errors by which the power of the signal has to exceed 0."""

FEWEST_BLOCKS = 4
"""Blocks of which the power of a band of scales is the mean."""

KNOWN = 0.95
"""Share of a block's pixels that have to be measured and not clipped."""
