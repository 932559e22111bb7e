"""The seats of a process: few, and shared out between the urgent and between callers."""

from __future__ import annotations

import pytest

from broker.base import Priority
from broker.waiting import RoomFull, WaitingRoom, is_urgent, rank, urgent


def test_a_full_room_refuses_who_is_not_more_urgent() -> None:
    room = WaitingRoom(2)
    seats = [room.sit(Priority.ENTRY, "a") for _ in range(2)]
    for priority in (Priority.ENTRY, Priority.READ):
        with pytest.raises(RoomFull):
            room.sit(priority, "a")
    assert not any(seat.lost for seat in seats)
    room.leave(seats[0])
    room.sit(Priority.READ, "a")


def test_an_exit_takes_the_seat_of_the_least_urgent_and_newest() -> None:
    room = WaitingRoom(3)
    read, entry, late = (
        room.sit(priority, "a") for priority in (Priority.READ, Priority.ENTRY, Priority.ENTRY)
    )
    room.sit(Priority.EXIT, "a")
    assert (read.lost, entry.lost, late.lost) == (True, False, False)
    assert read.moved.is_set()
    room.sit(Priority.EXIT, "b")
    assert (entry.lost, late.lost) == (False, True)
    room.leave(read)  # whoever lost its seat gets up all the same
    room.sit(Priority.EXIT, "c")
    assert entry.lost
    with pytest.raises(RoomFull):
        room.sit(Priority.EXIT, "c")


def test_one_caller_cannot_keep_another_out() -> None:
    room = WaitingRoom(16)
    flood = [room.sit(Priority.ENTRY, "flood") for _ in range(16)]
    others = [room.sit(Priority.ENTRY, "quiet") for _ in range(8)]
    assert sum(seat.lost for seat in flood) == 8
    assert all(seat.lost for seat in flood[8:]), "the newest give way"
    assert not any(seat.lost for seat in others)
    with pytest.raises(RoomFull):
        room.sit(Priority.ENTRY, "quiet")
    third = room.sit(Priority.ENTRY, "third")
    assert not third.lost


def test_reads_on_which_a_way_out_hangs_count_as_exits() -> None:
    assert rank(Priority.READ) is Priority.READ
    assert not is_urgent()
    with urgent():
        assert is_urgent()
        assert rank(Priority.READ) is Priority.EXIT
        assert rank(Priority.ENTRY) is Priority.ENTRY
    assert not is_urgent()
