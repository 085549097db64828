// Canonicalising with the fake kernel in the place of the throw-away namespace; what iptables makes of typed rules is
// shown by test/lab/canonical.lab.ts.

import { describe, expect, test } from 'vitest';
import { canonicalise } from '../../src/apply/canonical.ts';
import type { Command } from '../../src/host/host.ts';
import { createFakeHost, type FakeHost } from '../fake/host.ts';
import { createFakeKernel } from '../fake/kernel.ts';

/** A host whose `unshare` is a new fake kernel: restore, then save, as the script does. */
function hostWithNamespaces(): { readonly host: FakeHost; readonly runs: Command[] } {
  const host = createFakeHost();
  const runs: Command[] = [];
  host.answer('unshare', (command) => {
    runs.push(command);
    const [restore = '', save = '', , , ...sets] = command.args.slice(6);
    const kernel = createFakeKernel({ sets: sets.filter((_, at) => at % 2 === 0) });
    const restored = kernel.run(restore, ['--noflush', '--counters'], command.input);
    return restored.exitCode === 0 ? kernel.run(save, ['--counters']) : restored;
  });
  return { host, runs };
}

const inFilter = (...lines: readonly string[]): string => ['*filter', ...lines, 'COMMIT', ''].join('\n');

describe.each(['nft', 'legacy'] as const)('%s', (engine) => {
  test('each line gets its saved form', async () => {
    const { host, runs } = hostWithNamespaces();
    const text = inFilter(':FORWARD DROP', ':x -', '-I FORWARD -s 10.0.0.1 -j x', '# why', '[3:4] -A x --jump REJECT');
    expect(await canonicalise(host, engine, 'ip', text)).toMatchObject({
      kind: 'read',
      lines: [
        { line: 1, kind: 'ok', saved: [] },
        { saved: [':FORWARD DROP [0:0]'] },
        { saved: [':x - [0:0]'] },
        { saved: ['-A FORWARD -s 10.0.0.1/32 -j x'] },
        { saved: [] },
        { saved: ['-A x -j REJECT --reject-with icmp-port-unreachable'] },
        { saved: [] },
        { line: 8, kind: 'ok', saved: [] },
      ],
    });
    expect(runs).toHaveLength(1);
  });

  test('IPv6 too, where iptables-nft gives no counters back', async () => {
    const { host, runs } = hostWithNamespaces();
    const text = inFilter('-A INPUT -s fd00::1 -j DROP', '-I INPUT 1 -i lo -j ACCEPT');
    const canonical = await canonicalise(host, engine, 'ip6', text);
    expect(canonical).toMatchObject({
      lines: [{}, { saved: ['-A INPUT -s fd00::1/128 -j DROP'] }, { saved: ['-A INPUT -i lo -j ACCEPT'] }, {}, {}],
      savedText: expect.stringContaining('-A INPUT -i lo -j ACCEPT\n-A INPUT -s fd00::1/128 -j DROP\nCOMMIT\n'),
    });
    expect(runs).toHaveLength(engine === 'nft' ? 2 : 1);
  });

  test('a refused line is named, and taken out for the rest', async () => {
    const { host, runs } = hostWithNamespaces();
    const text = inFilter('-A INPUT -j DROP', 'garbage', '-A INPUT --bogus 1', '-D INPUT 9', '-A INPUT -j ACCEPT');
    const canonical = await canonicalise(host, engine, 'ip', text, '/etc/rules.v4');
    if (canonical.kind !== 'read') throw new Error(canonical.why);
    expect(canonical.lines.map(({ kind }) => kind)).toEqual(['ok', 'ok', 'bad', 'bad', 'bad', 'ok', 'ok', 'ok']);
    expect(canonical.lines[2]).toMatchObject({
      problem: { code: 'bad-line', file: '/etc/rules.v4', line: 3, column: 1, message: "Bad argument `garbage'" },
    });
    expect(runs).toHaveLength(4);
  });

  test('what is not here now is unchecked, and still gets its form', async () => {
    const { host } = hostWithNamespaces();
    const canonical = await canonicalise(
      host,
      engine,
      'ip',
      inFilter(
        '-A INPUT -j DOCKER-USER',
        '-A INPUT -m set --match-set gone src -j DROP',
        '-A INPUT -m geoip --src-cc DE -j DROP',
      ),
    );
    expect(canonical).toMatchObject({
      lines: [
        {},
        { kind: 'unchecked', why: 'there is no chain or target DOCKER-USER now', saved: ['-A INPUT -j DOCKER-USER'] },
        {
          kind: 'unchecked',
          why: 'set gone does not exist now',
          saved: ['-A INPUT -m set --match-set gone src -j DROP'],
        },
        { kind: 'unchecked', why: 'match extension geoip cannot be loaded on this machine', saved: [] },
        {},
        {},
      ],
      savedText: expect.not.stringContaining(':DOCKER-USER'),
    });
  });

  test("the host's own chains and sets count as there", async () => {
    const { host, runs } = hostWithNamespaces();
    host.kernel.foreign(['iptables', '-N', 'LIBVIRT_FWI']);
    host.answer('ipset', () => ({ stdout: 'Name: banned\nType: hash:ip\nHeader: family inet6 hashsize 1024\n\n' }));
    const text = inFilter('-A LIBVIRT_FWI -j ACCEPT', '-A INPUT -m set --match-set banned src -j DROP');
    expect(await canonicalise(host, engine, 'ip', text)).toMatchObject({
      lines: [{}, { kind: 'ok' }, { kind: 'ok' }, {}, {}],
    });
    expect(runs[0]?.args.slice(-2)).toEqual(['banned', 'inet6']);
  });
});

test('only stdin and arguments carry data: the script is always the same', async () => {
  const { host, runs } = hostWithNamespaces();
  await canonicalise(host, 'nft', 'ip', inFilter('-A INPUT -m comment --comment "$(reboot)" -j DROP'));
  await canonicalise(host, 'legacy', 'ip6', inFilter('-A INPUT -m set --match-set $(reboot) src -j DROP'));
  expect(new Set(runs.map(({ args }) => args[4])).size).toBe(1);
  expect(runs.flatMap(({ args }) => args).join(' ')).not.toContain('reboot');
  expect(runs[0]?.env).toEqual({ XTABLES_LOCKFILE: '/dev/null' });
});

test('a text that iptables cannot be made to judge is unavailable', async () => {
  const host = createFakeHost();
  host.answer('unshare', () => ({ exitCode: 1, stderr: 'unshare: unshare failed: Operation not permitted\n' }));
  expect(await canonicalise(host, 'nft', 'ip', inFilter())).toEqual({
    kind: 'unavailable',
    why: 'no network namespace of our own (it needs root): unshare: unshare failed: Operation not permitted',
  });
});
