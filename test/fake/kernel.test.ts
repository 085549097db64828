// The fake's own promises, those that the parity lab cannot show on the real kernel: windows, events, crashes, time.

import { describe, expect, test } from 'vitest';
import type { Commit } from '../../src/events/types.ts';
import { createFakeHost, type FakeHost } from './host.ts';

const FULL =
  '*filter\n:x - [0:0]\n-A FORWARD -s 1.1.1.1/32 -j DROP\n-A FORWARD -s 2.2.2.2/32 -j DROP\n-A FORWARD -s 3.3.3.3/32 -j DROP\nCOMMIT\n';

const rules = (host: FakeHost): string[] =>
  host.kernel
    .save()
    .split('\n')
    .filter((line) => line.startsWith('-A FORWARD'));

const restore = (host: FakeHost, ...lines: string[]): ReturnType<FakeHost['exec']> =>
  host.exec({ file: 'iptables-restore', args: ['--noflush'], input: `*filter\n${lines.join('\n')}\nCOMMIT\n` });

function loaded(): FakeHost {
  const host = createFakeHost();
  host.kernel.foreign(['iptables-restore'], FULL);
  return host;
}

describe('between our read and our commit', () => {
  test('a full foreign restore makes our deletions hit other rules, with exit code 0', async () => {
    const host = loaded();
    // After it handle 2 is the first rule, handle 3 the second, whatever they say.
    host.kernel.beforeCommit(() =>
      host.kernel.foreign(['iptables-restore'], FULL.replace('1.1.1.1', '9.9.9.9').replace('2.2.2.2', '8.8.8.8')),
    );
    expect(await restore(host, '-D FORWARD -s 1.1.1.1/32 -j DROP')).toMatchObject({ exitCode: 0 });
    expect(rules(host)).toEqual(['-A FORWARD -s 8.8.8.8/32 -j DROP', '-A FORWARD -s 3.3.3.3/32 -j DROP']);
  });

  test('a sentinel chain that went with the table makes the batch fail whole', async () => {
    const host = loaded();
    await restore(host, '-N mw-1');
    host.kernel.beforeCommit(() => host.kernel.foreign(['iptables-restore'], FULL));
    const result = await restore(host, '-X mw-1', '-N mw-2', '-D FORWARD -s 1.1.1.1/32 -j DROP');
    expect(result).toMatchObject({ exitCode: 4 });
    expect(result.stderr).toBe(
      'iptables-restore v1.8.9 (nf_tables): \nline 2: CHAIN_DEL failed (No such file or directory): chain mw-1\n',
    );
    expect(rules(host)).toHaveLength(3);
  });

  test('an insertion is anchored to the rule, and fails when that rule is gone', async () => {
    const anchored = loaded();
    anchored.kernel.beforeCommit(() => anchored.kernel.foreign(['iptables', '-I', 'FORWARD', '-j', 'ACCEPT']));
    await restore(anchored, '-I FORWARD 3 -j x');
    expect(rules(anchored)[3]).toBe('-A FORWARD -j x');
    const gone = loaded();
    gone.kernel.beforeCommit(() => gone.kernel.foreign(['iptables', '-D', 'FORWARD', '3']));
    expect(await restore(gone, '-I FORWARD 3 -j x')).toMatchObject({ exitCode: 4 });
  });

  test('a foreign flush of the ruleset fails every kind of edit', async () => {
    for (const line of ['-A FORWARD -j DROP', '-A x -j DROP', '-I FORWARD 3 -j DROP', '-D FORWARD 1']) {
      const host = loaded();
      host.kernel.beforeCommit(() => host.kernel.foreign(['nft', 'flush', 'ruleset']));
      expect(await restore(host, line)).toMatchObject({ exitCode: 4 });
      expect(host.kernel.save()).toBe('');
    }
  });

  test('on legacy the lock puts the other one before our read', async () => {
    const host = createFakeHost({ engine: 'legacy' });
    host.kernel.foreign(['iptables-restore'], FULL);
    host.kernel.beforeCommit(() => host.kernel.foreign(['iptables', '-D', 'FORWARD', '1']));
    expect(await restore(host, '-D FORWARD 1')).toMatchObject({ exitCode: 0 });
    expect(rules(host)).toEqual(['-A FORWARD -s 3.3.3.3/32 -j DROP']);
  });

  test('a lost race and a kill can be ordered, and change nothing', async () => {
    const host = loaded();
    host.kernel.failNextCommit();
    host.kernel.failNextCommit('killed');
    expect(await restore(host, '-A FORWARD -j DROP')).toMatchObject({ exitCode: 4 });
    expect(await restore(host, '-A FORWARD -j DROP')).toMatchObject({ exitCode: 137, stderr: '' });
    expect(rules(host)).toHaveLength(3);
  });
});

describe('what a commit looks like', () => {
  const seen = (act: (host: FakeHost) => void): readonly Commit[] => {
    const host = loaded();
    const commits: Commit[] = [];
    host.kernel.onCommit(({ commit }) => commits.push(commit));
    act(host);
    return commits;
  };

  test('a load deletes and adds its table in one generation', () => {
    const [commit, ...more] = seen((host) => host.kernel.foreign(['/usr/sbin/iptables-restore'], FULL));
    expect(more).toEqual([]);
    expect(commit?.changes).toEqual([
      {
        family: 'ip',
        table: 'filter',
        deletesTable: true,
        addsTable: true,
        rulesAdded: 3,
        rulesDeleted: 3,
        ruleChains: ['FORWARD'],
        chainsAdded: ['x', 'FORWARD'],
        chainsDeleted: ['x', 'FORWARD'],
      },
    ]);
    expect(commit?.author.comm).toBe('iptables-restor');
  });

  test('what changes nothing is no commit', () => {
    expect(seen((host) => host.kernel.foreign(['iptables', '-F', 'x']))).toEqual([]);
    expect(seen((host) => host.kernel.foreign(['iptables', '-D', 'FORWARD', '-j', 'ACCEPT']))).toEqual([]);
    expect(seen((host) => host.kernel.foreign(['iptables-legacy', '-A', 'FORWARD', '-j', 'ACCEPT']))).toEqual([]);
  });

  test('nft flush ruleset is one commit over both families', () => {
    const [commit] = seen((host) => {
      host.kernel.foreign(['ip6tables', '-N', 'y']);
      host.kernel.foreign(['nft', 'flush', 'ruleset']);
    }).slice(1);
    expect(commit?.changes.map(({ family, deletesTable, addsTable }) => [family, deletesTable, addsTable])).toEqual([
      ['ip', true, false],
      ['ip6', true, false],
    ]);
  });

  test('nft monitor prints it, and /proc shows who it was', async () => {
    const host = loaded();
    const lines: string[] = [];
    const stream = host.lines(
      { file: 'nft', args: ['monitor'] },
      { line: (text) => void lines.push(text), end: () => undefined },
    );
    const { pid } = host.kernel.foreign(['iptables', '-I', 'FORWARD', '-i', 'virbr0', '-j', 'DROP']);
    expect(lines).toEqual([
      'insert rule ip filter FORWARD iifname "virbr0" counter packets 0 bytes 0 drop',
      `# new generation 3 by process ${pid} (iptables)`,
    ]);
    expect(host.proc.read(`/proc/${pid}/cmdline`)).toBe('iptables\0-I\0FORWARD\0-i\0virbr0\0-j\0DROP\0');
    stream.close();
    host.kernel.foreign(['iptables', '-F']);
    expect(lines).toHaveLength(2);
  });
});

describe('the rest of the host', () => {
  test('a crash leaves the old file or the new one', async () => {
    for (let steps = 1; steps <= 4; steps++) {
      const { files } = createFakeHost();
      await files.writeAtomic('/var/a', 'old');
      files.crashAfter(steps);
      await files.writeAtomic('/var/a', 'new').catch((error: Error) => expect(error.name).toBe('Crashed'));
      files.reboot();
      expect(['old', 'new']).toContain(await files.read('/var/a'));
    }
  });

  test('a full disk keeps the old file', async () => {
    const { files } = createFakeHost();
    await files.writeAtomic('/var/a', 'old');
    files.fillDisk('/var/');
    await expect(files.writeAtomic('/var/a', 'new')).rejects.toMatchObject({ code: 'write-failed' });
    await expect(files.append('/var/b', 'line')).rejects.toMatchObject({ code: 'write-failed' });
    expect(await files.list('/var')).toEqual(['a']);
    expect(await files.read('/var/a')).toBe('old');
  });

  test('timers run in order of their time, and see it', async () => {
    const { clock } = createFakeHost();
    const seen: (readonly [string, number])[] = [];
    clock.after(20, () => seen.push(['b', clock.monoMs()]));
    clock.after(10, () => clock.after(5, () => seen.push(['a', clock.monoMs()])));
    clock.after(15, () => seen.push(['never', 0])).cancel();
    await clock.advance(19);
    expect(seen).toEqual([['a', 15]]);
    await clock.advance(1);
    expect(seen).toEqual([
      ['a', 15],
      ['b', 20],
    ]);
  });

  test('a foreign command can come before any command of ours', async () => {
    const host = createFakeHost();
    host.beforeExec(() => host.kernel.foreign(['iptables', '-N', 'foreign']));
    expect((await host.exec({ file: 'iptables-save', args: [] })).stdout).toContain(':foreign - [0:0]');
  });
});
