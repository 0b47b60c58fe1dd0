// What the Node scripts share: the target from the command line, and a list of cases run one after the other.

'use strict';

const { isDeepStrictEqual, inspect } = require('node:util');

// What a pool mode can do contains what the ones before it can do.
const MODES = ['statement', 'transaction', 'session'];

// A case that hangs ends the script after so many milliseconds.
const CASE_MS_MAX = 60_000;

// How many clients the crowd has; the pool has far fewer servers.
const CROWD = 20;

// Counts running queries with a mark in their text. It does not find itself.
const RUNNING_SQL =
  "SELECT count(*)::int AS n FROM pg_stat_activity" +
  " WHERE state = 'active' AND pid <> pg_backend_pid() AND position($1 IN query) > 0";

// Says both values where they differ.
function equal(seen, wanted, what = 'value') {
  if (!isDeepStrictEqual(seen, wanted)) {
    throw new Error(`${what}: saw ${inspect(seen)}, wanted ${inspect(wanted)}`);
  }
}

// The error with this SQLSTATE (or of this class) which a promise must be rejected with.
async function failsWith(wanted, promise) {
  try {
    await promise;
  } catch (error) {
    if (typeof wanted === 'string' ? error.code === wanted : error instanceof wanted) {
      return error;
    }
    throw error;
  }
  throw new Error(`no error ${wanted.name ?? wanted}`);
}

// Waits until the async condition holds.
async function until(condition, what, msMax = 20_000) {
  const end = Date.now() + msMax;
  while (!(await condition())) {
    if (Date.now() > end) {
      throw new Error(`${what}: not within ${msMax} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

// The numbers from 0 up to and without `count`.
function range(count) {
  return Array.from({ length: count }, (_, number) => number);
}

class Cases {
  constructor(driver) {
    this.driver = driver;
    this.cases = [];
  }

  // Adds a case for the pool modes that can do what `needs` can.
  add(needs, name, run) {
    this.cases.push({ needs, name, run });
  }

  // Runs them against the target of the command line; a seventh argument picks the case of that name.
  async main() {
    const [host, port, database, user, password, mode, only] = process.argv.slice(2);
    if (!MODES.includes(mode)) {
      console.error('usage: node SCRIPT HOST PORT DBNAME USER PASSWORD statement|transaction|session [CASE]');
      process.exit(2);
    }
    const can = (needed) => MODES.indexOf(mode) >= MODES.indexOf(needed);
    const target = { mode, can, login: { host, port: Number(port), database, user, password } };
    console.log(`# ${this.driver} in ${mode} mode`);
    for (const { needs, name, run } of this.cases) {
      if (can(needs) && (only === undefined || only === name)) {
        await runCase(name, run, target);
      }
    }
    // Something left open would keep the process alive: that is for the case to clean up, not for an exit to hide.
  }
}

async function runCase(name, run, target) {
  const fail = (error) => {
    console.log(`FAILED ${name}`);
    console.error(error);
    process.exit(1);
  };
  const watchdog = setTimeout(() => fail(new Error(`not done after ${CASE_MS_MAX} ms`)), CASE_MS_MAX);
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', fail);
  try {
    await run(target);
  } catch (error) {
    fail(error);
  }
  clearTimeout(watchdog);
  console.log(`ok ${name}`);
}

module.exports = { Cases, CROWD, RUNNING_SQL, equal, failsWith, range, until };
