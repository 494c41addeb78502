"""Groups, Fourier-series filters, and equivariant layers."""
