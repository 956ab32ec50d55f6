"""Supervised fine-tuning: a LoRA adapter on any vision-language base, through TRL and peft."""
