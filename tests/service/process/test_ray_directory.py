"""Ray's directories: ours are removed once their start has ended, nobody else's ever is."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.process.ray_directory import NotOurs, forget_sessions, ray_directory


def test_the_next_start_removes_what_ended(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with ray_directory(root) as ended:
        (ended / "session_1" / "logs").mkdir(parents=True)
    assert (ended / "session_1").is_dir()  # for whoever wants to know how it ended
    with ray_directory(root) as first, ray_directory(root) as second:
        assert not ended.exists()
        assert first.is_dir()  # it lives: the second start left it alone
        assert first != second
        assert root.stat().st_mode & 0o777 == 0o700
        assert first.stat().st_mode & 0o777 == 0o700


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    theirs = tmp_path / "ray" / "session_1"
    theirs.mkdir(parents=True)
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(theirs)
    with ray_directory(root):
        pass
    assert theirs.is_dir()
    assert (root / "link").is_symlink()


def test_a_link_in_place_of_our_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotOurs, match="root is not a directory of this user"), ray_directory(tmp_path / "root"):
        pass
    assert not list((tmp_path / "elsewhere").iterdir())


def test_of_one_start_the_last_session_is_kept(tmp_path: Path) -> None:
    for name in ("session_2026-01-01_1", "session_2026-01-02_1", "session_2026-01-03_1", "lock"):
        (tmp_path / name).mkdir()
    (tmp_path / "session_latest").symlink_to(tmp_path / "session_2026-01-03_1")
    forget_sessions(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"session_2026-01-03_1", "session_latest", "lock"}
