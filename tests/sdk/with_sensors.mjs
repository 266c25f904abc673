// Sends records with the unmodified sa-sdk-node; arguments as with_sensors.py. The SDK does not send again what failed, so
// the last line also says how many events were acknowledged.
import { createRequire } from "node:module";
import { count, host, key, options, say, waitForLine } from "./common.mjs";

const SensorsAnalytics = createRequire(process.env.SDK_FOLDER + "/")("sa-sdk-node");
const sa = new SensorsAnalytics();
const mode = options.find((option) => ["debug", "dryRun"].includes(option)) ?? "track";
const submitter = sa.submitTo({ url: `${host}/sa?project=default&token=${key}`, gzip: true, mode });

// What became of each request, in order, seen from outside the SDK.
const errors = [];
const waiting = [];
let done = 0;
submitter.dataQueue.onSucceeded = () => settled();
submitter.dataQueue.onError = (error) => settled(error);
function settled(error) {
  done++;
  if (error) errors.push(String(error.message));
  while (waiting.length && waiting[0][0] <= done) waiting.shift()[1]();
}
const reached = (wanted) => new Promise((resolve) => (done >= wanted ? resolve() : waiting.push([wanted, resolve])));
const pause = () => new Promise((resolve) => setTimeout(resolve, 2));

let sent = 0;
for (let number = 0; number < count; number++) {
  sa.track("js-device", "Seen", { n: number });
  sent++;
  if (number === Math.floor(count / 2) && options.includes("pause")) {
    await reached(sent);
    say({ half: true, acknowledged: done - errors.length });
    await waitForLine();
  }
}
for (const call of [
  () => sa.trackSignup("js", "js-device", {}),
  () => sa.profileSet("js", { name: "王小明", city: "上海" }),
  () => sa.profileSetOnce("js", { channel: "first", name: "late" }),
  () => sa.profileSetOnce("js", { channel: "second" }),
  () => sa.profileIncrement("js", { score: 2 }),
  () => sa.profileIncrement("js", { score: 3 }),
  () => sa.profileAppend("js", { tastes: ["beer"] }),
  () => sa.profileAppend("js", { tastes: ["milk", "beer"] }),
  () => sa.profileUnset("js", ["city"]),
  () => sa.itemSet("sku", "S1", { name: "奶粉", price: 12.5 }),
  () => sa.itemSet("sku", "S2", { name: "酒" }),
  () => sa.itemDelete("sku", "S2"),
]) {
  await pause();
  call();
  sent++;
}
await reached(sent);
say({ sent: count, errors, acknowledged: done - errors.length });
process.exit(0);
