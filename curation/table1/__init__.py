"""The paper's Table 1 beside ours: hours, facial resolution, lip sync and head angle a source, before and after filtering."""
