"""Recorded and simulated gallbladder removals: labels, clips of one action, splits by patient, frames and the world."""
