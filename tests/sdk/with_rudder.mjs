// Sends events with the unmodified @rudderstack/rudder-sdk-node, whose gzip is on by default; arguments as with_segment.py.
import { createRequire } from "node:module";
import { Answers, count, host, key, options, say, waitForLine } from "./common.mjs";

const module = createRequire(process.env.SDK_FOLDER + "/")("@rudderstack/rudder-sdk-node");
const RudderAnalytics = module.default ?? module;
const answers = new Answers();
const analytics = new RudderAnalytics(key, {
  dataPlaneUrl: host,
  flushAt: 50,
  flushInterval: 200,
  retryCount: 10,
  logLevel: "silly",
  // Each event's own callback is told as well; without a handler the SDK throws where nobody can catch it.
  errorHandler: () => {},
});

analytics.identify(
  { userId: "rudder-js", traits: { email: "rudder.js@example.org", plan: "paid" } },
  answers.callback,
);
for (let number = 0; number < count; number++) {
  const event = { userId: "rudder-js", event: "Seen", properties: { n: number }, messageId: `rudder-js-${number}` };
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
