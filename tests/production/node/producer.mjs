// Another service of the platform: publishes what its file says, again until the broker has confirmed it.
// usage: node producer.mjs --url amqp://… --messages FILE --out FILE [--rate PER_SECOND] [--burst 1] [--outstanding 50]
//   --messages  JSON lines {"routingKey", "event" (an object) or "base64" (any bytes), "properties"?, "queue"?}; with "queue"
//               the message goes to that queue directly, through the default exchange
//   --burst     so many at once, less often
//   --out       a line {"line", "id", "routingKey", "sends", "at"} for each message that was confirmed and not returned
import { appendLine, exchange, readArguments, readLines, say, sleep, withConnection } from './common.mjs';

const options = readArguments(['url', 'messages', 'out'], { rate: '0', burst: '1', outstanding: '50' });
const rate = Number(options.rate);
const burst = Number(options.burst);
const outstandingMax = Number(options.outstanding);

const messages = readLines(options.messages).map((message, index) => ({
  line: index,
  id: message.event?.id ?? message.properties?.messageId,
  routingKey: message.queue ?? message.routingKey,
  exchange: message.queue === undefined ? exchange : '',
  // Serialised once: what is sent again is the same bytes.
  body: message.base64 === undefined ? Buffer.from(JSON.stringify(message.event)) : Buffer.from(message.base64, 'base64'),
  properties: message.properties ?? {},
  sends: 0,
}));
const started = Date.now();
const waiting = [...messages]; // in order; what failed comes to the front again
let confirmed = 0;
let returned = 0;
let failed = 0;

await withConnection(options.url, async (connection, lost) => {
  const channel = await connection.createConfirmChannel();
  let gone = false;
  channel.on('error', () => {});
  channel.on('close', () => (gone = true));
  lost.then(() => (gone = true));
  const returns = new Set();
  channel.on('return', (message) => returns.add(message.properties.headers['x-line']));
  await channel.assertExchange(exchange, 'topic', { durable: true });

  const outstanding = new Map();
  const settle = (message, error) => {
    if (!outstanding.delete(message.line)) return;
    if (!error && !returns.delete(message.line)) {
      ++confirmed;
      appendLine(options.out, { line: message.line, id: message.id, routingKey: message.routingKey, sends: message.sends, at: Date.now() });
    } else {
      if (error) ++failed;
      else ++returned;
      waiting.unshift(message);
    }
  };
  while (!gone && confirmed < messages.length) {
    const due = rate === 0 ? Infinity : (Math.floor((((Date.now() - started) / 1000) * rate) / burst) + 1) * burst;
    const message = waiting[0];
    if (message === undefined || outstanding.size >= outstandingMax || message.line >= due) {
      await sleep(5);
      continue;
    }
    waiting.shift();
    outstanding.set(message.line, message);
    ++message.sends;
    const { headers, ...properties } = message.properties;
    channel.publish(
      message.exchange,
      message.routingKey,
      message.body,
      {
        persistent: true,
        contentType: 'application/json',
        mandatory: true,
        ...properties,
        headers: { ...headers, 'x-line': message.line },
      },
      (error) => settle(message, error),
    );
    if (message.sends > 1) await sleep(20); // it was refused before
  }
  // Nobody will say any more what became of these.
  for (const message of [...outstanding.values()].sort((a, b) => b.line - a.line)) settle(message, new Error('lost'));
  waiting.sort((a, b) => a.line - b.line);
  return confirmed === messages.length ? true : undefined;
});
say('done', { confirmed, failed, returned });
