// The worker of external batch jobs, as somebody else would write it: a queue of its own bound to workflow.job.trigger, the
// platform's envelope (`source` an object, `version` "1.0"). It takes each trigger of its jobs once, as workers should.
// usage: node job_worker.mjs --url amqp://… --queue NAME --jobs NAME[=MILLISECONDS],… --out FILE
//   --jobs  what it works, and how long that takes (0); others' triggers are dropped
//   --out   a line {"trigger", "runId", "job", "scheduledFor", "answer" (an event's id, or null), "type"} for each trigger
// The trigger's metadata says what it is to do: `answer`: run (by runId; default), cause (by metadata.causationId), job (neither)
// or never; `counts`; `fail`: an error, so it fails.
import { randomUUID } from 'node:crypto';
import { appendLine, asked, exchange, readArguments, say, withConnection } from './common.mjs';

const options = readArguments(['url', 'queue', 'jobs', 'out']);
const jobs = new Map(
  options.jobs.split(',').map((text) => {
    const [name, milliseconds] = text.split('=');
    return [name, Number(milliseconds ?? '0')];
  }),
);
const answered = new Set(); // ids of triggers

function answer(trigger) {
  const { job, runId, metadata } = trigger.data;
  const how = metadata.answer ?? 'run';
  const now = new Date().toISOString();
  const data = { job, counts: metadata.counts ?? { rows: 3 } };
  if (metadata.fail === undefined) Object.assign(data, { status: 'completed', completedAt: now });
  else Object.assign(data, { error: metadata.fail, failedAt: now });
  if (how === 'run') data.runId = runId;
  return {
    id: randomUUID(),
    type: metadata.fail === undefined ? 'workflow.job.completed' : 'workflow.job.failed',
    version: '1.0',
    timestamp: now,
    tenantId: trigger.tenantId,
    source: { service: 'exporter', instance: `worker-${process.pid}` },
    data,
    metadata: how === 'job' ? {} : { correlationId: trigger.metadata?.correlationId, causationId: trigger.id },
  };
}

await withConnection(options.url, async (connection, lost) => {
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  const closed = new Promise((resolve) => channel.once('close', resolve));
  await channel.assertExchange(exchange, 'topic', { durable: true });
  await channel.assertQueue(options.queue, { durable: true });
  await channel.bindQueue(options.queue, exchange, 'workflow.job.trigger');
  await channel.prefetch(1000);
  const inHand = new Set(); // ids of triggers; what is in hand when the connection is lost comes again
  let isLost = false;
  lost.then(() => (isLost = true));
  channel.once('close', () => (isLost = true));
  await channel.consume(options.queue, (message) => {
    if (message === null) return;
    let trigger;
    try {
      trigger = JSON.parse(message.content.toString('utf8'));
    } catch {
      // Somebody else's mistake.
    }
    const duration = jobs.get(trigger?.data?.job);
    if (duration === undefined || answered.has(trigger.id) || inHand.has(trigger.id)) return channel.ack(message);
    inHand.add(trigger.id);
    const { job, runId, scheduledFor, metadata } = trigger.data;
    const line = { trigger: trigger.id, runId: runId ?? null, job, scheduledFor: scheduledFor ?? null };
    if (metadata.answer === 'never') {
      answered.add(trigger.id);
      appendLine(options.out, { ...line, answer: null, type: null });
      return channel.ack(message);
    }
    setTimeout(() => {
      if (isLost) return;
      const event = answer(trigger);
      channel.publish(exchange, event.type, Buffer.from(JSON.stringify(event)), { persistent: true, contentType: 'application/json' }, (error) => {
        if (error || isLost) return; // not acknowledged: it comes again
        answered.add(trigger.id);
        appendLine(options.out, { ...line, answer: event.id, type: event.type });
        channel.ack(message);
      });
    }, duration);
  });
  say('ready');
  return await Promise.race([asked, lost.then(() => undefined), closed.then(() => undefined)]);
});
