"""Files that are sent to the console: kept whole, named to the loop by their path, refused where they will not do."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.web.serving import MAX_FILE_MB, Api

VOLUME = "/loops/carm/files/volume"


def kept(api: Api) -> list[Path]:
    return sorted(path for path in (api.server.folder / "console" / "files").rglob("*") if path.is_file())


def pieces(n: int) -> Iterator[bytes]:
    yield from (b"x" * 100_000 for _ in range(n))


def test_a_file_is_kept_once_and_a_session_can_be_begun_with_it(api: Api) -> None:
    data = b"no volume" * 150_000  # more than a request without a file may carry
    said = [api.http.put(VOLUME, params={"name": "../../My CT ü.nii"}, content=data) for _ in range(2)]
    assert [answer.status_code for answer in said] == [201, 201]
    path = Path(said[0].json()["path"])
    assert said[0].json() == said[1].json()
    assert said[0].json()["sha256"] == hashlib.sha256(data).hexdigest()
    assert path.read_bytes() == data and path in kept(api)
    assert path.name == "_.._My_CT_.nii"
    body = {"loop": "carm", "config": {"volume": str(path), "start": "T12", "target": ["T1"]}}
    begun = api.http.post("/sessions", json=body)
    assert begun.status_code == 400 and "is not a NIfTI file" in begun.json()["error"]


@pytest.mark.parametrize(
    ("where", "name", "content", "status", "said"),
    [
        (VOLUME, "scan.exe", b"x", 415, "takes a file named *.nii or *.nii.gz, not 'scan.exe'"),
        (VOLUME, "scan.nii", b"", 400, "is empty"),
        (VOLUME, "long.nii", b"x" * (MAX_FILE_MB * 1_000_000 + 1), 413, f"more than {MAX_FILE_MB} MB"),
        (
            VOLUME,
            "long.nii.gz",
            pieces(MAX_FILE_MB * 10 + 1),
            413,
            f"more than {MAX_FILE_MB} MB",
        ),  # no length
        (VOLUME, "x" * 501, b"x", 422, "`name`"),
        ("/loops/carm/files/start", "a.nii", b"x", 404, "Settings that do: volume, landmarks"),
        ("/loops/gauge/files/room", "a.nii", b"x", 404, "Settings that do: none"),
        ("/loops/nobody/files/room", "a.nii", b"x", 404, "Unknown loop 'nobody'"),
    ],
)
def test_a_file_that_will_not_do_leaves_nothing(
    api: Api, where: str, name: str, content: bytes, status: int, said: str
) -> None:
    before = kept(api)
    answer = api.http.put(where, params={"name": name}, content=content)
    assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text
    assert kept(api) == before
