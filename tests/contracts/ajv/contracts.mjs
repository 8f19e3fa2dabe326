// The contracts of contracts/events as ajv understands them.
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';

export const contractsFolder = fileURLToPath(new URL('../../../contracts/events/', import.meta.url));
const suffix = '.schema.json';

/** A map from event type to ajv's validate function. */
export function loadContracts() {
  // Strict, so that ajv refuses what it would otherwise ignore. Unions of types are plain draft-07, and so is an
  // alternative that only requires a property which is described outside of it.
  const ajv = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true, strictRequired: false });
  addFormats(ajv, ['uuid', 'date-time', 'date']);
  const contracts = new Map();
  for (const file of readdirSync(contractsFolder).filter((name) => name.endsWith(suffix)).sort()) {
    contracts.set(file.slice(0, -suffix.length), ajv.compile(JSON.parse(readFileSync(contractsFolder + file, 'utf8'))));
  }
  return contracts;
}

/** One line for each thing that ajv found at the last call of `validate`. */
export function describe(validate) {
  return (validate.errors ?? []).map((error) => `${error.instancePath}: ${error.message} (${error.keyword})`);
}
