// usage: node validate.mjs [FILE]
//
// Reads events as JSON lines, from FILE or standard input, or the lines of `wfo audit export`, and holds each event to the
// contract of its type. Violations go to standard error, with their line; one JSON object goes to standard output:
//   {"checked": events, "invalid": that break their contract or are not JSON, "unknown": types without contract, "types": {type: events}}
// Exit codes: 0 all valid (unknown types count as valid), 1 some are not, 2 wrong usage or FILE cannot be read.
import { createReadStream, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { describe, loadContracts } from './contracts.mjs';

if (process.argv.length > 3 || process.argv[2]?.startsWith('-')) {
  console.error('usage: node validate.mjs [FILE]');
  process.exit(2);
}
let input = process.stdin;
if (process.argv[2]) {
  try {
    input = createReadStream(process.argv[2], { fd: openSync(process.argv[2]) });
  } catch (error) {
    console.error(`error: ${error.message}`);
    process.exit(2);
  }
}

const contracts = loadContracts();
const result = { checked: 0, invalid: 0, unknown: 0, types: Object.create(null) };
let number = 0;
for await (const line of createInterface({ input, crlfDelay: Infinity })) {
  ++number;
  if (line.trim() === '') continue;
  ++result.checked;
  let event;
  try {
    event = JSON.parse(line);
  } catch (error) {
    ++result.invalid;
    console.error(`line ${number}: not JSON: ${error.message}`);
    continue;
  }
  if (event?.type === undefined && typeof event?.event === 'object') event = event.event; // beside its place in the ledger
  const type = event?.type;
  if (typeof type !== 'string') {
    ++result.invalid;
    console.error(`line ${number}: not an event: it has no type`);
    continue;
  }
  result.types[type] = (result.types[type] ?? 0) + 1;
  const validate = contracts.get(type);
  if (!validate) {
    ++result.unknown;
  } else if (!validate(event)) {
    ++result.invalid;
    for (const text of describe(validate)) console.error(`line ${number}: ${type}: ${text}`);
  }
}
console.log(JSON.stringify(result));
process.exitCode = result.invalid > 0 ? 1 : 0;
