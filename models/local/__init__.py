"""Local models: transformers vision-language models, with adapters, as LangChain chat models."""
