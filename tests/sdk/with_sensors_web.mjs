// Sends records with the unmodified sa-sdk-javascript in a jsdom window; arguments as with_sensors.py, and how it sends:
// `image`, `ajax`, `beacon`, or `batch` (its batch mode, which keeps what was not delivered and sends it again).
// Pictures and beacons, which jsdom does not send, are sent as browsers do: a GET, and a POST of the form as text.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { count, host, key, options, say, waitForLine } from "./common.mjs";

const require = createRequire(process.env.SDK_FOLDER + "/");
const { JSDOM, VirtualConsole } = require("jsdom");
const how = ["image", "ajax", "beacon", "batch"].find((word) => options.includes(word)) ?? "image";
const sdk = readFileSync(join(process.env.SDK_FOLDER, "node_modules/sa-sdk-javascript/dist/web/sensorsdata.js"), "utf8");

let open = 0;
const errors = [];
function deliver(url, init, done, failed) {
  open++;
  fetch(url, init)
    .then((response) => {
      if (response.status === 200) return done?.();
      errors.push(String(response.status));
      failed?.();
    })
    .catch((error) => {
      if (how !== "batch") errors.push(String(error));
      failed?.();
    })
    .finally(() => open--);
}

const { window } = new JSDOM("<!doctype html><html><head></head><body></body></html>", {
  url: "https://shop.example/page?utm_source=x",
  runScripts: "outside-only",
  pretendToBeVisual: true,
  virtualConsole: new VirtualConsole(),
});
Object.defineProperty(window.HTMLImageElement.prototype, "src", {
  set(url) {
    deliver(url, {}, () => this.onload?.(), () => this.onerror?.());
  },
});
window.navigator.sendBeacon = (url, body) => {
  deliver(url, { method: "POST", headers: { "content-type": "text/plain;charset=UTF-8" }, body: String(body) });
  return true;
};
// Its XMLHttpRequest is jsdom's own and asks for CORS as browsers do.
const Request = window.XMLHttpRequest;
const send = Request.prototype.send;
Request.prototype.send = function (body) {
  open++;
  this.addEventListener("loadend", () => {
    open--;
    if (this.status !== 200 && how !== "batch") errors.push(`ajax ${this.status}`);
  });
  return send.call(this, body);
};

window.eval(sdk);
const sa = window.sensorsDataAnalytic201505;
sa.init({
  server_url: `${host}/${how === "image" ? "sa.gif" : "sa"}?project=default&token=${key}`,
  send_type: how === "batch" ? "image" : how,
  batch_send: how === "batch" ? { datasend_timeout: 6000, send_interval: 100, storage_length: 5000 } : false,
  show_log: false,
  heatmap: { clickmap: "not_collect", scroll_notice_map: "not_collect" },
  cross_subdomain: false,
});

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function settled() {
  const kept = () => how === "batch" && Object.keys(window.localStorage).some((name) => name.startsWith("sawebjssdk-"));
  for (let still = 0; still < 8; still = open === 0 && !kept() ? still + 1 : 0) await wait(25);
}

for (let number = 0; number < count; number++) {
  sa.track("Seen", { n: number });
  if (number % 20 === 0) await settled();
  if (number === Math.floor(count / 2) && options.includes("pause")) {
    await settled();
    say({ half: true });
    await waitForLine();
  }
}
await settled();
sa.login("web");
for (const call of [
  () => sa.setProfile({ name: "王小明", city: "上海" }),
  () => sa.setOnceProfile({ channel: "first", name: "late" }),
  () => sa.setOnceProfile({ channel: "second" }),
  () => sa.incrementProfile({ score: 2 }),
  () => sa.incrementProfile({ score: 3 }),
  () => sa.appendProfile({ tastes: ["beer"] }),
  () => sa.appendProfile({ tastes: ["milk", "beer"] }),
  () => sa.unsetProfile("city"),
  () => sa.setItem("sku", "S1", { name: "奶粉", price: 12.5 }),
  () => sa.setItem("sku", "S2", { name: "酒" }),
  () => sa.deleteItem("sku", "S2"),
]) {
  await wait(2);
  call();
}
await settled();
say({ sent: count, errors });
process.exit(0);
