"""The parts of the dock *Denoise*."""
