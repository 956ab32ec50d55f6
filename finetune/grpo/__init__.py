"""Group relative policy optimisation (GRPO) of what runs: the loop's own sessions, through TRL and peft."""
