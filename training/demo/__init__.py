"""Everything once, from rendered clips to a scored animation, on one page."""

STAGES = (1, 2, 3)
MODALITIES = {"A": "sound", "V": "video", "A+V": "sound and video"}  # what drives an animation, as the paper abbreviates it
