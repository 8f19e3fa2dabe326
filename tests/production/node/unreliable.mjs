// A consumer that takes messages and dies before it says anything, again and again: what a crash loop does to a queue.
// usage: node unreliable.mjs --url amqp://… --queue NAME --times N
import { readArguments, say, withConnection } from './common.mjs';

const options = readArguments(['url', 'queue', 'times']);
let deliveries = 0;
let countMax = 0; // what the broker says how often a message was delivered before
for (let time = 0; time < Number(options.times); ++time) {
  await withConnection(options.url, async (connection) => {
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    await channel.prefetch(1000);
    await new Promise((resolve) =>
      channel.consume(options.queue, (message) => {
        if (message === null) return;
        ++deliveries;
        countMax = Math.max(countMax, message.properties.headers?.['x-delivery-count'] ?? 0);
        setTimeout(resolve, 20); // the others of the queue come at once
      }),
    );
    connection.connection.stream.destroy(new Error('it dies'));
    return true;
  });
}
say('done', { deliveries, countMax });
