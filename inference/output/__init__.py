"""Where frames go: video files and folders of pictures, and back into the whole portrait."""
