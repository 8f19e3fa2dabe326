// Our cron expressions fire when those of the npm package cron-parser do, where both define the same; and where they do
// not, exactly as docs/guide/cron.md says in its tables, which are read from there.
//
// WFO_PRINT_FIRES: the program print_fires.cpp.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CronExpressionParser } from 'cron-parser';
import { DateTime } from 'luxon';

const guide = readFileSync(new URL('../../docs/guide/cron.md', import.meta.url), 'utf8');

// [{expression, zone, after, count}] → for each {refused: reason} or {fires: [{at, rule}]}; times are milliseconds.
function ours(cases) {
  const input = cases.map((c) => `${c.expression}\t${c.zone}\t${new Date(c.after).toISOString()}\t${c.count}\n`).join('');
  const run = spawnSync(process.env.WFO_PRINT_FIRES, { input, encoding: 'utf8', maxBuffer: 1 << 28 });
  assert.equal(run.status, 0, run.stderr || String(run.error));
  const lines = run.stdout.split('\n').slice(0, -1);
  assert.equal(lines.length, cases.length);
  return lines.map((line) => {
    const [kind, ...rest] = line.split('\t');
    if (kind === 'refused') return { refused: rest[0] };
    const fires = [];
    for (let i = 0; i < rest.length; i += 2) fires.push({ at: Date.parse(rest[i]), rule: rest[i + 1] });
    return { fires };
  });
}

function theirs({ expression, zone, after, count, until = Infinity }) {
  try {
    const cron = CronExpressionParser.parse(expression, { currentDate: new Date(after), tz: zone });
    const fires = [];
    for (const date of cron) {
      fires.push({ at: date.getTime() });
      if (fires.length === count || date.getTime() > until) break;
    }
    return { fires };
  } catch (error) {
    return { refused: error.message };
  }
}

// Rows of the table below the heading, as objects by column; backticks are not part of a cell.
function tableOf(heading) {
  const section = guide.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  assert.ok(section, `docs/guide/cron.md has a section '${heading}'`);
  const rows = section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) => line.replaceAll('\\|', '\u0000').split('|').slice(1, -1).map((cell) => cell.replaceAll('`', '').trim()));
  const [columns, , ...cells] = rows;
  return cells.map((row) => Object.fromEntries(columns.map((column, i) => [column, row[i]])));
}

// The fires on that day of the wall clock: `03:00 -04:00`, with the rule, if there is one and it is not the regular one.
function onDay(answer, { zone, on }) {
  if (answer.refused) return 'refused';
  const shown = answer.fires
    .map((fire) => ({ local: DateTime.fromMillis(fire.at, { zone }), rule: fire.rule }))
    .filter(({ local }) => local.toISODate() === on)
    .map(({ local, rule }) => local.toFormat('HH:mm ZZ') + (rule && rule !== 'regular' ? ` ${rule}` : ''));
  return shown.join(', ') || 'none';
}
// The day, wherever it lies in UTC.
function dayCase({ expression, zone, on }) {
  const noon = Date.parse(`${on}T12:00:00Z`);
  const half = 30 * 3_600_000;
  return { expression, zone, after: noon - half, until: noon + half, count: 60 * 60 };
}

test('what the guide says of days on which the clock changes', () => {
  const rows = tableOf('When the clock changes');
  assert.ok(rows.length >= 12);
  const answers = ours(rows.map(dayCase));
  rows.forEach((row, i) => assert.equal(onDay(answers[i], row), row.fires, `${row.expression} ${row.zone} ${row.on}`));
});

test('where cron-parser does something else on such days, as the guide says', () => {
  const rows = tableOf('Differences from cron-parser when the clock changes');
  assert.ok(rows.length >= 6);
  const answers = ours(rows.map(dayCase));
  rows.forEach((row, i) => {
    const name = `${row.expression} ${row.zone} ${row.on}`;
    const plain = answers[i].fires?.map(({ at }) => ({ at }));
    assert.equal(onDay({ ...answers[i], fires: plain }, row), row.ours, name);
    assert.equal(onDay(theirs(dayCase(row)), row), row['cron-parser'], name);
    assert.notEqual(row.ours, row['cron-parser'], name);
    assert.ok(row.reason, name);
  });
});

test('where cron-parser reads an expression otherwise, as the guide says', () => {
  const rows = tableOf('Differences from cron-parser in what an expression means');
  assert.ok(rows.length >= 12);
  const after = Date.parse('2026-01-01T00:00:00Z');
  const cases = rows.map(({ expression }) => ({ expression, zone: 'UTC', after, count: 4 }));
  const show = (answer, cell) => {
    if (answer.refused || cell === 'taken') return answer.refused ? 'refused' : 'taken';
    return answer.fires.map(({ at }) => new Date(at).toISOString().slice(5, 10)).join(', ');
  };
  ours(cases).forEach((answer, i) => {
    const row = rows[i];
    assert.equal(show(answer, row.ours), row.ours, row.expression);
    assert.equal(show(theirs(cases[i]), row['cron-parser']), row['cron-parser'], row.expression);
    assert.notEqual(row.ours, row['cron-parser'], row.expression);
    assert.ok(row.reason, row.expression);
  });
});

test('days on which the clock changes and both do the same', () => {
  const rows = [
    ['30 1 * * *', 'America/New_York', '2025-11-02'], // repeated: the first pass
    ['*/20 1 * * *', 'America/New_York', '2025-11-02'],
    ['30 * * * *', 'America/New_York', '2025-11-02'], // both passes
    ['* * * * *', 'Europe/London', '2025-10-26'],
    ['*/15 1 * * *', 'Australia/Lord_Howe', '2025-04-06'],
    ['30 * * * *', 'America/New_York', '2025-03-09'], // none in the gap
    ['* * * * *', 'Europe/London', '2025-03-30'],
    ['0 2 * * *', 'America/New_York', '2025-03-09'], // merged into the first instant behind it
    ['0 0 * * *', 'America/Santiago', '2025-09-07'],
    ['0 3 * * *', 'America/New_York', '2025-03-09'],
    ['0,30 3 * * *', 'Europe/Berlin', '2025-03-30'],
  ].map(([expression, zone, on]) => ({ expression, zone, on }));
  ours(rows.map(dayCase)).forEach((answer, i) => {
    const plain = { fires: answer.fires.map(({ at }) => ({ at })) };
    const shown = onDay(plain, rows[i]);
    assert.notEqual(shown, 'none', rows[i].expression);
    assert.equal(shown, onDay(theirs(dayCase(rows[i])), rows[i]), `${rows[i].expression} ${rows[i].zone}`);
  });
});

// mulberry32
function generator(seed) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const number = (min, max) => min + Math.floor(next() * (max - min + 1));
  return { number, oneIn: (n) => number(1, n) === 1, of: (list) => list[number(0, list.length - 1)] };
}

const kMonths = ['jan', 'FEB', 'Mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'NOV', 'DEC'];
const kDays = ['SUN', 'mon', 'Tue', 'wed', 'thu', 'FRI', 'sat'];

// Of what both define, and in the same way: see the tables in the guide for the rest.
function randomExpression(random) {
  const element = (min, max, name) => {
    const a = random.number(min, max);
    const b = random.number(a, max);
    const step = random.number(1, Math.max(2, Math.floor(max / 3)));
    switch (random.number(0, 6)) {
      case 0:
        return { text: `${name(a)}-${name(b)}`, from: a, to: b, step: 1 };
      case 1:
        return { text: `${a}-${b}/${step}`, from: a, to: b, step };
      case 2:
        return { text: `*/${step}`, from: min, to: max, step };
      case 3:
        return { text: `${a}/${step}`, from: a, to: max, step };
      default:
        return { text: name(a), from: a, to: a, step: 1 };
    }
  };
  // A list without a value twice, which cron-parser refuses.
  const field = (min, max, name = String) => {
    const values = new Set();
    const texts = [];
    for (let tries = random.of([1, 1, 1, 2, 3]); tries > 0; --tries) {
      const { text, from, to, step } = element(min, max, name);
      const more = [];
      for (let i = from; i <= to; i += step) more.push(i);
      if (more.some((i) => values.has(i))) continue;
      more.forEach((i) => values.add(i));
      texts.push(text);
    }
    return { text: texts.join(','), size: values.size };
  };
  const parts = [random.oneIn(4) ? '*' : field(0, 59).text, random.oneIn(4) ? '*' : field(0, 23).text];
  const month = random.oneIn(3) ? field(1, 12, (i) => (random.oneIn(3) ? kMonths[i - 1] : String(i))).text : '*';
  let dayOfMonth = '*';
  let dayOfWeek = '*';
  // Stars with steps count as stars here and not there if both days are given; also a range of all days does there.
  const noStar = (make, all) => {
    for (;;) {
      const made = make();
      if (!made.text.includes('*') && made.size < all) return made.text;
    }
  };
  const weekday = () => {
    if (random.oneIn(6)) return `${random.number(0, 7)}L`;
    if (random.oneIn(6)) return `${random.number(0, 7)}#${random.number(1, 4)}`;
    // No open steps (`1/2`): they end on Saturday here and on the next Sunday there.
    return noStar(() => {
      const made = field(0, 6, (i) => (random.oneIn(3) ? kDays[i] : String(i)));
      return /(^|,)\d\//.test(made.text) ? { text: '*' } : made;
    }, 7);
  };
  switch (random.number(0, 5)) {
    case 0:
      dayOfMonth = random.oneIn(4) ? 'L' : field(1, 31).text;
      break;
    case 1:
      dayOfWeek = random.oneIn(6) ? '*/2' : weekday();
      break;
    case 2: // either is enough
      dayOfMonth = random.oneIn(4) ? 'L' : noStar(() => field(1, 31), 31);
      dayOfWeek = weekday();
      break;
    default:
  }
  if (random.oneIn(8) && dayOfMonth === '*') dayOfMonth = '?';
  if (random.oneIn(8) && dayOfWeek === '*') dayOfWeek = '?';
  const seconds = random.oneIn(6) ? `${field(0, 59).text} ` : '';
  return `${seconds}${parts.join(' ')} ${dayOfMonth} ${month} ${dayOfWeek}`;
}

test('random expressions of what both define, on days on which the clock does not change', () => {
  const seed = Number(process.env.WFO_SEED ?? randomInt(2 ** 32));
  console.log(`seed ${seed} (WFO_SEED)`);
  const random = generator(seed);
  const zones = ['UTC', 'America/New_York', 'Europe/London', 'Asia/Kathmandu', 'Australia/Lord_Howe', 'Pacific/Apia',
    'America/Santiago', 'Asia/Tokyo', 'Europe/Dublin'];
  // From 2000 to 2025: Node brings zone data of its own, and the system's may know of changes in the law since then.
  const cases = Array.from({ length: 3_000 }, () => ({
    expression: randomExpression(random),
    zone: random.of(zones),
    after: Date.UTC(random.number(2000, 2023), random.number(0, 11), random.number(1, 28), random.number(0, 23), random.number(0, 59)),
    count: 12,
  }));
  const answers = ours(cases);
  const day = 26 * 3_600_000;
  const offset = (at, zone) => DateTime.fromMillis(at, { zone }).offset;
  let fires = 0;
  let refused = 0;
  let gaveUp = 0;
  cases.forEach((c, i) => {
    const name = `seed ${seed}: '${c.expression}' ${c.zone} after ${new Date(c.after).toISOString()}`;
    const mine = answers[i];
    const other = theirs(c);
    if (mine.refused || (other.refused ?? '').includes('day of month')) { // February 30
      assert.match(mine.refused ?? '', /no day that ever comes/, `${name}: theirs: ${JSON.stringify(other)}`);
      assert.ok(other.refused || other.fires.length === 0, name);
      ++refused;
      return;
    }
    assert.equal(other.refused, undefined, name);
    // As far as they both go, and no further than to where one meets a change of the clock.
    const all = [mine.fires, other.fires];
    const changed = Math.min(...all.map((list) => {
      let before = c.after;
      const index = list.findIndex(({ at }) => {
        const changes = offset(before - day, c.zone) !== offset(at + day, c.zone);
        before = at;
        return changes && (offset(at - day, c.zone) !== offset(at + day, c.zone));
      });
      return index < 0 ? list.length : index;
    }));
    if (other.fires.length < c.count) ++gaveUp; // after some thousand steps of its search
    const [a, b] = all.map((list) => list.slice(0, changed).map(({ at }) => new Date(at).toISOString()));
    assert.deepEqual(a, b, name);
    fires += a.length;
  });
  console.log(`${cases.length} cases, ${fires} fires the same, ${refused} expressions refused by both`);
  assert.ok(gaveUp < cases.length / 100, `cron-parser gave up on ${gaveUp}`);
  assert.ok(fires > 20_000, 'too few for a test');
});
