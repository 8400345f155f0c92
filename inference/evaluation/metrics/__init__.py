"""What is measured of a pair. One metric a module; a metric names its columns, their direction and their source."""
