import { execFileSync } from 'node:child_process';
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Clock } from '../../src/host/host.ts';
import { openLog, type LogOptions } from '../../src/host/log.ts';
import { bundle } from './child.ts';

let dir = '';
let fd = 0;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mendwall-log-'));
  fd = openSync(`${dir}/log`, 'a');
});
afterEach(() => {
  vi.unstubAllEnvs();
  closeSync(fd);
  rmSync(dir, { recursive: true });
});

const written = (): string => readFileSync(`${dir}/log`, 'utf8');

/** A clock whose timers run when the test says so. */
function handClock(): Clock & { ring(): void } {
  const due: (() => void)[] = [];
  return {
    wallMs: () => 0,
    monoMs: () => 0,
    after(_ms, run) {
      due.push(run);
      return { cancel: () => due.splice(0) };
    },
    ring: () => due.splice(0).forEach((run) => run()),
  };
}

const open = (more: Partial<LogOptions> = {}) =>
  openLog({ form: 'plain', level: 'info', clock: handClock(), fd, ...more });

describe('the log', () => {
  test('for the journal each line has its sd-daemon priority', async () => {
    const log = open({ form: 'journal', level: 'debug' });
    for (const level of ['debug', 'info', 'notice', 'warning', 'error'] as const) log.write(level, `a ${level}`);
    await log.close();
    expect(written()).toBe('<7>a debug\n<6>a info\n<5>a notice\n<4>a warning\n<3>a error\n');
  });

  test('plain text names only warnings and errors, and leaves out what is below the level', async () => {
    const log = open();
    log.write('debug', 'not this');
    log.write('info', 'mended 3 rules');
    log.write('warning', 'contended');
    await log.close();
    expect(written()).toBe('mended 3 rules\nwarning: contended\n');
  });

  test('JSON has schema, level, time, message and fields', async () => {
    const log = open({ form: 'json' });
    log.write('notice', 'mended', { rules: 3, level: 'not the level' });
    await log.close();
    expect(JSON.parse(written())).toEqual({
      schema: 1,
      level: 'notice',
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      message: 'mended',
      fields: { rules: 3, level: 'not the level' },
    });
  });

  test('is for the journal only when stderr is what JOURNAL_STREAM names', async () => {
    const { dev, ino } = fstatSync(fd);
    vi.stubEnv('JOURNAL_STREAM', `${dev}:${ino}`);
    const toJournal = open({ form: 'auto' });
    toJournal.write('info', 'one');
    await toJournal.close();
    vi.stubEnv('JOURNAL_STREAM', '1:2');
    const elsewhere = open({ form: 'auto' });
    elsewhere.write('info', 'two');
    await elsewhere.close();
    expect(written()).toBe('<6>one\ntwo\n');
  });

  test('a rule comment cannot steer the terminal or forge a line', async () => {
    const log = open({ form: 'journal' });
    log.write('info', 'rule --comment "\x1b]0;x\x07\n<0>forged \x9b31m \udcff"');
    await log.close();
    expect(written()).toBe('<6>rule --comment "\\x1b]0;x\\x07\\n<0>forged \\x9b31m \\xff"\n');
  });

  test('the same message again is counted: until another comes, until the window ends, or until the end', async () => {
    const clock = handClock();
    const log = open({ clock });
    for (let i = 0; i < 5; i += 1) log.write('error', 'lost');
    log.write('info', 'other');
    log.write('info', 'other');
    clock.ring();
    log.write('info', 'other');
    log.write('info', 'other');
    await log.close();
    expect(written().split('\n')).toEqual([
      'error: lost',
      'error: lost (said 4 more times)',
      'other',
      'other (said 1 more times)',
      'other',
      'other (said 1 more times)',
      '',
    ]);
  });

  test('a line is on its descriptor when write returns, once pino is loaded', async () => {
    const log = open();
    log.write('info', 'first');
    await expect.poll(written).toBe('first\n');
    log.write('info', 'second');
    expect(written()).toBe('first\nsecond\n');
  });

  test('lines survive an exit before pino is loaded', () => {
    const program = bundle(
      `
      import { openLog } from './src/host/log.ts';
      import { realClock } from './src/host/clock.ts';
      const log = openLog({ form: 'json', level: 'info', clock: realClock, fd: 1 });
      log.write('error', 'last words', { code: 1 });
      process.exit(0);`,
      dir,
    );
    const line: unknown = JSON.parse(execFileSync(process.execPath, [program], { encoding: 'utf8' }));
    expect(line).toMatchObject({ schema: 1, level: 'error', message: 'last words', fields: { code: 1 } });
  });
});
