"""A loop under LangGraph's own development server, driven by its SDK, in an environment made for it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NEEDED = (
    "langgraph-cli[inmem]", "alembic", "gymnasium", "jinja2", "lemminflect", "llguidance", "nibabel", "numba", "openai",
    "pillow", "platformdirs", "psutil", "pydantic-settings", "pydicom", "pyyaml", "rich", "scipy", "sqlalchemy",
    "typer",
)  # fmt: skip
DRIVE = """
from langgraph_sdk import get_sync_client
client = get_sync_client(url="http://127.0.0.1:{port}")
thread = client.threads.create()["thread_id"]
settings = {{"configurable": {{"video": "simulated:2000038", "approval": "human", "clips": 2}}}}
client.runs.wait(thread, "surgery", input={{}}, config=settings)
while asked := [i for task in client.threads.get_state(thread)["tasks"] for i in task["interrupts"]]:
    print(asked[0]["value"]["action_requests"][0]["name"])
    client.runs.wait(thread, "surgery", command={{"resume": {{"decisions": [{{"type": "approve"}}]}}}})
print(client.threads.get_state(thread)["values"]["status"])
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_session_runs_interrupts_and_ends(tmp_path: Path, free_tcp_port: int) -> None:
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *NEEDED], check=True)
    folder = tmp_path / "server"
    shutil.copytree(ROOT / "examples" / "langgraph_server", folder)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "LOOPWRIGHT_DATA_DIR": str(tmp_path / "data")}
    command = [str(python.parent / "langgraph"), "dev", "--no-browser", "--no-reload", "--allow-blocking"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--port", str(free_tcp_port)], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + 60
        while b"Application started" not in (tmp_path / "log").read_bytes():
            assert time.monotonic() < until and server.poll() is None, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.2)
        drive = DRIVE.format(port=free_tcp_port)
        said = subprocess.run([python, "-c", drive], check=True, capture_output=True, text=True, timeout=120).stdout
    finally:
        server.terminate()
        server.wait(20)
    assert said.split() == ["record_plan", "succeeded"]
