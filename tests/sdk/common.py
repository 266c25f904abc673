"""What the SDK scripts share: arguments and the printed list of what the SDK says it delivered."""

import json
import sys


def arguments():
    """Host, write key and number of events, as the test passes them."""
    host, key, count = sys.argv[1:4]
    return host, key, int(sys.argv[3]), sys.argv[4:]


def wait_for_line():
    """Waits until the test says to go on; it kills and starts the server meanwhile."""
    sys.stdin.readline()


def say(**facts):
    print(json.dumps(facts), flush=True)
