"""Models are made one at a time in a process.

While peft loads an adapter, every module of torch that anybody makes gets parameters without content (it replaces
`nn.Module.register_parameter` for a moment). While transformers makes a model, torch's default dtype is that model's. A
network that another thread made meanwhile would be empty or of the wrong dtype, with no more than a warning.
Whatever makes a module for sessions, or puts weights into one, holds `MODEL_LOAD_LOCK`; training has its process to
itself.
"""

import threading

MODEL_LOAD_LOCK = threading.RLock()
