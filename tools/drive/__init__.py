"""The drive loop's world: a road, its traffic, and the ego vehicle's trajectories."""
