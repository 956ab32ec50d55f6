"""The small base: a vision-language model of the Qwen2.5-VL architecture, trained on what our worlds show."""
