import threading
from pathlib import Path

import pytest

from loopwright.tools.files import write_whole


def test_a_reader_sees_one_content_or_the_other_and_nothing_is_left(tmp_path: Path) -> None:
    path, contents = tmp_path / "f", [b"a" * 500_000, b"b" * 500_000]
    write_whole(path, contents[0])

    def write() -> None:
        for i in range(20):
            write_whole(path, contents[i % 2])

    writer = threading.Thread(target=write)
    writer.start()
    seen = {path.read_bytes()}
    while writer.is_alive():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(contents)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "folder", b"new")
    with pytest.raises(OSError):
        write_whole(tmp_path / "nowhere" / "f", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
