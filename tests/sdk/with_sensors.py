"""Sends records with the unmodified sensorsanalyticssdk.

with_sensors.py HOST WRITE_KEY COUNT [pause]: all types of records and COUNT events; `pause` waits for a line on standard
input in the middle.
with_sensors.py HOST WRITE_KEY 0 calls JSON: the listed calls, each [method, arguments…]; an argument {"id": [key, value]}
is an identity. With `debug` or `dry-run` before it they go to the debug address.
Prints JSON lines; the last says what was handed to the SDK.
"""

import datetime
import json
import sys
import time

import sensorsanalytics
from sensorsanalytics import SensorsAnalyticsIdentity as Identity

from common import arguments, say, wait_for_line

host, key, count, options = arguments()
url = f"{host}/sa?project=default&token={key}"


def persist(call):
    """Calls; as long as the server cannot be reached the consumer keeps what it has, and an application flushes again."""
    while True:
        try:
            return call()
        except Exception:
            time.sleep(0.05)
            call = sa.flush


if "calls" in options:
    if "debug" in options or "dry-run" in options:
        sys.stdout = sys.stderr
        consumer = sensorsanalytics.DebugConsumer(url, write_data="debug" in options)
    else:
        consumer = sensorsanalytics.DefaultConsumer(url)
    sa = sensorsanalytics.SensorsAnalytics(consumer)
    calls = json.loads(options[-1])
    errors = []
    for method, *rest in calls:
        rest = [Identity(*it["id"]) if isinstance(it, dict) and "id" in it else it for it in rest]
        try:
            getattr(sa, method)(*rest)
        except Exception as error:
            errors.append(type(error).__name__)
    sys.stdout = sys.__stdout__
    say(sent=len(calls), errors=errors)
    sys.exit()

sa = sensorsanalytics.SensorsAnalytics(sensorsanalytics.BatchConsumer(url))
for number in range(count):
    persist(lambda: sa.track("py-device", "Seen", {"n": number}))
    if number == count // 2 and "pause" in options:
        persist(sa.flush)
        say(half=True)
        wait_for_line()
        # Into a server that is gone.
        persist(lambda: sa.track("py-device", "SeenAmid", {"n": number}))
persist(lambda: sa.track_signup("py", "py-device"))
when = datetime.datetime(2026, 11, 22, 10, 0, 0, 7000)
for call in (
    lambda: sa.profile_set("py", {"name": "王小明", "city": "上海", "visited": when}, True),
    lambda: sa.profile_set_once("py", {"channel": "first", "name": "late"}, True),
    lambda: sa.profile_set_once("py", {"channel": "second"}, True),
    lambda: sa.profile_increment("py", {"score": 2}, True),
    lambda: sa.profile_increment("py", {"score": 3}, True),
    lambda: sa.profile_append("py", {"tastes": ["beer"]}, True),
    lambda: sa.profile_append("py", {"tastes": ["milk", "beer"]}, True),
    lambda: sa.profile_unset("py", ["city"], True),
    lambda: sa.item_set("sku", "S1", {"name": "奶粉", "price": 12.5}),
    lambda: sa.item_set("sku", "S2", {"name": "酒"}),
    lambda: sa.item_delete("sku", "S2"),
):
    # Two records of one millisecond are told apart by their order of arrival only.
    time.sleep(0.002)
    persist(call)
persist(sa.close)
say(sent=count, errors=[])
