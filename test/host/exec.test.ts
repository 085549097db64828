import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { dialog, exec, lines } from '../../src/host/exec.ts';
import { decodeText, encodeText, escapeControl } from '../../src/host/text.ts';
import type { Command, LineStream } from '../../src/host/host.ts';
import * as fc from 'fast-check';

const sh = (script: string, more: Partial<Command> = {}): Command => ({ file: 'sh', args: ['-c', script], ...more });

/** A zombie is dead: whoever is to reap it (init of a container) may not do so. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return false;
    throw error;
  }
}

describe('exec', () => {
  test('gives output, exit code and pid, and no shell ever sees the arguments', async () => {
    const result = await exec({ file: 'printf', args: ['%s\n', '$(id); `id` "x"'] });
    expect(result).toMatchObject({ exitCode: 0, stdout: '$(id); `id` "x"\n', stderr: '', timedOut: false });
    expect(result.pid).toBeGreaterThan(1);
  });

  test('gives the child LC_ALL=C, a fixed PATH, what the command adds, and nothing of our own environment', async () => {
    const { stdout } = await exec({ file: 'env', args: [], env: { XTABLES_LOCKFILE: '/x' } });
    expect(stdout.trim().split('\n').sort()).toEqual([
      'LC_ALL=C',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'XTABLES_LOCKFILE=/x',
    ]);
  });

  test('an exit code other than 0 is a result', async () => {
    expect(await exec(sh('echo no >&2; exit 3'))).toMatchObject({ exitCode: 3, stderr: 'no\n' });
  });

  test('a program that is not there is exit code 127 with the reason', async () => {
    const result = await exec({ file: 'mendwall-no-such-program', args: [] });
    expect(result).toMatchObject({ exitCode: 127, pid: undefined });
    expect(result.stderr).toContain('ENOENT');
  });

  test('death by a signal is 128 plus its number and is said', async () => {
    expect(await exec(sh('kill -9 $$'))).toMatchObject({ exitCode: 137, stderr: 'ended by SIGKILL\n' });
  });

  test('a timeout ends the child, keeps what it printed and says so', async () => {
    const result = await exec(sh('echo first; exec sleep 20', { timeoutMs: 200 }));
    expect(result).toMatchObject({ exitCode: 124, timedOut: true, stdout: 'first\n', stderr: 'killed after 200 ms\n' });
    expect(result.durationMs).toBeLessThan(3_000);
  });

  test('a background process that holds the pipes open does not hold us', async () => {
    const result = await exec(sh('sleep 3 & echo hi', { timeoutMs: 200 }));
    expect(result).toMatchObject({ timedOut: true, stdout: 'hi\n' });
    expect(result.durationMs).toBeLessThan(2_500);
  });

  test('a timeout ends what the child started, too, also when the child itself has ended or will not listen', async () => {
    const scripts = [
      'sleep 61 & echo $!; wait',
      'sleep 62 & echo $!',
      "trap '' TERM; sleep 63 & echo $!; wait; sleep 2",
    ];
    for (const script of scripts) {
      const { stdout, timedOut } = await exec(sh(script, { timeoutMs: 200 }));
      expect([timedOut, script]).toEqual([true, script]);
      await expect.poll(() => isAlive(Number(stdout)), { timeout: 8_000 }).toBe(false);
    }
  }, 30_000);

  test('a child that ends in time leaves what it started alone', async () => {
    const { stdout } = await exec(sh('sleep 20 >/dev/null 2>&1 & echo $!'));
    expect(isAlive(Number(stdout))).toBe(true);
    process.kill(Number(stdout));
  });

  test('stdin is empty by default, and a child that does not read its input is no error', async () => {
    expect((await exec({ file: 'cat', args: [] })).stdout).toBe('');
    expect((await exec({ file: 'true', args: [], input: 'x'.repeat(3_000_000) })).exitCode).toBe(0);
  });

  test('8 MB go in and come out byte for byte, also bytes that are not UTF-8', async () => {
    const input =
      decodeText(Buffer.from('# \xff\xfe\x80 caf\xc3\xa9\n', 'latin1')) + '-A INPUT -j ACCEPT\n'.repeat(420_000);
    const result = await exec({ file: 'cat', args: [], input });
    expect(result.stdout === input).toBe(true);
    const bytes = execFileSync('printf', ['\\377\\303\\251\\200']);
    expect((await exec({ file: 'printf', args: ['\\377\\303\\251\\200'] })).stdout).toBe(decodeText(bytes));
  });
});

describe('text', () => {
  test('any bytes survive decode and encode', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(Buffer.compare(encodeText(decodeText(bytes)), bytes)).toBe(0);
      }),
    );
  });

  test('UTF-8 stays readable beside a stray byte, and a real U+FFFD stays itself', () => {
    const bytes = Buffer.concat([Buffer.from('grün 😀 \ufffd '), Buffer.from([0xff])]);
    expect(decodeText(bytes)).toBe('grün 😀 \ufffd \udcff');
    expect(Buffer.compare(encodeText('grün 😀 \ufffd \udcff'), bytes)).toBe(0);
  });

  test('JSON keeps a stray byte', () => {
    expect(JSON.parse(JSON.stringify('a\udcffb'))).toBe('a\udcffb');
  });

  test('nothing that steers a terminal is left after escaping', () => {
    expect(escapeControl('a\x1b[2Jb\nc\td\x9be\u202ef\udcff ü')).toBe('a\\x1b[2Jb\\nc\\td\\x9be\\u202ef\\xff ü');
  });
});

interface Seen {
  readonly lines: string[];
  readonly ends: string[];
}

function follow(command: Command): { seen: Seen; ended: Promise<void>; close(): void; pid(): number | undefined } {
  const seen: Seen = { lines: [], ends: [] };
  let stream: LineStream | undefined;
  const ended = new Promise<void>((resolve) => {
    stream = lines(command, {
      line: (text) => seen.lines.push(text),
      end(reason) {
        seen.ends.push(reason);
        resolve();
      },
    });
  });
  return { seen, ended, close: () => stream?.close(), pid: () => stream?.pid };
}

describe('lines', () => {
  test('lines arrive whole, whatever the pieces they were written in', async () => {
    const { seen, ended } = follow(
      sh('printf "a\\nb"; sleep 0.1; printf "c\\n\\nd\\n"; printf rest; echo why >&2; exit 3'),
    );
    await ended;
    expect(seen.lines).toEqual(['a', 'bc', '', 'd']);
    expect(seen.ends).toEqual(['sh: exit code 3: why']);
  });

  test('a line arrives while the child goes on', async () => {
    const { seen, ended, close } = follow(sh('echo now; exec sleep 20'));
    await expect.poll(() => seen.lines, { timeout: 5_000, interval: 5 }).toEqual(['now']);
    close();
    await ended;
    expect(seen.ends).toEqual(['closed']);
  });

  test('close ends the child, also when it comes before the start', async () => {
    const running = follow({ file: 'sleep', args: ['20'] });
    await expect.poll(running.pid, { timeout: 5_000 }).toBeDefined();
    const pid = running.pid() ?? 0;
    running.close();
    await running.ended;
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    const early = follow({ file: 'sleep', args: ['20'] });
    early.close();
    await early.ended;
    expect([early.pid(), early.seen.ends]).toEqual([undefined, ['closed']]);
  });

  test('a program that is not there ends the stream with the reason', async () => {
    const { seen, ended } = follow({ file: 'mendwall-no-such-program', args: [] });
    await ended;
    expect(seen.ends).toHaveLength(1);
    expect(seen.ends[0]).toContain('ENOENT');
  });

  test('time per byte does not grow with the burst: 49 MB of monitor output', async () => {
    const line = 'add rule ip filter FORWARD ip saddr 10.0.0.1 counter packets 0 bytes 0 drop # handle 12';
    const perMegabyteMs = async (megabytes: number): Promise<number> => {
      const startedMs = performance.now();
      const { seen, ended } = follow(sh(`yes "${line}" | head -c ${megabytes * 1_000_000}`));
      await ended;
      expect(seen.lines.length).toBe(Math.floor((megabytes * 1_000_000) / (line.length + 1)));
      return (performance.now() - startedMs) / megabytes;
    };
    await perMegabyteMs(1);
    const [small, large] = [await perMegabyteMs(5), await perMegabyteMs(49)];
    expect(large).toBeLessThan(small * 4 + 10);
  });

  test('a line without an end in many pieces is joined once', async () => {
    const { seen, ended } = follow(sh('head -c 20000000 /dev/zero | tr "\\0" x; echo'));
    await ended;
    expect(seen.lines.map((line) => line.length)).toEqual([20_000_000]);
  });
});

describe('dialog', () => {
  interface Talk {
    readonly child: ReturnType<typeof dialog>;
    readonly seen: Seen;
    readonly ended: Promise<void>;
  }

  function talk(command: Command): Talk {
    const seen: Seen = { lines: [], ends: [] };
    let ends = (): void => undefined;
    const ended = new Promise<void>((resolve) => (ends = resolve));
    const child = dialog(command, {
      line: (text) => seen.lines.push(text),
      end(reason) {
        seen.ends.push(reason);
        ends();
      },
    });
    return { child, seen, ended };
  }

  test('what is written arrives, before the start and later, and the child goes on until it is closed', async () => {
    const { child, seen, ended } = talk({ file: 'cat', args: [] });
    child.write('one\n');
    await expect.poll(() => seen.lines, { timeout: 5_000 }).toEqual(['one']);
    child.write('a\udcff\n');
    await expect.poll(() => seen.lines, { timeout: 5_000 }).toEqual(['one', 'a\udcff']);
    child.close();
    await ended;
    expect(seen.ends).toEqual(['closed']);
  });

  test('writing to a child that has ended does nothing; a stopped one can be closed', async () => {
    const gone = talk(sh('exit 3'));
    await gone.ended;
    gone.child.write('x\n');
    expect(gone.seen.ends).toEqual(['sh: exit code 3']);
    const stopped = talk(sh('kill -STOP $$'));
    await expect.poll(() => stopped.child.pid, { timeout: 5_000 }).toBeDefined();
    stopped.child.close();
    await stopped.ended;
    expect(stopped.seen.ends).toEqual(['closed']);
  });
});
