// usage: node examples.mjs
//
// Every valid example of contracts/events/examples must be valid for ajv as well, and every invalid one invalid: what our
// validator says (src/events/tests checks the same files) is what other teams will see.
// Exit codes: 0 they agree, 1 they do not.
import { readFileSync, readdirSync } from 'node:fs';
import { contractsFolder, describe, loadContracts } from './contracts.mjs';

const contracts = loadContracts();
const examples = contractsFolder + 'examples/';
const complaints = [];
let checked = 0;
for (const type of contracts.keys()) {
  const files = readdirSync(examples + type);
  if (!files.some((file) => file.startsWith('valid-'))) complaints.push(`${type}: no valid example`);
  if (files.filter((file) => file.startsWith('invalid-')).length < 3) complaints.push(`${type}: fewer than three invalid examples`);
  for (const file of files) {
    const validate = contracts.get(type);
    const isValid = validate(JSON.parse(readFileSync(`${examples}${type}/${file}`, 'utf8')));
    ++checked;
    if (isValid !== file.startsWith('valid-')) {
      complaints.push(`${type}/${file}: ${isValid ? 'valid' : describe(validate).join('; ')}`);
    }
  }
}
for (const folder of readdirSync(examples)) {
  if (!contracts.has(folder)) complaints.push(`examples/${folder}: no contract of that name`);
}
for (const complaint of complaints) console.error(complaint);
console.log(`${checked} examples of ${contracts.size} types, ${complaints.length} complaints`);
process.exitCode = complaints.length > 0 || checked === 0 ? 1 : 0;
