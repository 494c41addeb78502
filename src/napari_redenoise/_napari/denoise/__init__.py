"""The dock widget *Denoise*."""
