"""Data sets of conversations about pictures: ShareGPT and messages JSONL, read, written, checked and built."""
