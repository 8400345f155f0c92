"""What a run costs at scale: a simulation of many workers, and GPU-hours and core-hours from measured speeds."""
