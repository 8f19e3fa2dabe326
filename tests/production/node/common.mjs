// What the three services share: arguments, a connection that comes back, files of JSON lines.
import { appendFileSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import amqp from 'amqplib';

export const exchange = 'coder_events';

/** The arguments `--name VALUE` as an object; ends the process (2) if one of `required` is missing or one is unknown. */
export function readArguments(required, defaults = {}) {
  const options = {};
  for (const name of [...required, ...Object.keys(defaults)]) options[name] = { type: 'string' };
  try {
    const { values } = parseArgs({ options, allowPositionals: false });
    for (const name of required) if (values[name] === undefined) throw new Error(`--${name} is missing`);
    return { ...defaults, ...values };
  } catch (error) {
    console.error(`error: ${error.message}`);
    process.exit(2);
  }
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Appends one line; it has reached the operating system when this returns. */
export const appendLine = (file, value) => appendFileSync(file, `${JSON.stringify(value)}\n`);

export const readLines = (file) =>
  readFileSync(file, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line));

/** Tells whoever started this process, on standard output. */
export const say = (word, more = {}) => process.stdout.write(`${JSON.stringify({ word, ...more })}\n`);

/** Closes it in good order, if there is still somebody to answer. */
async function closed(connection, lost) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, 2000)));
  await Promise.race([connection.close().catch(() => {}), lost, late]);
  clearTimeout(timer); // nobody ends while it runs
}

let isAsked = false;
/** A promise that resolves when this process is asked to end. */
export const asked = new Promise((resolve) => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.once(signal, () => {
      isAsked = true;
      resolve(signal);
    });
  }
});

/** Calls `work(connection, lost)` with a connection to the broker, and again whenever one was lost, until `work` has
 *  returned something or this process is asked to end. `lost` is a promise that resolves when this connection is gone. */
export async function withConnection(url, work) {
  while (!isAsked) {
    let connection;
    try {
      // A broker that was killed leaves sockets that nobody closes, and one that starts may accept and stay silent.
      connection = await amqp.connect(url, { timeout: 5000 });
    } catch {
      await sleep(100);
      continue;
    }
    const lost = new Promise((resolve) => {
      connection.on('close', resolve);
      connection.on('error', resolve); // 'close' follows, or has been
    });
    try {
      const result = await work(connection, lost);
      if (result !== undefined) {
        await closed(connection, lost);
        return result;
      }
    } catch (error) {
      say('trouble', { message: String(error?.message ?? error) });
    }
    await closed(connection, lost);
    await sleep(100);
  }
}

