"""The dock widget *Equivariance*."""
