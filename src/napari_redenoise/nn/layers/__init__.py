"""Groups, filters as Fourier series, and the layers made of them."""
