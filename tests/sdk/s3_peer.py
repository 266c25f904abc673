"""An S3 server for tests: prints its address as JSON and ends with its standard input.

`--deny`: knows nobody's keys, so it refuses everything.
"""

import json
import os
import sys

if "--deny" in sys.argv:
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
print(json.dumps({"base": f"http://{host}:{port}"}), flush=True)
sys.stdin.read()
server.stop()
