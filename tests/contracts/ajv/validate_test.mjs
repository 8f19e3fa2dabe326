// usage: node --test validate_test.mjs
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { contractsFolder } from './contracts.mjs';

const script = fileURLToPath(new URL('validate.mjs', import.meta.url));
const example = (type, name) =>
  JSON.stringify(JSON.parse(readFileSync(`${contractsFolder}examples/${type}/${name}.json`, 'utf8')));
const valid = example('forecast.completed', 'valid-full');
const invalid = example('forecast.completed', 'invalid-without-confidence');

function validate(input, ...args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { input, encoding: 'utf8' });
  return { status, stdout: stdout && JSON.parse(stdout), stderr };
}

test('counts valid events by type', () => {
  const failed = example('forecast.failed', 'valid-full');
  const { status, stdout, stderr } = validate(`${valid}\n${failed}\n\n${valid}\n`);
  assert.deepEqual(stdout, { checked: 3, invalid: 0, unknown: 0, types: { 'forecast.completed': 2, 'forecast.failed': 1 } });
  assert.equal(stderr, '');
  assert.equal(status, 0);
});

test('names the line, the pointer and the keyword of a violation', () => {
  const { status, stdout, stderr } = validate(`${valid}\n${invalid}\n`);
  assert.equal(stdout.invalid, 1);
  assert.match(stderr, /^line 2: forecast\.completed: \/data: must have required property 'confidence' \(required\)\n$/);
  assert.equal(status, 1);
});

test('counts a type without contract as unknown, not as invalid', () => {
  const { status, stdout } = validate('{"type":"deal.cloned"}\n{"type":"__proto__"}\n');
  assert.equal(stdout.unknown, 2);
  assert.deepEqual(Object.entries(stdout.types), [['deal.cloned', 1], ['__proto__', 1]]);
  assert.equal(stdout.invalid, 0);
  assert.equal(status, 0);
});

test('takes the lines of an export', () => {
  const line = (event) => `{"index":7,"receivedAt":"2026-03-01T09:30:00.004Z","event":${event}}`;
  const { stdout, stderr } = validate(`${line(valid)}\n${line(invalid)}\n${line(null)}\n`);
  assert.deepEqual(stdout, { checked: 3, invalid: 2, unknown: 0, types: { 'forecast.completed': 2 } });
  assert.match(stderr, /^line 2: forecast\.completed: .*\nline 3: not an event/);
});

test('calls a line invalid that is no event', () => {
  const { status, stdout, stderr } = validate('{"type":\n17\nnull\n{"type":7}');
  assert.equal(stdout.invalid, 4);
  assert.match(stderr, /line 1: not JSON/);
  assert.match(stderr, /line 4: not an event/);
  assert.equal(status, 1);
});

test('reads a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'wfo-ajv-'));
  try {
    const file = join(folder, 'events.jsonl');
    writeFileSync(file, `${valid}\n`);
    assert.equal(validate('', file).stdout.checked, 1);
    assert.equal(validate('', file + '.not').status, 2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
