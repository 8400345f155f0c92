"""What a person asks for: one animation, a batch, a preview, or the app in the browser."""
