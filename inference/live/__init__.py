"""Animation of what is happening now: frames of a camera, a stream or a file in, frames of the portrait out as they finish."""
