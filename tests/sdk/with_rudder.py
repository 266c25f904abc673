"""Sends events with the unmodified rudder-sdk-python, whose gzip is on by default; arguments as with_segment.py."""

from rudderstack.analytics.client import Client

from common import arguments, say, wait_for_line

host, key, count, options = arguments()
errors = []
client = Client(
    key,
    host=host,
    upload_size=50,
    on_error=lambda error, batch: errors.append(str(error)),
)

client.identify("rudder-py", {"email": "rudder.py@example.org", "plan": "paid"})
for number in range(count):
    client.track("rudder-py", "Seen", {"n": number}, message_id=f"rudder-py-{number}")
    if number == count // 2 and "pause" in options:
        client.flush()
        say(half=True)
        wait_for_line()
client.shutdown()
say(sent=count, errors=errors)
