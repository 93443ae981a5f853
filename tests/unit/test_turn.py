"""Who has a turn, and who has it next."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from streamer.fleet import turn

HOLDS = """
import sys
from streamer.fleet import turn
with turn.take(sys.argv[1]):
    print("has it", flush=True)
    sys.stdin.read()
"""


def test_one_has_the_turn_and_the_next_one_when_it_is_given_back(tmp_path):
    name = str(tmp_path)
    first = turn.take(name)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(turn.take, name)
        asked, _ = first.accept()  # it waits
        assert not waits.done()
        asked.close()
        first.close()
        waits.result().close()


def test_a_process_that_is_killed_has_it_no_more(tmp_path):
    name = str(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLDS, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holds:
        assert holds.stdout is not None
        assert holds.stdout.readline() == b"has it\n"
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(turn.take, name)
            holds.kill()
            waits.result().close()


def test_turns_of_other_names_are_others(tmp_path):
    with turn.take(f"{tmp_path} a"), turn.take(f"{tmp_path} b"):
        pass
