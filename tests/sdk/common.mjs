// What the SDK scripts share: arguments, waiting for the test, the printed result, and who was answered.
import { createInterface } from "node:readline";

export const [host, key, countText, ...options] = process.argv.slice(2);
export const count = Number(countText);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Waits until the test says to go on; it kills and starts the server meanwhile. */
export const waitForLine = () => lines.next();

export const say = (facts) => process.stdout.write(JSON.stringify(facts) + "\n");

/** Counts the callbacks of events; `reached` resolves once so many have been called. */
export class Answers {
  called = 0;
  errors = [];
  #waiting = [];

  callback = (error) => {
    this.called++;
    if (error) this.errors.push(String(error.reason ?? error.message ?? error));
    this.#waiting = this.#waiting.filter(([wanted, resolve]) => this.called < wanted || resolve());
  };

  reached(wanted) {
    return new Promise((resolve) => (this.called >= wanted ? resolve() : this.#waiting.push([wanted, resolve])));
  }
}
