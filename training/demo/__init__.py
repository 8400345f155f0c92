"""Everything once, from rendered clips to a scored animation, on one page."""
