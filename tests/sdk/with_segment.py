"""Sends events with the unmodified segment-analytics-python.

with_segment.py HOST WRITE_KEY COUNT [gzip] [pause]: `pause` waits for a line on standard input in the middle.
Prints JSON lines; the last says what was handed to the SDK and which errors it reported.
"""

from segment.analytics.client import Client

from common import arguments, say, wait_for_line

host, key, count, options = arguments()
errors = []
client = Client(
    key,
    host=host,
    gzip="gzip" in options,
    upload_size=50,
    on_error=lambda error, batch: errors.append(str(error)),
)

client.identify("segment-py", {"email": "segment.py@example.org", "plan": "paid"})
for number in range(count):
    client.track("segment-py", "Seen", {"n": number}, message_id=f"segment-py-{number}")
    if number == count // 2 and "pause" in options:
        client.flush()
        say(half=True)
        wait_for_line()
client.shutdown()
say(sent=count, errors=errors)
