"""How quickly a loop recalls its past as the past grows."""
