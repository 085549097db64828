// What `nft -c --debug=netlink` says, as nft 1.0.6 prints it: shortened captures.

import { expect, it } from 'vitest';
import type { Command, ExecResult } from '../../src/host/host.ts';
import { type CompiledRules, compiledRules } from '../../src/observe/nft-compiled.ts';

const compile = (stdout: string, exitCode = 0): Promise<CompiledRules | undefined> =>
  compiledRules(
    {
      exec: (command: Command): Promise<ExecResult> =>
        Promise.resolve({ command, exitCode, stdout, stderr: '', durationMs: 0, timedOut: false, pid: 1 }),
    },
    '/etc/nftables.conf',
  );

const CHAINS = `inet (null) (null) use 0 type filter hook input prio 0 packets 0 bytes 0
table (null) name (null) use 0 [ counter pkts 0 bytes 0 ]
banned filter 14
banned filter 0
\telement 00000000  : 1 [end]\telement 007100cb  : 0 [end]
`;
const setOf = (port: string): string => `__set%d filter 3 size 1\n__set%d filter 0\n\telement ${port}  : 0 [end]\n`;
const ASKS = `inet filter input
  [ payload load 2b @ transport header + 2 => reg 1 ]
  [ lookup reg 1 set __set%d ]
  [ counter pkts 3 bytes 7 ]

`;
const DROP = `inet filter input
  [ immediate reg 0 drop ]

`;
const OTHER = `ip6 edge forward
  [ immediate reg 0 drop ]
  userdata = { \\x00\\x03hi\\x00 }
`;

it('is the same whatever the order of tables, the counts and the sets that have a name', async () => {
  const one = await compile(CHAINS + setOf('00001600') + ASKS + DROP + OTHER);
  const two = await compile(OTHER + setOf('00001600') + ASKS.replace('pkts 3', 'pkts 0') + DROP);
  expect(one).toEqual(two);
  expect([...(one ?? new Map()).keys()].sort()).toEqual(['inet filter', 'ip6 edge']);
});

it('does not mind the order of a set’s elements', async () => {
  const [one, two] = ['\telement 00001600  : 0 [end]', '\telement 00005000  : 0 [end]'];
  const inOrder = (...elements: string[]): string =>
    `__set%d filter 3 size 2\n__set%d filter 0\n${elements.join('')}\n`;
  expect(await compile(inOrder(one, two) + ASKS)).toEqual(await compile(inOrder(two, one) + ASKS));
  expect(await compile(inOrder(one, two) + ASKS)).not.toEqual(await compile(inOrder(one, one) + ASKS));
});

it.each([
  ['order', setOf('00001600') + DROP + ASKS + OTHER],
  ['a rule more', setOf('00001600') + ASKS + DROP + DROP + OTHER],
  ['another set without a name', setOf('00005000') + ASKS + DROP + OTHER],
  ['another comment', setOf('00001600') + ASKS + DROP + OTHER.replace('hi', 'ho')],
  ['another chain', setOf('00001600') + ASKS + DROP.replace('input', 'output') + OTHER],
])('is not the same with %s', async (_what, text) => {
  expect(await compile(text)).not.toEqual(await compile(setOf('00001600') + ASKS + DROP + OTHER));
});

it('is not known of a file that nft refuses', async () => {
  expect(await compile(DROP, 1)).toBeUndefined();
});
