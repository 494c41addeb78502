"""The tabs of the dock *Denoise*, and what they consist of."""
