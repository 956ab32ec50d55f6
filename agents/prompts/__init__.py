"""What the roles are asked, as functions: training examples and inference call the same ones (rule 8)."""
