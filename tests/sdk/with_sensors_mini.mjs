// Sends records with the unmodified sa-sdk-miniprogram (WeChat) under a stub of the mini-program's world; arguments as
// with_sensors.py, `batch` for its batch mode, which keeps what was not delivered and sends it again.
import { copyFileSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { count, host, key, options, say, waitForLine } from "./common.mjs";

const storage = new Map();
let open = 0;
let failed = 0;
globalThis.global = globalThis;
globalThis.__wxConfig = { page: {}, global: { window: { navigationBarTitleText: "shop" } } };
globalThis.App = () => {};
globalThis.Page = () => {};
globalThis.Component = () => {};
globalThis.getCurrentPages = () => [{ route: "pages/index", options: {} }];
globalThis.wx = {
  getStorageSync: (name) => storage.get(name) ?? "",
  setStorageSync: (name, value) => void storage.set(name, value),
  getStorage: ({ key: name, success, fail, complete }) => {
    const answer = { data: storage.get(name) };
    (storage.has(name) ? success : fail)?.(answer);
    complete?.(answer);
  },
  getSystemInfo: ({ success, complete }) => {
    const answer = { brand: "x", model: "y", platform: "ios", system: "iOS 17", screenWidth: 1, screenHeight: 1, SDKVersion: "3.0.0" };
    success?.(answer);
    complete?.(answer);
  },
  getNetworkType: ({ success, complete }) => {
    success?.({ networkType: "wifi" });
    complete?.({ networkType: "wifi" });
  },
  getAccountInfoSync: () => ({ miniProgram: { appId: "wxabc", envVersion: "release", version: "1.0" } }),
  getLaunchOptionsSync: () => ({ scene: 1001, path: "pages/index", query: {} }),
  onAppShow: () => {},
  onAppHide: () => {},
  onNetworkStatusChange: () => {},
  setNavigationBarTitle: () => {},
  login: () => {},
  request: ({ url, method, data, header, success, fail, complete }) => {
    open++;
    fetch(url, { method, headers: header, body: method === "POST" ? data : undefined })
      .then(async (response) => {
        const answer = { statusCode: response.status, data: await response.text() };
        if (response.status !== 200) failed++;
        success?.(answer);
        complete?.(answer);
      })
      .catch((error) => {
        fail?.({ errMsg: String(error) });
        complete?.({ errMsg: String(error) });
      })
      .finally(() => open--);
    return { abort: () => {} };
  },
};

// The package is a module whose file name does not say so.
const folder = mkdtempSync(join(tmpdir(), "tributary-mini-"));
const module = join(folder, "sensorsdata.mjs");
copyFileSync(join(process.env.SDK_FOLDER, "node_modules/sa-sdk-miniprogram/dist/wechat/sensorsdata.esm.js"), module);
const { default: sa } = await import(pathToFileURL(module));
const batch = options.includes("batch");
sa.setPara({
  name: "sensors",
  server_url: `${host}/sa?project=default&token=${key}`,
  batch_send: batch ? { send_timeout: 100, max_length: 6 } : false,
  autoTrack: { appLaunch: false, appShow: false, appHide: false, pageShow: false, pageShare: false },
  show_log: false,
});
sa.init();

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** Until nothing is under way and, in batch mode, nothing is kept for later. */
async function settled() {
  const empty = () => open === 0 && (!batch || sa.store.mem.mdata.length === 0);
  for (let still = 0; still < 5; still = empty() ? still + 1 : 0) await wait(20);

}

for (let number = 0; number < count; number++) {
  sa.track("Seen", { n: number });
  if (!batch && number % 20 === 0) await settled();
  if (number === Math.floor(count / 2) && options.includes("pause")) {
    await settled();
    say({ half: true });
    await waitForLine();
  }
}
await settled();
sa.bindOpenid("oMINI1");
sa.login("mini");
for (const call of [
  () => sa.setProfile({ name: "王小明", city: "上海", visited: new Date(2026, 10, 22, 10, 0, 0, 7) }),
  () => sa.setOnceProfile({ channel: "first", name: "late" }),
  () => sa.setOnceProfile({ channel: "second" }),
  () => sa.incrementProfile({ score: 2 }),
  () => sa.incrementProfile({ score: 3 }),
  () => sa.appendProfile({ tastes: ["beer"] }),
  () => sa.appendProfile({ tastes: ["milk", "beer"] }),
  () => sa.bind("$identity_mobile", "13800000001"),
  () => sa.unbind("$identity_mobile", "13800000001"),
]) {
  await wait(2);
  call();
}
await settled();
say({ sent: count, errors: failed ? [`${failed} refused`] : [] });
process.exit(0);
