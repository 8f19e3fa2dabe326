// A plain consumer: a durable queue of its own, bound to everything, and every message that comes as a line in a file.
// usage: node observer.mjs --url amqp://… --queue NAME --out FILE [--bindings '#']
// A message is written before it is acknowledged, so none is lost here and some come twice after a lost connection.
import { createHash } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import { closeSync, openSync, writeSync } from 'node:fs';
import { asked, exchange, readArguments, say, withConnection } from './common.mjs';

const options = readArguments(['url', 'queue', 'out'], { bindings: '#', prefetch: '250' });
const bodyBytesKept = 2 * 1024 * 1024;
const out = openSync(options.out, 'a');
let number = 0;
let connections = 0;

function line(message) {
  const { content, fields, properties } = message;
  const said = {};
  for (const [key, value] of Object.entries(properties)) if (value !== undefined && key !== 'headers') said[key] = value;
  let event;
  try {
    if (isUtf8(content)) event = JSON.parse(content.toString('utf8'));
  } catch {
    // Not everything that is published is an event.
  }
  const data = event?.data;
  return {
    n: ++number,
    connection: connections,
    at: Date.now(),
    id: event?.id ?? null,
    type: event?.type ?? null,
    routingKey: fields.routingKey,
    tenant: event?.tenantId ?? data?.tenantId ?? null,
    workflowId: data?.workflowId ?? null,
    attempt: data?.attempt ?? null,
    redelivered: fields.redelivered,
    properties: said,
    headers: properties.headers ?? {},
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    body: content.length > bodyBytesKept ? null : isUtf8(content) ? content.toString('utf8') : null,
  };
}

await withConnection(options.url, async (connection, lost) => {
  const channel = await connection.createChannel();
  channel.on('error', () => {}); // 'close' follows
  const closed = new Promise((resolve) => channel.once('close', resolve));
  await channel.assertExchange(exchange, 'topic', { durable: true });
  await channel.assertQueue(options.queue, { durable: true });
  for (const binding of options.bindings.split(',')) await channel.bindQueue(options.queue, exchange, binding);
  await channel.prefetch(Number(options.prefetch));
  ++connections;
  await channel.consume(options.queue, (message) => {
    if (message === null) return connection.close().catch(() => {}); // the queue is gone: begin anew
    writeSync(out, `${JSON.stringify(line(message))}\n`);
    channel.ack(message);
  });
  say('ready', { connections });
  return await Promise.race([asked, lost.then(() => undefined), closed.then(() => undefined)]);
});
closeSync(out);
