// Typed rules through the real iptables, both engines: the "host" is a network namespace of the test's own.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalise, type Canonical, type CanonicalLine } from '../../src/apply/canonical.ts';
import { exec } from '../../src/host/exec.ts';
import type { Command, Host } from '../../src/host/host.ts';
import { filterRule, portForward, sourceNat } from '../generate/rules.ts';
import { createFakeHost } from '../fake/host.ts';
import { openRealKernel, type RealKernel } from './real-kernel.ts';

let kernel: RealKernel;
/** All but exec is the fake's: canonicalise runs programs and nothing else. */
let host: Host;

beforeAll(async () => {
  kernel = await openRealKernel();
  const inside = (command: Command): Command => ({
    ...command,
    file: 'nsenter',
    args: ['-t', String(kernel.pid), '--net', command.file, ...command.args],
  });
  host = { ...createFakeHost(), exec: (command) => exec(inside(command)) };
  kernel.run('ipset', ['create', 'banned', 'hash:ip'], '');
  kernel.run('ipset', ['create', 'banned6', 'hash:net', 'family', 'inet6'], '');
});
afterAll(() => kernel.close());

const inFilter = (...lines: readonly string[]): string => ['*filter', ...lines, 'COMMIT', ''].join('\n');

function linesOf(canonical: Canonical): readonly CanonicalLine[] {
  if (canonical.kind !== 'read') throw new Error(canonical.why);
  return canonical.lines;
}

describe.each(['nft', 'legacy'] as const)('%s', (engine) => {
  /** Judges lines of the filter table; the answers for these lines. */
  async function judge(lines: readonly string[], family: 'ip' | 'ip6' = 'ip'): Promise<readonly CanonicalLine[]> {
    const all = linesOf(await canonicalise(host, engine, family, inFilter(...lines), 'rules.v4'));
    return all.slice(1, lines.length + 1);
  }

  const saved: readonly (readonly [string, readonly string[]])[] = [
    ['-A INPUT -p tcp --dport ssh -j ACCEPT', ['-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT']],
    ['-A INPUT -s 10.0.0.7/255.0.0.0 -j DROP', ['-A INPUT -s 10.0.0.0/8 -j DROP']],
    ['-A INPUT -j REJECT', ['-A INPUT -j REJECT --reject-with icmp-port-unreachable']],
    ['--append INPUT --jump DROP --in-interface nosuch0', ['-A INPUT -i nosuch0 -j DROP']],
    ['-I FORWARD -i tap+ -o vnet+ -j ACCEPT', ['-A FORWARD -i tap+ -o vnet+ -j ACCEPT']],
    ['-A FORWARD -m physdev --physdev-in vnet7 -j DROP', ['-A FORWARD -m physdev --physdev-in vnet7 -j DROP']],
    [
      '[12:3400] -A INPUT -m comment --comment "a \\"b\\" -j X" -j DROP',
      ['-A INPUT -m comment --comment "a \\"b\\" -j X" -j DROP'],
    ],
    ['-A INPUT -s 10.0.0.1,10.0.0.2 -j DROP', ['-A INPUT -s 10.0.0.1/32 -j DROP', '-A INPUT -s 10.0.0.2/32 -j DROP']],
    ['-A INPUT -m set --match-set banned src -j DROP', ['-A INPUT -m set --match-set banned src -j DROP']],
    [
      '-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT',
      ['-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT'],
    ],
    [':FORWARD DROP', [':FORWARD DROP [0:0]']],
    [':FORWARD DROP [5:7]', [':FORWARD DROP [0:0]']],
    [':mine -', [':mine - [0:0]']],
    ['-N mine', [':mine - [0:0]']],
    ['-P FORWARD DROP', [':FORWARD DROP [0:0]']],
    ['# a comment', []],
    ['', []],
  ];

  test.each(saved)('%s', async (typed, expected) => {
    expect(await judge([typed])).toEqual([{ line: 2, kind: 'ok', saved: expected }]);
  });

  test('each line is answered with its own rule, wherever it went', async () => {
    const answers = await judge([
      ':x - [0:0]',
      '-A x -j RETURN',
      '-I INPUT -j x',
      '-I INPUT -i lo -j ACCEPT',
      '-A x -j RETURN',
    ]);
    expect(answers.map((answer) => 'saved' in answer && answer.saved)).toEqual([
      [':x - [0:0]'],
      ['-A x -j RETURN'],
      ['-A INPUT -j x'],
      ['-A INPUT -i lo -j ACCEPT'],
      ['-A x -j RETURN'],
    ]);
  });

  test('all errors of a text are found at once, each with its line', async () => {
    const answers = await judge([
      '-A INPUT -s 1.2.3.4/99 -j DROP',
      '-A INPUT -j DROP',
      '-A INPUT -p nosuch -j DROP',
      '-A INPUT --bogus 1 -j DROP',
      'garbage',
      '-A INPUT -p tcp --dport nosvc -j DROP',
      '-D INPUT -s 9.9.9.9/32 -j DROP',
      '-I INPUT 77 -j DROP',
      '-A INPUT -i lo -j ACCEPT',
    ]);
    expect(answers.map(({ kind }) => kind)).toEqual(['bad', 'ok', 'bad', 'bad', 'bad', 'bad', 'bad', 'bad', 'ok']);
    expect(answers[0]).toMatchObject({
      problem: { code: 'bad-line', file: 'rules.v4', line: 2, message: "invalid mask `99' specified" },
    });
  });

  test('a rule that only the kernel refuses is found too', async () => {
    const answers = await judge([
      '-A INPUT -j DROP',
      '-A INPUT -j DNAT --to-destination 1.1.1.1',
      ...Array(30).fill('-A INPUT -j ACCEPT'),
    ]);
    expect(answers.map(({ kind }, at) => (kind === 'ok' ? '' : `${at} ${kind}`)).filter((text) => text !== '')).toEqual(
      ['1 bad'],
    );
  });

  test('what the namespace cannot have is unchecked, with the reason', async () => {
    const answers = await judge([
      '-A INPUT -m geoip --src-cc DE -j DROP',
      '-A INPUT -s mail.example.org -j DROP',
      '-A INPUT -s localhost -j DROP',
      '-A INPUT -m set --match-set nowhere src -j DROP',
      '-A INPUT -m cgroup --path /system.slice/nosuch -j DROP',
      '-A INPUT -m nfacct --nfacct-name http -j ACCEPT',
      '-A INPUT -j DOCKER-USER',
      '-A DOCKER-USER -j RETURN',
      '-A INPUT -j DROP',
    ]);
    expect(answers.map((answer) => [answer.kind, answer.kind === 'unchecked' ? answer.saved : []])).toEqual([
      ['unchecked', []],
      ['unchecked', []],
      ['unchecked', ['-A INPUT -s 127.0.0.1/32 -j DROP']],
      ['unchecked', ['-A INPUT -m set --match-set nowhere src -j DROP']],
      ['unchecked', []],
      ['unchecked', []],
      ['unchecked', ['-A INPUT -j DOCKER-USER']],
      engine === 'nft' ? ['ok', []] : ['ok', []],
      ['ok', []],
    ]);
  });

  test("a neighbour's chain that the host has now is as good as declared", async () => {
    kernel.run(`iptables-${engine}`, ['-N', 'LIBVIRT_FWI'], '');
    const typed = ['-A LIBVIRT_FWI -d 192.168.122.7 -j ACCEPT', '-A FORWARD -j LIBVIRT_FWI'];
    // The host's plain iptables is nft here; what only legacy has is not seen by it.
    if (engine === 'nft') expect((await judge(typed)).map(({ kind }) => kind)).toEqual(['ok', 'ok']);
    const canonical = await canonicalise(host, engine, 'ip', inFilter(...typed));
    expect(canonical).toMatchObject({ savedText: expect.not.stringContaining(':LIBVIRT_FWI') });
    kernel.run(`iptables-${engine}`, ['-X', 'LIBVIRT_FWI'], '');
  });

  test('IPv6 has its own forms and sets', async () => {
    const answers = await judge(
      [
        '-A INPUT -s FD00:0:0::1 -j REJECT',
        '-A INPUT -m set --match-set banned6 src -j DROP',
        '-A INPUT -s 10.0.0.1 -j DROP',
        '-A FORWARD -s fd00::1,fd00::2 -j ACCEPT',
      ],
      'ip6',
    );
    expect(answers).toMatchObject([
      { kind: 'ok', saved: ['-A INPUT -s fd00::1/128 -j REJECT --reject-with icmp6-port-unreachable'] },
      { kind: 'ok', saved: ['-A INPUT -m set --match-set banned6 src -j DROP'] },
      { kind: 'bad' },
      { kind: 'ok', saved: ['-A FORWARD -s fd00::1/128 -j ACCEPT', '-A FORWARD -s fd00::2/128 -j ACCEPT'] },
    ]);
  });

  test('the frame: text outside tables, a table nobody knows, a missing COMMIT, a table twice', async () => {
    const text =
      '-A INPUT -j DROP\n*nope\n-A X -j DROP\nCOMMIT\n*filter\n-A INPUT -j DROP\nCOMMIT\n*filter\n-A INPUT -j ACCEPT\n';
    const canonical = await canonicalise(host, engine, 'ip', text);
    expect(linesOf(canonical).map((line) => (line.kind === 'bad' ? line.problem.code : line.kind))).toEqual([
      'no-table',
      'bad-table-line',
      'unchecked',
      'ok',
      'ok',
      'ok',
      'ok',
      'ok',
      'ok',
      'no-commit',
    ]);
    expect(canonical).toMatchObject({
      savedText: expect.stringContaining('-A INPUT -j DROP\n-A INPUT -j ACCEPT\nCOMMIT\n'),
    });
  });

  test('nothing typed reaches the shell, the host, or its lock', async () => {
    const evil = '$(touch /tmp/mwf-owned) `touch /tmp/mwf-owned` ; touch /tmp/mwf-owned';
    await judge([
      `-A INPUT -m comment --comment "${evil}" -j DROP`,
      '-A INPUT -m set --match-set $(touch) src -j DROP',
      evil,
    ]);
    expect((await exec({ file: 'test', args: ['-e', '/tmp/mwf-owned'] })).exitCode).toBe(1);
    expect(kernel.run(`iptables-${engine}-save`, [], '').stdout).not.toContain('-A ');
  });

  test('1,000 typed lines take less than a second', async () => {
    const typed = Array.from(
      { length: 1000 },
      (_, at) => `-A INPUT -s 10.${at >> 8}.${at & 255}.0/255.255.255.0 -p tcp --dport ${at + 1} -j DROP`,
    );
    const startedMs = performance.now();
    const answers = await judge(typed);
    const tookMs = performance.now() - startedMs;
    expect(answers.every(({ kind }) => kind === 'ok')).toBe(true);
    expect(tookMs).toBeLessThan(1000);
  });

  test('many refused lines end, and leave the good ones before them judged', async () => {
    const answers = await judge([
      '-A INPUT -i lo -j ACCEPT',
      ...Array.from({ length: 150 }, () => 'garbage'),
      '-A INPUT -j DROP',
    ]);
    expect(answers[0]).toMatchObject({ kind: 'ok', saved: ['-A INPUT -i lo -j ACCEPT'] });
    expect(answers.filter(({ kind }) => kind === 'bad')).toHaveLength(100);
    expect(answers.at(-1)).toMatchObject({ kind: 'unchecked' });
  });
});

describe.each(['nft', 'legacy'] as const)('the generators make saved forms, %s', (engine) => {
  test.each(['ip', 'ip6'] as const)('%s', async (family) => {
    const rules = ['INPUT', 'FORWARD', 'OUTPUT'].flatMap((chain) =>
      fc.sample(filterRule(chain, { family }), { numRuns: 150, seed: 11 }),
    );
    const lines = linesOf(await canonicalise(host, engine, family, inFilter(...rules))).slice(1, -2);
    expect(lines).toEqual(rules.map((rule, at) => ({ line: at + 2, kind: 'ok', saved: [rule] })));
  });

  test('nat', async () => {
    const rules = [...fc.sample(portForward, 30), ...fc.sample(sourceNat, 30)];
    const lines = linesOf(await canonicalise(host, engine, 'ip', ['*nat', ...rules, 'COMMIT'].join('\n'))).slice(1, -1);
    expect(lines).toEqual(rules.map((rule, at) => ({ line: at + 2, kind: 'ok', saved: [rule] })));
  });
});

test('the engines agree on the saved form of common rules', async () => {
  const text = inFilter(
    ':x - [0:0]',
    '-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT',
    '-A x -p icmp -j ACCEPT',
    '-A INPUT -m limit --limit 5/m -j LOG',
  );
  const [nft, legacy] = [await canonicalise(host, 'nft', 'ip', text), await canonicalise(host, 'legacy', 'ip', text)];
  expect(nft).toEqual(legacy);
});

test('without the right to a namespace it is unavailable, and says why', async () => {
  const noRight: Host = {
    ...host,
    exec: (command) =>
      exec(
        command.file === 'unshare'
          ? {
              ...command,
              file: 'setpriv',
              args: ['--bounding-set=-sys_admin', '--reuid=65534', '--clear-groups', 'unshare', ...command.args],
            }
          : command,
      ),
  };
  expect(await canonicalise(noRight, 'nft', 'ip', inFilter('-A INPUT -j DROP'))).toMatchObject({
    kind: 'unavailable',
    why: expect.stringContaining('Operation not permitted'),
  });
});
