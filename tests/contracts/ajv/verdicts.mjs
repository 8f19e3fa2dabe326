// usage: node verdicts.mjs < events.jsonl
//
// For ajv_agreement_test.cpp: a line for each line, `valid`, or `invalid` with what ajv says.
import { createInterface } from 'node:readline';
import { describe, loadContracts } from './contracts.mjs';

const contracts = loadContracts();
const verdicts = [];
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const event = JSON.parse(line);
  const validate = contracts.get(event?.type);
  if (!validate) verdicts.push('invalid: no contract');
  else verdicts.push(validate(event) ? 'valid' : `invalid: ${describe(validate).join('; ').replaceAll('\n', ' ')}`);
}
process.stdout.write(verdicts.join('\n') + '\n');
