// The native tables of a pass, on an nft that refuses what names an interface that is not there.

import { describe, expect, it } from 'vitest';
import type { Command, ExecResult } from '../../src/host/host.ts';
import { NO_NATIVE_CHANGE } from '../../src/merge/native-summary.ts';
import { type NativeEnding, walkNative } from '../../src/pass/native.ts';
import type { PassContext, PassRequest } from '../../src/pass/types.ts';
import type { NativeWaiting } from '../../src/plan/native-plan.ts';
import { nativePart } from '../../src/ruleset/nft/native-part.ts';
import { parseNft } from '../../src/ruleset/nft/parse.ts';
import { printNftTable } from '../../src/ruleset/nft/print.ts';

const BASE = 'type filter hook input priority filter; policy accept;';
const table = (...rules: string[]): string =>
  `table inet filter {\n\tchain input {\n\t\t${BASE}\n${rules.map((rule) => `\t\t${rule}\n`).join('')}\t}\n}\n`;
const DEAD = 'iif "vlan7" drop';
const WISH = table('tcp dport 22 accept', DEAD, 'drop');
const WITHOUT = table('tcp dport 22 accept', 'drop');
const WAITING: NativeWaiting = { key: 'inet filter', chain: 'input', text: DEAD, why: 'Interface does not exist' };

/** Holds one table; `live` is its text, empty for none. */
function fakeNft(live: string): { exec: (command: Command) => Promise<ExecResult>; live: () => string } {
  let text = live;
  const run = ({ args = [], input = '' }: Command): { exitCode: number; stdout: string; stderr: string } => {
    if (args[0] === 'list') return { exitCode: 0, stdout: text === '' ? '' : 'table inet filter {\n}\n', stderr: '' };
    if (args[0] !== '-f') return { exitCode: 0, stdout: text, stderr: '' };
    const line = input.split('\n').findIndex((each) => each.includes('vlan7'));
    const stderr = `/dev/stdin:${line + 1}:7-13: Error: Interface does not exist\n${DEAD}\n    ^^^^^^^\n`;
    if (line !== -1) return { exitCode: 1, stdout: '', stderr };
    text = parseNft(input).tables.map(printNftTable).join('');
    return { exitCode: 0, stdout: '', stderr: '' };
  };
  const exec = (command: Command): Promise<ExecResult> =>
    Promise.resolve({ ...run(command), command, durationMs: 0, timedOut: false, pid: 1 });
  return { exec, live: () => text };
}

async function walk(
  live: string,
  more: Partial<PassRequest>,
  waitingNative: readonly NativeWaiting[] = [],
): Promise<NativeEnding & { now: string }> {
  const nft = fakeNft(live);
  const native = nativePart(parseNft(WISH).tables);
  const context = {
    host: { exec: nft.exec, files: { read: () => Promise.resolve(undefined) } },
    memory: { snapshotId: 'a', snapshot: { native }, wish: { native }, waitingNative },
    settings: { onDelete: 'pending', onLoad: 'adopt' },
    journal: { keepText: () => Promise.resolve('text') },
    ownSentinels: new Set(),
    nonce: () => '01234567',
  } as unknown as PassContext;
  const summaries = new Map([['inet filter', { ...NO_NATIVE_CHANGE, wiped: true, byOther: true }]]);
  const request = { mode: 'merge', burstOver: true, native: summaries, trigger: 'event', ...more } as PassRequest;
  const ending = await walkNative(context, request);
  return { ...ending, now: nft.live() };
}

const saysWaiting = ({ drift }: NativeEnding): string[] =>
  drift.flatMap(({ kind, text }) => (kind === 'waiting' ? [text] : []));

describe('a rule that nft refuses after a wipe', () => {
  it('waits, stays wished for, and the rest stands', async () => {
    const ending = await walk('', {});
    expect(ending.now).toContain(WITHOUT.slice(0, -3));
    expect(ending.waiting).toMatchObject([{ chain: 'input', text: DEAD }]);
    expect(saysWaiting(ending)).toEqual([DEAD]);
    expect([...(ending.wish ?? new Map()).values()].map(printNftTable).join('')).toBe(WISH);
  });

  it('is shown as waiting by a look that writes nothing, and as nothing lost', async () => {
    const ending = await walk(WITHOUT, { mode: 'observe', native: undefined }, [WAITING]);
    expect(saysWaiting(ending)).toEqual([DEAD]);
    expect(ending.left).toEqual([]);
    expect(ending.drift).toHaveLength(1);
  });

  it('waits no longer where somebody has put it in', async () => {
    const ending = await walk(WISH, { mode: 'observe', native: undefined }, [WAITING]);
    expect({ left: ending.left, drift: ending.drift }).toEqual({ left: [], drift: [] });
  });
});
