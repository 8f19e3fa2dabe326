// Declares queues as the platform's other services do: durable, without arguments.
// usage: node declare.mjs --url amqp://… --queues NAME=BINDING[+BINDING…],…
import { exchange, readArguments, say, withConnection } from './common.mjs';

const options = readArguments(['url', 'queues']);
await withConnection(options.url, async (connection) => {
  const channel = await connection.createChannel();
  await channel.assertExchange(exchange, 'topic', { durable: true });
  for (const queue of options.queues.split(',')) {
    const [name, bindings] = queue.split('=');
    await channel.assertQueue(name, { durable: true });
    for (const binding of (bindings ?? '').split('+').filter((text) => text !== '')) await channel.bindQueue(name, exchange, binding);
  }
  return true;
});
say('done');
