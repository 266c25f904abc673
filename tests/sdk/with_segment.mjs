// Sends events with the unmodified @segment/analytics-node; arguments as with_segment.py.
import { createRequire } from "node:module";
import { Answers, count, host, key, options, say, waitForLine } from "./common.mjs";

const { Analytics } = createRequire(process.env.SDK_FOLDER + "/")("@segment/analytics-node");
const answers = new Answers();
const analytics = new Analytics({ writeKey: key, host, maxRetries: 10, flushAt: 50, flushInterval: 200 });

analytics.identify(
  { userId: "segment-js", traits: { email: "segment.js@example.org", plan: "paid" } },
  answers.callback,
);
for (let number = 0; number < count; number++) {
  const event = { userId: "segment-js", event: "Seen", properties: { n: number }, messageId: `segment-js-${number}` };
  analytics.track(event, answers.callback);
  if (number === Math.floor(count / 2) && options.includes("pause")) {
    await answers.reached(number + 2);
    say({ half: true });
    await waitForLine();
  }
}
await answers.reached(count + 1);
say({ sent: count, errors: answers.errors });
process.exit(0);
