// A service in place of one of our roles, as somebody else would write it: plain durable queue, prefetch 10, the platform's
// envelope (`source` an object, `version` "1.0"), sometimes without the step's id and attempt.
// usage: node worker.mjs --url amqp://… --roles forecasting,recommendations --out FILE [--fail-every N]
//   --out         a line {"workflowId", "type", "attempt", "id", "answer", "echo"} for each request that was answered
//   --fail-every  every N-th run's first attempt of a step fails, and may be tried again; 0: none
import { createHash, randomUUID } from 'node:crypto';
import { appendLine, asked, exchange, readArguments, say, withConnection } from './common.mjs';

const options = readArguments(['url', 'roles', 'out'], { 'fail-every': '0' });
const failEvery = Number(options['fail-every']);
const all = {
  forecasting: {
    queue: 'forecasting_service',
    request: 'workflow.forecast.requested',
    answer: 'forecast',
    result: () => ({ forecastId: randomUUID(), revenueForecast: 12500.5, confidence: 0.75, p10: 8000, p50: 12000, p90: 17000 }),
  },
  recommendations: {
    queue: 'recommendations_service',
    request: 'workflow.recommendation.requested',
    answer: 'recommendation.generation',
    result: () => ({ recommendationId: randomUUID(), recommendations: [{ action: 'call', priority: 1 }], count: 1 }),
  },
};
const roles = options.roles.split(',').map((name) => {
  if (!all[name]) throw new Error(`--roles: ${name} is not one of ${Object.keys(all).join(', ')}`);
  return { name, ...all[name] };
});

/** The same number for the same run, so that what comes twice is treated alike. */
const numberOf = (workflowId) => createHash('sha256').update(workflowId).digest().readUInt32BE(0);

function answer(role, request) {
  const { workflowId, opportunityId, stepId, attempt } = request.data;
  const number = numberOf(workflowId);
  const fails = failEvery > 0 && number % failEvery === 0 && attempt === 1;
  const echo = ['both', 'step', 'none'][number % 3];
  const type = `${role.answer}.${fails ? 'failed' : 'completed'}`;
  const data = { workflowId, opportunityId, ...(fails ? { error: 'the model is busy', retryable: true } : role.result()) };
  if (echo !== 'none') data.stepId = stepId;
  // A failure without attempt counts for the request that is open, so a repeated one could count twice.
  if (echo === 'both' || fails) data.attempt = attempt;
  const event = {
    id: randomUUID(),
    type,
    version: '1.0',
    timestamp: new Date().toISOString(),
    source: { service: role.name, instance: `worker-${process.pid}` },
    data,
    metadata: { correlationId: request.metadata?.correlationId, causationId: request.id },
  };
  if (number % 2 === 0) event.tenantId = request.tenantId;
  else data.tenantId = request.tenantId;
  return { event, echo };
}

await withConnection(options.url, async (connection, lost) => {
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  const closed = new Promise((resolve) => channel.once('close', resolve));
  await channel.assertExchange(exchange, 'topic', { durable: true });
  await channel.prefetch(10);
  for (const role of roles) {
    await channel.assertQueue(role.queue, { durable: true });
    await channel.bindQueue(role.queue, exchange, role.request);
  }
  for (const role of roles) {
    await channel.consume(role.queue, (message) => {
      if (message === null) return;
      const request = JSON.parse(message.content.toString('utf8'));
      const { event, echo } = answer(role, request);
      channel.publish(exchange, event.type, Buffer.from(JSON.stringify(event)), { persistent: true, contentType: 'application/json' }, (error) => {
        if (error) return; // not acknowledged: it comes again
        appendLine(options.out, { workflowId: event.data.workflowId, type: event.type, attempt: request.data.attempt, id: event.id, request: request.id, echo });
        channel.ack(message);
      });
    });
  }
  say('ready');
  return await Promise.race([asked, lost.then(() => undefined), closed.then(() => undefined)]);
});
