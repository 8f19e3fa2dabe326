// Holds what the observer saw to the contracts, in a validator that is not ours.
// usage: node check.mjs --observed FILE
// Prints {"checked", "foreign", "unknown", "invalid", "types": {type: distinct events}, "specification": {type: distinct
// events}}; what is wrong goes to standard error. `foreign` are events of services that are not ours (their `source` is an
// object), and what is no event at all. Exit codes: 0 all valid, 1 some are not.
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import { readArguments, readLines } from './common.mjs';

const suffix = '.schema.json';

/** A map from event type to ajv's validate function, of the schemas in this folder. */
function load(folder, settings) {
  const path = fileURLToPath(new URL(folder, import.meta.url));
  const ajv = new Ajv({ allErrors: true, ...settings });
  addFormats(ajv);
  const schemas = readdirSync(path).filter((name) => name.endsWith(suffix));
  return new Map(schemas.map((name) => [name.slice(0, -suffix.length), ajv.compile(JSON.parse(readFileSync(path + name, 'utf8')))]));
}

const contracts = load('../../../contracts/events/', { strict: true, allowUnionTypes: true, strictRequired: false });
const specification = load('specification/', { strict: true });
if (specification.size !== 2) throw new Error('the specification has two schemas');

const result = { checked: 0, foreign: 0, unknown: 0, invalid: 0, types: {}, specification: {} };
const seen = new Set();
for (const line of readLines(readArguments(['observed']).observed)) {
  if (seen.has(line.sha256)) continue;
  seen.add(line.sha256);
  const event = line.body === null ? undefined : parse(line.body);
  if (typeof event?.source !== 'string') {
    ++result.foreign;
    continue;
  }
  ++result.checked;
  const complain = (which, errors) => {
    ++result.invalid;
    for (const error of errors) console.error(`${event.id} ${event.type}: ${which}: ${error.instancePath} ${error.message}`);
  };
  result.types[event.type] = (result.types[event.type] ?? 0) + 1;
  const contract = contracts.get(event.type);
  if (!contract) ++result.unknown;
  else if (!contract(event)) complain('contract', contract.errors);
  const specified = specification.get(event.type);
  if (specified) {
    result.specification[event.type] = (result.specification[event.type] ?? 0) + 1;
    if (!specified(event)) complain('specification', specified.errors);
  }
  const { properties, headers, routingKey } = line;
  const wrong = [];
  if (routingKey !== event.type) wrong.push(`routing key ${routingKey}`);
  if (properties.messageId !== event.id) wrong.push(`message_id ${properties.messageId}`);
  if (properties.type !== event.type) wrong.push(`type ${properties.type}`);
  if (properties.appId !== event.source) wrong.push(`app_id ${properties.appId}`);
  if (properties.contentType !== 'application/json') wrong.push(`content_type ${properties.contentType}`);
  if (properties.deliveryMode !== 2) wrong.push(`delivery_mode ${properties.deliveryMode}`);
  if (properties.correlationId !== event.metadata?.correlationId) wrong.push(`correlation_id ${properties.correlationId}`);
  if (typeof properties.timestamp !== 'number') wrong.push(`timestamp ${properties.timestamp}`);
  if (headers.tenantId !== event.tenantId) wrong.push(`header tenantId ${headers.tenantId}`);
  if (headers.version !== event.version) wrong.push(`header version ${headers.version}`);
  if (typeof headers['x-schema'] !== 'string') wrong.push(`header x-schema ${headers['x-schema']}`);
  if (wrong.length > 0) complain('properties', wrong.map((message) => ({ instancePath: '', message })));
}
console.log(JSON.stringify(result));
process.exitCode = result.invalid > 0 ? 1 : 0;

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
