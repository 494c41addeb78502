"""The panel *Batch* of the dock *Denoise*."""
