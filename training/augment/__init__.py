"""Changes to what drives: at random on the device, and offline variants (face swap, stylisation) of whole clips."""
